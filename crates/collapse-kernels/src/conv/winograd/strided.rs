//! Stride 2 by phases: outputs 2o see the even inputs by the middle tap and the odd ones by the outer two.
//!
//! The even phase needs m products for m outputs. The odd phase is F(m, 2) on m + 1 odd inputs. Together 2m + 1 products a line for 3m, so
//! (2m + 1)² for 9m² a tile. The gradient to the input undoes the phases: of m + 1 output gradients the even pixels are their products with
//! the middle tap, the odd ones F(m, 2) with the outer two.
//!
//! F(4, 2) has the points ±1/2, ±3/2, ∞, whose powers are exact and whose error is the least but for some less simple pairs.

use super::kernel::Kernel;
use super::points::{Adjoint, Algorithm, Linear};

/// The points ±p, ±q and their powers.
const P: f64 = 0.5;
const Q: f64 = 1.5;
const P2: f64 = P * P;
const Q2: f64 = Q * Q;
const P3: f64 = P2 * P;
const Q3: f64 = Q2 * Q;
/// (x² − p²)(x² − q²) = x⁴ − SUM x² + PRODUCT.
const SUM: f64 = P2 + Q2;
const PRODUCT: f64 = P2 * Q2;
/// 1 / Π (p − other points), which the filter carries.
const NORM_P: f64 = 1.0 / (2.0 * P * (P2 - Q2));
const NORM_Q: f64 = 1.0 / (2.0 * Q * (Q2 - P2));

/// Bᵀ of F(4, 2).
#[inline(always)]
fn input<K: Kernel>(k: K, d: [K::V; 5]) -> [K::V; 5] {
    let (odd_p, even_p) = (k.scale_sub(Q2, d[0], d[2]), k.scale_sub(Q2, d[1], d[3]));
    let (odd_q, even_q) = (k.scale_sub(P2, d[0], d[2]), k.scale_sub(P2, d[1], d[3]));
    [
        k.scale_add(P, odd_p, even_p),
        k.scale_sub(P, odd_p, even_p),
        k.scale_add(Q, odd_q, even_q),
        k.scale_sub(Q, odd_q, even_q),
        k.scale_add(PRODUCT, d[0], k.scale_sub(SUM, d[2], d[4])),
    ]
}

/// G of F(4, 2).
#[inline(always)]
fn filter<K: Kernel>(k: K, g: [K::V; 2]) -> [K::V; 5] {
    let (p, q) = (k.scale(NORM_P, g[0]), k.scale(NORM_Q, g[0]));
    let (minus_p, minus_q) = (k.scale(-NORM_P, g[0]), k.scale(-NORM_Q, g[0]));
    [
        k.scale_add(NORM_P * P, g[1], p),
        k.scale_add(NORM_P * P, g[1], minus_p),
        k.scale_add(NORM_Q * Q, g[1], q),
        k.scale_add(NORM_Q * Q, g[1], minus_q),
        g[1],
    ]
}

/// Aᵀ of F(4, 2).
#[inline(always)]
fn output<K: Kernel>(k: K, m: [K::V; 5]) -> [K::V; 4] {
    let (sum_p, apart_p) = (k.add(m[0], m[1]), k.sub(m[0], m[1]));
    let (sum_q, apart_q) = (k.add(m[2], m[3]), k.sub(m[2], m[3]));
    [
        k.add(sum_p, sum_q),
        k.scale_add(Q, apart_q, k.scale(P, apart_p)),
        k.scale_add(Q2, sum_q, k.scale(P2, sum_p)),
        k.scale_add(Q3, apart_q, k.scale_add(P3, apart_p, m[4])),
    ]
}

/// Products of the odd phase, then of the even one.
#[inline(always)]
fn joined<V: Copy>(odd: [V; 5], even: [V; 4]) -> [V; 9] {
    [
        odd[0], odd[1], odd[2], odd[3], odd[4], even[0], even[1], even[2], even[3],
    ]
}

