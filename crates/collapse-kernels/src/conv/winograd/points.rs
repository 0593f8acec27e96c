//! One-dimensional Winograd transforms; each lane is another channel.
//!
//! An algorithm F(m, 3) computes m outputs of a filter of three taps from α = m + 2 products instead of 3m: with B (input), G (filter)
//! and A (output), y = Aᵀ [(G g) ⊙ (Bᵀ d)]; nested, Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A. Polynomials are evaluated at α
//! points, multiplied there and interpolated. Source: Lavin and Gray (2016), Winograd (1980).
//!
//! The gradient to the weights is the exact adjoint in g: Gᵀ [(A dy Aᵀ) ⊙ (Bᵀ d B)] G.

use super::kernel::Kernel;

/// A linear map from `N` values to `R`, in every lane.
pub(crate) trait Linear<const N: usize, const R: usize> {
    fn apply<K: Kernel>(k: K, v: [K::V; N]) -> [K::V; R];
}

/// `A` products for `M` outputs from `I` inputs of a line.
pub(crate) trait Algorithm<const I: usize, const A: usize, const M: usize>:
    Copy + Send + Sync + 'static
{
    /// Inputs from a tile to the next.
    const STEP: usize;
    /// Inputs of a tile before its first output's own.
    const MARGIN: usize;
    /// Bᵀ
    type Input: Linear<I, A>;
    /// G
    type Filter: Linear<3, A>;
    /// Aᵀ
    type Output: Linear<A, M>;
}

/// What the gradient to the weights needs beside Bᵀ.
pub(crate) trait Adjoint<const I: usize, const A: usize, const M: usize>:
    Algorithm<I, A, M>
{
    /// A
    type Spread: Linear<M, A>;
    /// Gᵀ
    type Collect: Linear<A, 3>;
}

/// F(2, 3) with the points 0, 1, −1, ∞.
#[derive(Clone, Copy)]
pub(crate) struct F2;

impl Algorithm<4, 4, 2> for F2 {
    const STEP: usize = 2;
    const MARGIN: usize = 1;
    type Input = Self;
    type Filter = Self;
    type Output = Self;
}

impl Adjoint<4, 4, 2> for F2 {
    type Spread = F2Spread;
    type Collect = F2Collect;
}

/// Bᵀ
impl Linear<4, 4> for F2 {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, d: [K::V; 4]) -> [K::V; 4] {
        [
            k.sub(d[0], d[2]),
            k.add(d[1], d[2]),
            k.sub(d[2], d[1]),
            k.sub(d[1], d[3]),
        ]
    }
}

/// G
impl Linear<3, 4> for F2 {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, g: [K::V; 3]) -> [K::V; 4] {
        let even = k.scale(0.5, k.add(g[0], g[2]));
        [
            g[0],
            k.scale_add(0.5, g[1], even),
            k.scale_sub(0.5, g[1], even),
            g[2],
        ]
    }
}

/// Aᵀ
impl Linear<4, 2> for F2 {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, m: [K::V; 4]) -> [K::V; 2] {
        [
            k.add(m[0], k.add(m[1], m[2])),
            k.sub(k.sub(m[1], m[2]), m[3]),
        ]
    }
}

/// A of [`F2`].
pub(crate) struct F2Spread;

impl Linear<2, 4> for F2Spread {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, y: [K::V; 2]) -> [K::V; 4] {
        [
            y[0],
            k.add(y[0], y[1]),
            k.sub(y[0], y[1]),
            k.sub(k.zero(), y[1]),
        ]
    }
}

/// Gᵀ of [`F2`].
pub(crate) struct F2Collect;

impl Linear<4, 3> for F2Collect {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, u: [K::V; 4]) -> [K::V; 3] {
        let half = k.scale(0.5, k.add(u[1], u[2]));
        [
            k.add(u[0], half),
            k.scale(0.5, k.sub(u[1], u[2])),
            k.add(half, u[3]),
        ]
    }
}

/// F(4, 3) with the points 0, ±p, ±1/p, ∞ for p = 2/3.
///
/// The usual 0, ±1, ±2, ∞ cost the same and err two to three times as much. That p and 1/p multiply to 1 saves the factors of the
/// points 0 and ∞.
#[derive(Clone, Copy)]
pub(crate) struct F4;

