//! Sums over vectors in one fixed order.

/// Inner product of two vectors of one length, by [`sum_by_lanes`].
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_by_lanes(a, b, |a, b| a * b)
}

/// `Σ f(a_i, b_i)` in eight running sums: a loop of vectors with one fixed order.
#[must_use]
pub fn sum_by_lanes(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let (left, right) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (a, b) in left.0.iter().zip(right.0) {
        for lane in 0..8 {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    let rest: f64 = left.1.iter().zip(right.1).map(|(a, b)| f(*a, *b)).sum();
    lanes.iter().sum::<f64>() + rest
}
