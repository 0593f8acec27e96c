//! Data shared by the tests.
#![allow(dead_code)] // Each test binary uses its part.

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Standard normal numbers, `[n, d]`, by Box and Muller.
pub(crate) fn normals(seed: u64, n: usize, d: usize) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = move || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    Array2::from_shape_simple_fn((n, d), || {
        let (u, v) = (1.0 - uniform(), uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    })
}

/// Labels `i % n_classes` and correlated rows around distinct class means `separation` apart.
pub(crate) fn clusters(
    seed: u64,
    n: usize,
    d: usize,
    n_classes: usize,
    separation: f64,
) -> (Array2<f64>, Vec<usize>) {
    let labels: Vec<usize> = (0..n).map(|i| i % n_classes).collect();
    let centers = normals(seed + 1, n_classes, d) * separation;
    let mut x = normals(seed, n, d);
    for (mut row, &label) in x.rows_mut().into_iter().zip(&labels) {
        for j in (1..d).rev() {
            row[j] = (row[j] + 0.5 * row[j - 1]) * (1.0 + 0.1 * label as f64);
        }
        row += &centers.row(label);
    }
    (x, labels)
}

/// Largest error over the largest expected value.
pub(crate) fn relative<'a>(
    found: impl IntoIterator<Item = &'a f64>,
    expected: impl IntoIterator<Item = &'a f64>,
) -> f64 {
    let (mut error, mut scale) = (0.0f64, 0.0f64);
    for (a, b) in found.into_iter().zip(expected) {
        error = if a == b {
            error
        } else {
            error.max((a - b).abs())
        };
        assert!(a == b || (a - b).is_finite(), "{a} against {b}");
        scale = scale.max(b.abs());
    }
    error / scale
}
