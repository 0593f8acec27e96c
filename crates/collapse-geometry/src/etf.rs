//! The simplex equiangular tight frame: the shape that collapsed class means take.

use collapse_numeric::{matmul_nt, norm};
use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};

/// The simplex ETF of `n_classes` unit vectors in `n_features` dimensions, `[C, D]`: every pair has
/// the cosine `−1/(C − 1)` and the rows sum to zero.
///
/// It lies in the span of the first `C − 1` axes; rotate it as needed.
///
/// # Errors
/// Fewer than two classes, or `n_features < n_classes − 1`, where no such frame exists.
pub fn simplex_etf(n_classes: usize, n_features: usize) -> Result<Array2<f64>> {
    if n_classes < 2 {
        return Err(Error::TooFewClasses { n_classes });
    }
    if n_features + 1 < n_classes {
        return Err(Error::Shape {
            what: "the simplex ETF",
            found: [n_classes, n_features],
            expected: [n_classes, n_classes - 1],
        });
    }
    // Row k of the Cholesky factor of the Gram matrix with ones on the diagonal: axis j is shared by the classes
    // j.. and carries what the axes before it left over.
    let c = n_classes as f64;
    let mut frame = Array2::zeros((n_classes, n_features));
    for j in 0..n_classes - 1 {
        let left = c - j as f64;
        let height = (c * (left - 1.0) / ((c - 1.0) * left)).sqrt();
        frame[[j, j]] = height;
        for i in j + 1..n_classes {
            frame[[i, j]] = -height / (left - 1.0);
        }
    }
    Ok(frame)
}

/// Frobenius distance of `A Bᵀ / ‖A Bᵀ‖_F` `[C, C]` from the simplex ETF's Gram matrix
/// `(I − 11ᵀ/C) / √(C − 1)`, for `a` and `b` `[C, D]`; 0 under collapse.
///
/// Source: Kothapalli (2023), arXiv 2206.04041, as computed by rhubarbwu/neural-collapse.
///
/// # Errors
/// Different shapes, fewer than two classes, or a zero product.
pub fn etf_error(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<f64> {
    let n_classes = a.nrows();
    if n_classes < 2 {
        return Err(Error::TooFewClasses { n_classes });
    }
    if a.dim() != b.dim() {
        return Err(Error::Shape {
            what: "the second frame",
            found: [b.nrows(), b.ncols()],
            expected: [a.nrows(), a.ncols()],
        });
    }
    let structure = matmul_nt(a, b)?;
    let length = norm(structure.view());
    if length == 0.0 {
        return Err(Error::Degenerate {
            what: "the inner product with every vector",
            class: 0,
            measure: "distance from the simplex ETF",
            remedy: "give frames that are not orthogonal to each other",
        });
    }
    let c = n_classes as f64;
    let ideal = |i, j| (f64::from(u8::from(i == j)) - 1.0 / c) / (c - 1.0).sqrt();
    let gaps = Array2::from_shape_fn(structure.dim(), |(i, j)| {
        structure[[i, j]] / length - ideal(i, j)
    });
    Ok(norm(gaps.view()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_has_unit_rows_equal_angles_and_no_mean() {
        for n_classes in [2, 3, 10, 100] {
            let frame = simplex_etf(n_classes, n_classes + 3).unwrap();
            let gram = frame.dot(&frame.t());
            for ((i, j), value) in gram.indexed_iter() {
                let expected = if i == j {
                    1.0
                } else {
                    -1.0 / (n_classes as f64 - 1.0)
                };
                assert!((value - expected).abs() < 1e-13);
            }
            assert!(
                frame
                    .sum_axis(ndarray::Axis(0))
                    .iter()
                    .all(|v| v.abs() < 1e-12)
            );
            assert!(etf_error(frame.view(), frame.view()).unwrap() < 1e-13);
        }
        assert!(simplex_etf(10, 9).is_ok());
        assert!(simplex_etf(10, 8).is_err());
        assert!(simplex_etf(1, 8).is_err());
    }
}
