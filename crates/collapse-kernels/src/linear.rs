//! Small dense products for the classification head.

use crate::element::Float;
use crate::error::{Result, check_len};
use rayon::prelude::*;

const LANES: usize = 16;

/// Inner product in sixteen interleaved sums, added pairwise at the end.
#[inline]
fn dot<P: Float>(a: &[P], b: &[P]) -> P {
    let mut sums = [P::ZERO; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for j in 0..LANES {
            sums[j] += a[j] * b[j];
        }
    }
    let mut rest = P::ZERO;
    a_rest.iter().zip(b_rest).for_each(|(&a, &b)| rest += a * b);
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for j in 0..width {
            let other = sums[j + width];
            sums[j] += other;
        }
    }
    sums[0] + rest
}

/// `logits[n][c] = Σ_d x[n][d] · w[c][d] + b[c]` for row-major x [N, D] and w [C, D] (torch's linear layer); an empty `b` is none.
///
/// # Errors
/// If the lengths do not fit `n`, `d` and `c`.
pub fn linear_forward<P: Float>(
    x: &[P],
    w: &[P],
    b: &[P],
    n: usize,
    d: usize,
    c: usize,
) -> Result<Vec<P>> {
    check_len("the linear input", x.len(), n * d)?;
    check_len("the linear weight", w.len(), c * d)?;
    if !b.is_empty() {
        check_len("the linear bias", b.len(), c)?;
    }
    let mut logits = vec![P::ZERO; n * c];
    if n * d * c > 0 {
        logits
            .par_chunks_exact_mut(c)
            .with_min_len(32)
            .zip(x.par_chunks_exact(d))
            .for_each(|(logits, x)| {
                for (l, w) in logits.iter_mut().zip(w.chunks_exact(d)) {
                    *l = dot(x, w);
                }
            });
    }
    if c > 0 && !b.is_empty() {
        logits
            .chunks_exact_mut(c)
            .for_each(|row| row.iter_mut().zip(b).for_each(|(l, &b)| *l += b));
    }
    Ok(logits)
}

/// Gradients of [`linear_forward`].
#[derive(Debug, Clone, PartialEq)]
pub struct LinearGradients<P> {
    /// To the input, [N, D].
    pub dx: Vec<P>,
    /// To the weight, [C, D].
    pub dw: Vec<P>,
    /// To the bias, `[C]`.
    pub db: Vec<P>,
}

/// Gradients of [`linear_forward`] given `dlogits` [N, C].
///
/// # Errors
/// If the lengths do not fit `n`, `d` and `c`.
pub fn linear_backward<P: Float>(
    x: &[P],
    w: &[P],
    dlogits: &[P],
    n: usize,
    d: usize,
    c: usize,
) -> Result<LinearGradients<P>> {
    check_len("the linear input", x.len(), n * d)?;
    check_len("the linear weight", w.len(), c * d)?;
    check_len("the logit gradient", dlogits.len(), n * c)?;
    let (mut dx, mut dw, mut db) = (vec![P::ZERO; n * d], vec![P::ZERO; c * d], vec![P::ZERO; c]);
    if n * d * c > 0 {
        dx.par_chunks_exact_mut(d)
            .with_min_len(32)
            .zip(dlogits.par_chunks_exact(c))
            .for_each(|(dx, dlogits)| {
                for (w, &g) in w.chunks_exact(d).zip(dlogits) {
                    add_scaled(dx, g, w);
                }
            });
        dw.par_chunks_exact_mut(d)
            .zip(db.par_iter_mut())
            .enumerate()
            .for_each(|(class, (dw, db))| {
                for (x, dlogits) in x.chunks_exact(d).zip(dlogits.chunks_exact(c)) {
                    add_scaled(dw, dlogits[class], x);
                    *db += dlogits[class];
                }
            });
    }
    Ok(LinearGradients { dx, dw, db })
}

#[inline]
fn add_scaled<P: Float>(target: &mut [P], factor: P, source: &[P]) {
    target
        .iter_mut()
        .zip(source)
        .for_each(|(t, &s)| *t += factor * s);
}
