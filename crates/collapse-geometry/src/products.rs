//! Blocks of inner products, on faer's single-threaded kernels.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};

/// `out [n, m] = rows [n, d] · otherᵀ`, `other [m, d]`, all row-major and contiguous.
pub(crate) fn inner_products(rows: &[f64], other: &[f64], d: usize, out: &mut [f64]) {
    if d == 0 || out.is_empty() {
        out.fill(0.0);
        return;
    }
    let (n, m) = (rows.len() / d, other.len() / d);
    matmul(
        MatMut::from_row_major_slice_mut(out, n, m),
        Accum::Replace,
        MatRef::from_row_major_slice(rows, n, d),
        MatRef::from_row_major_slice(other, m, d).transpose(),
        1.0,
        Par::Seq,
    );
}

/// `a · bᵀ`, `[C, C']`.
pub(crate) fn products(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Array2<f64> {
    let (a, b) = (a.as_standard_layout(), b.as_standard_layout());
    let mut out = Array2::zeros((a.nrows(), b.nrows()));
    if let (Some(rows), Some(other), Some(out)) = (a.as_slice(), b.as_slice(), out.as_slice_mut()) {
        inner_products(rows, other, a.ncols(), out);
    }
    out
}

/// Euclidean norm, safe for values whose squares leave the range of f64.
pub(crate) fn norm(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(0.0f64, |max, v| max.max(v.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    let unit = power_of_two_below(largest);
    unit * values.map(|v| (v / unit) * (v / unit)).sum::<f64>().sqrt()
}

/// The power of two `p ≤ value < 2p` for a positive finite value (its exponent bits alone); dividing by it is exact.
pub(crate) fn power_of_two_below(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & 0x7ff0_0000_0000_0000).max(f64::MIN_POSITIVE)
}

/// Inner product in eight running sums: a loop of vectors with one fixed order.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (left, right) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in left.0.iter().zip(right.0) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left.1.iter().zip(right.1).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}