#[inline(always)]
fn phases<V: Copy>(m: [V; 9]) -> ([V; 5], [V; 4]) {
    ([m[0], m[1], m[2], m[3], m[4]], [m[5], m[6], m[7], m[8]])
}

/// Four outputs of a line with stride 2 from nine inputs, the first of them odd, by nine products.
#[derive(Clone, Copy)]
pub(crate) struct Strided;

impl Algorithm<9, 9, 4> for Strided {
    const STEP: usize = 8;
    const MARGIN: usize = 1;
    type Input = Self;
    type Filter = Self;
    type Output = Self;
}

impl Adjoint<9, 9, 4> for Strided {
    type Spread = StridedSpread;
    type Collect = StridedCollect;
}

/// Bᵀ
impl Linear<9, 9> for Strided {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, d: [K::V; 9]) -> [K::V; 9] {
        let odd = input(k, [d[0], d[2], d[4], d[6], d[8]]);
        joined(odd, [d[1], d[3], d[5], d[7]])
    }
}

/// G
impl Linear<3, 9> for Strided {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, g: [K::V; 3]) -> [K::V; 9] {
        joined(filter(k, [g[0], g[2]]), [g[1]; 4])
    }
}

/// Aᵀ
impl Linear<9, 4> for Strided {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, m: [K::V; 9]) -> [K::V; 4] {
        let (odd, even) = phases(m);
        let odd = output(k, odd);
        std::array::from_fn(|i| k.add(odd[i], even[i]))
    }
}

/// A of [`Strided`].
pub(crate) struct StridedSpread;

impl Linear<4, 9> for StridedSpread {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, y: [K::V; 4]) -> [K::V; 9] {
        let even_p = k.scale_add(P2, y[2], y[0]);
        let odd_p = k.scale_add(P3, y[3], k.scale(P, y[1]));
        let even_q = k.scale_add(Q2, y[2], y[0]);
        let odd_q = k.scale_add(Q3, y[3], k.scale(Q, y[1]));
        let odd = [
            k.add(even_p, odd_p),
            k.sub(even_p, odd_p),
            k.add(even_q, odd_q),
            k.sub(even_q, odd_q),
            y[3],
        ];
        joined(odd, y)
    }
}

/// Gᵀ of [`Strided`].
pub(crate) struct StridedCollect;

impl Linear<9, 3> for StridedCollect {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, u: [K::V; 9]) -> [K::V; 3] {
        let (odd, even) = phases(u);
        let (sum_p, apart_p) = (k.add(odd[0], odd[1]), k.sub(odd[0], odd[1]));
        let (sum_q, apart_q) = (k.add(odd[2], odd[3]), k.sub(odd[2], odd[3]));
        [
            k.scale_add(NORM_Q, apart_q, k.scale(NORM_P, apart_p)),
            k.add(k.add(even[0], even[1]), k.add(even[2], even[3])),
            k.scale_add(NORM_Q * Q, sum_q, k.scale_add(NORM_P * P, sum_p, odd[4])),
        ]
    }
}

/// Eight input gradients of a line from five output gradients by nine products, the filter turned.
#[derive(Clone, Copy)]
pub(crate) struct Unstrided;

impl Algorithm<5, 9, 8> for Unstrided {
    const STEP: usize = 4;
    const MARGIN: usize = 0;
    type Input = Self;
    type Filter = Strided;
    type Output = Self;
}

/// Bᵀ
impl Linear<5, 9> for Unstrided {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, d: [K::V; 5]) -> [K::V; 9] {
        joined(input(k, d), [d[0], d[1], d[2], d[3]])
    }
}

/// Aᵀ
impl Linear<9, 8> for Unstrided {
    #[inline(always)]
    fn apply<K: Kernel>(k: K, m: [K::V; 9]) -> [K::V; 8] {
        let (odd, even) = phases(m);
        let odd = output(k, odd);
        [
            even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3],
        ]
    }
}