/// The points of [`F4`], and their powers.
const P: f64 = 2.0 / 3.0;
const Q: f64 = 1.5;
const P2: f64 = P * P;
const Q2: f64 = Q * Q;
const P3: f64 = P2 * P;
const Q3: f64 = Q2 * Q;
/// (x² − p²)(x² − q²) = x⁴ − (p² + q²) x² + 1.
const SUM: f64 = P2 + Q2;
/// 1 / Π (p − other points), which the filter carries.
const NORM_P: f64 = 1.0 / (2.0 * P2 * (P2 - Q2));
const NORM_Q: f64 = 1.0 / (2.0 * Q2 * (Q2 - P2));

impl Algorithm<6, 6, 4> for F4 {
    const STEP: usize = 4;
    const MARGIN: usize = 1;
    type Input = Self;
    type Filter = Self;
    type Output = Self;
}

impl Adjoint<6, 6, 4> for F4 {
    type Spread = F4Spread;
    type Collect = F4Collect;
}

/// Bᵀ
impl Linear<6, 6> for F4 {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, d: [K::V; 6]) -> [K::V; 6] {
        let (even_p, odd_p) = (k.scale_sub(Q2, d[2], d[4]), k.scale_sub(Q2, d[1], d[3]));
        let (even_q, odd_q) = (k.scale_sub(P2, d[2], d[4]), k.scale_sub(P2, d[1], d[3]));
        [
            k.add(d[0], k.scale_sub(SUM, d[2], d[4])),
            k.scale_add(P, odd_p, even_p),
            k.scale_sub(P, odd_p, even_p),
            k.scale_add(Q, odd_q, even_q),
            k.scale_sub(Q, odd_q, even_q),
            k.add(d[1], k.scale_sub(SUM, d[3], d[5])),
        ]
    }
}

/// G
impl Linear<3, 6> for F4 {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, g: [K::V; 3]) -> [K::V; 6] {
        let even_p = k.scale_add(NORM_P * P2, g[2], k.scale(NORM_P, g[0]));
        let even_q = k.scale_add(NORM_Q * Q2, g[2], k.scale(NORM_Q, g[0]));
        [
            g[0],
            k.scale_add(NORM_P * P, g[1], even_p),
            k.scale_sub(NORM_P * P, g[1], even_p),
            k.scale_add(NORM_Q * Q, g[1], even_q),
            k.scale_sub(NORM_Q * Q, g[1], even_q),
            g[2],
        ]
    }
}

/// Aᵀ
impl Linear<6, 4> for F4 {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, m: [K::V; 6]) -> [K::V; 4] {
        let (sum_p, apart_p) = (k.add(m[1], m[2]), k.sub(m[1], m[2]));
        let (sum_q, apart_q) = (k.add(m[3], m[4]), k.sub(m[3], m[4]));
        [
            k.add(m[0], k.add(sum_p, sum_q)),
            k.scale_add(Q, apart_q, k.scale(P, apart_p)),
            k.scale_add(Q2, sum_q, k.scale(P2, sum_p)),
            k.scale_add(Q3, apart_q, k.scale_add(P3, apart_p, m[5])),
        ]
    }
}

/// A of [`F4`].
pub(crate) struct F4Spread;

impl Linear<4, 6> for F4Spread {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, y: [K::V; 4]) -> [K::V; 6] {
        let even_p = k.scale_add(P2, y[2], y[0]);
        let odd_p = k.scale_add(P3, y[3], k.scale(P, y[1]));
        let even_q = k.scale_add(Q2, y[2], y[0]);
        let odd_q = k.scale_add(Q3, y[3], k.scale(Q, y[1]));
        [
            y[0],
            k.add(even_p, odd_p),
            k.sub(even_p, odd_p),
            k.add(even_q, odd_q),
            k.sub(even_q, odd_q),
            y[3],
        ]
    }
}

/// Gᵀ of [`F4`].
pub(crate) struct F4Collect;

impl Linear<6, 3> for F4Collect {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, u: [K::V; 6]) -> [K::V; 3] {
        let (sum_p, apart_p) = (k.add(u[1], u[2]), k.sub(u[1], u[2]));
        let (sum_q, apart_q) = (k.add(u[3], u[4]), k.sub(u[3], u[4]));
        [
            k.scale_add(NORM_Q, sum_q, k.scale_add(NORM_P, sum_p, u[0])),
            k.scale_add(NORM_Q * Q, apart_q, k.scale(NORM_P * P, apart_p)),
            k.scale_add(NORM_Q * Q2, sum_q, k.scale_add(NORM_P * P2, sum_p, u[5])),
        ]
    }
}
