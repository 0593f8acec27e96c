//! Dense f64 linear algebra on `ndarray` views: products, covariances, factorisations.
//!
//! `ndarray` has no fast f64 product without a BLAS installed, so this module hands blocks of
//! rows to [`faer`]'s single-threaded kernels and spreads the blocks over rayon. The block
//! boundaries depend on the shapes alone: results have the same bytes for any number of threads.
//!
//! All matrices are row-major `[rows, columns]`.

mod panels;

use faer::linalg::matmul::matmul as faer_matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

pub use panels::{Cholesky, SymmetricPanels};
pub(crate) use panels::{PANEL, overflow_to_infinity};

use crate::error::{DensityError, Result};

/// Rows of one parallel task.
const BLOCK_ROWS: usize = 128;

/// `a · bᵀ` for `a` `[M, K]` and `b` `[N, K]`: all inner products of two sets of rows.
///
/// # Errors
/// When the numbers of columns differ.
pub fn matmul_nt(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<Array2<f64>> {
    product(a, b.reversed_axes())
}

/// `a · b` for `a` `[M, K]` and `b` `[K, N]`.
///
/// # Errors
/// When the inner dimensions differ.
pub fn matmul(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<Array2<f64>> {
    product(a, b)
}

/// `aᵀ · a` for `a` `[N, D]`: the uncentred second moment times `N`, symmetric to the last bit.
pub fn gram(a: ArrayView2<f64>) -> Array2<f64> {
    let mut sum = SymmetricPanels::zeros(a.ncols());
    for block in a.axis_chunks_iter(Axis(0), 512) {
        let block = block.as_standard_layout();
        if let Some(rows) = block.as_slice() {
            sum.add_gram(rows);
        }
    }
    sum.to_dense(1.0)
}

/// Mean row of `features` `[N, D]`, by two passes.
///
/// # Errors
/// [`DensityError::Empty`] without rows.
pub fn mean(features: ArrayView2<f64>) -> Result<Array1<f64>> {
    let first = features.mean_axis(Axis(0)).ok_or(DensityError::Empty)?;
    let mut rest = Array1::<f64>::zeros(features.ncols());
    for row in features.rows() {
        rest += &(&row - &first);
    }
    Ok(first + rest / features.nrows() as f64)
}

/// Covariance `[D, D]` of `features` `[N, D]` about `center`, with the given divisor
/// (`N` for the biased, `N − 1` for the unbiased estimate about the mean).
///
/// # Errors
/// When `center` has another length than the rows, and when squares leave the range of f64.
pub fn covariance(
    features: ArrayView2<f64>,
    center: ndarray::ArrayView1<f64>,
    divisor: f64,
) -> Result<Array2<f64>> {
    if center.len() != features.ncols() {
        return Err(DensityError::FeatureDimension {
            expected: features.ncols(),
            found: center.len(),
        });
    }
    let mut sum = SymmetricPanels::zeros(features.ncols());
    for block in features.axis_chunks_iter(Axis(0), 512) {
        let centered = &block - &center;
        if let Some(rows) = centered.as_slice() {
            sum.add_gram(rows);
        }
    }
    let trace: f64 = sum.diagonal().iter().sum();
    let spread = || features.rows().into_iter().any(|row| row != center);
    if !trace.is_finite() || (trace < f64::MIN_POSITIVE && spread()) {
        return Err(DensityError::Matrix {
            what: "the covariance of all rows leaves the range of f64".into(),
            remedy: "scale the features so that their spread is between 1e-150 and 1e150",
        });
    }
    Ok(sum.to_dense(1.0 / divisor))
}

/// Eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Clone, Debug)]
pub struct SymmetricEigen {
    /// Eigenvalues in descending order, `[D]`.
    pub values: Array1<f64>,
    /// Orthonormal eigenvectors, one per **row**, in the order of the values, `[D, D]`.
    pub vectors: Array2<f64>,
}

/// Eigendecomposition of the symmetric `a` `[D, D]` (its lower triangle is read).
///
/// # Errors
/// When `a` is not square, holds a NaN or an infinity, or the iteration does not converge.
pub fn symmetric_eigen(a: ArrayView2<f64>) -> Result<SymmetricEigen> {
    let d = a.nrows();
    if a.ncols() != d || a.iter().any(|v| !v.is_finite()) {
        return Err(DensityError::Matrix {
            what: format!("no eigendecomposition of a {d} x {} matrix", a.ncols()),
            remedy: "give a square symmetric matrix of finite numbers",
        });
    }
    let a = a.as_standard_layout();
    let eigen = view(&a)?
        .self_adjoint_eigen(faer::Side::Lower)
        .map_err(|error| DensityError::Matrix {
            what: format!("the eigendecomposition did not converge ({error:?})"),
            remedy: "scale the matrix so that its entries are near 1",
        })?;
    let (s, u) = (eigen.S().column_vector(), eigen.U());
    Ok(SymmetricEigen {
        values: Array1::from_shape_fn(d, |k| s[d - 1 - k]),
        vectors: Array2::from_shape_fn((d, d), |(k, j)| u[(j, d - 1 - k)]),
    })
}

/// Right singular vectors, one per row, and singular values, descending, of row-major `rows` `[K, D]`, `K ≤ D`.
pub(crate) fn right_singular(rows: &[f64], d: usize) -> Result<(Array2<f64>, Vec<f64>)> {
    let k = rows.len() / d;
    if k == 0 {
        return Ok((Array2::zeros((0, d)), Vec::new()));
    }
    // Row-major [K, D] is column-major [D, K], the tall form that the decomposition prefers.
    let svd = MatRef::from_column_major_slice(rows, d, k)
        .thin_svd()
        .map_err(|error| DensityError::Matrix {
            what: format!("the singular values did not converge ({error:?})"),
            remedy: "scale the features so that they are near 1",
        })?;
    let (u, s) = (svd.U(), svd.S().column_vector());
    Ok((
        Array2::from_shape_fn((k, d), |(i, j)| u[(j, i)]),
        (0..k).map(|i| s[i]).collect(),
    ))
}

/// `out [n, m] ← (out +) factor · rows [n, k] · right [k, m]` on this thread, row-major.
pub(crate) fn multiply(
    out: &mut [f64],
    rows: &[f64],
    right: MatRef<'_, f64>,
    accumulate: Accum,
    factor: f64,
) {
    let (k, m) = (right.nrows(), right.ncols());
    let n = out.len() / m;
    faer_matmul(
        MatMut::from_row_major_slice_mut(out, n, m),
        accumulate,
        MatRef::from_row_major_slice(&rows[..n * k], n, k),
        right,
        factor,
        Par::Seq,
    );
}

/// `Σ f(a_i, b_i)` in eight running sums: a loop of vectors with one fixed order.
pub(crate) fn sum_by_lanes(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
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

fn product(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
    if b.nrows() != k {
        return Err(DensityError::Matrix {
            what: format!("cannot multiply {m} x {k} by {} x {n}", b.nrows()),
            remedy: "the inner dimensions must be equal",
        });
    }
    let mut out = Array2::zeros((m, n));
    if m == 0 || n == 0 || k == 0 {
        return Ok(out);
    }
    // Either orientation of `b` is fine for the kernels, so only odd strides are copied.
    let transposed = b.reversed_axes();
    let (b_rows, b_is_transposed) = if transposed.is_standard_layout() {
        (transposed.as_standard_layout(), true)
    } else {
        (
            transposed
                .reversed_axes()
                .as_standard_layout()
                .into_owned()
                .into(),
            false,
        )
    };
    let b_view = view(&b_rows)?;
    let b_view = if b_is_transposed {
        b_view.transpose()
    } else {
        b_view
    };
    let out_rows = out.as_slice_mut().unwrap_or_default();
    out_rows
        .par_chunks_mut(BLOCK_ROWS * n)
        .zip(a.axis_chunks_iter(Axis(0), BLOCK_ROWS).into_par_iter())
        .try_for_each(|(out, a)| {
            let a = a.as_standard_layout();
            let rows = a.nrows();
            faer_matmul(
                MatMut::from_row_major_slice_mut(out, rows, n),
                Accum::Replace,
                view(&a)?,
                b_view,
                1.0,
                Par::Seq,
            );
            Ok::<(), DensityError>(())
        })?;
    Ok(out)
}

fn view<'a, S: ndarray::Data<Elem = f64>>(
    a: &'a ndarray::ArrayBase<S, ndarray::Ix2>,
) -> Result<MatRef<'a, f64>> {
    let (rows, columns) = a.dim();
    a.as_slice()
        .map(|slice| MatRef::from_row_major_slice(slice, rows, columns))
        .ok_or_else(|| DensityError::Matrix {
            what: "the matrix is not contiguous".into(),
            remedy: "call as_standard_layout() first",
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn numbers(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 31 + j * 17) % 23) as f64 - 11.0
        })
    }

    #[test]
    fn products_agree_with_ndarray_on_odd_shapes() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (129, 7, 131), (300, 33, 5), (2, 0, 3)] {
            let (a, b) = (numbers(m, k), numbers(k, n));
            assert_eq!(matmul(a.view(), b.view()).unwrap(), a.dot(&b));
            let bt = b.t().as_standard_layout().into_owned();
            assert_eq!(matmul_nt(a.view(), bt.view()).unwrap(), a.dot(&b));
            assert_eq!(matmul(a.view(), bt.t()).unwrap(), a.dot(&b));
            assert_eq!(gram(a.view()), a.t().dot(&a));
        }
        assert!(matmul(numbers(2, 3).view(), numbers(2, 3).view()).is_err());
    }

    #[test]
    fn eigenvectors_rebuild_the_matrix_in_descending_order() {
        let a = gram(numbers(40, 30).view());
        let eigen = symmetric_eigen(a.view()).unwrap();
        let scaled = &eigen.vectors * &eigen.values.view().insert_axis(Axis(1));
        let rebuilt = eigen.vectors.t().dot(&scaled);
        assert!((&rebuilt - &a).iter().all(|v| v.abs() < 1e-9 * a[[0, 0]]));
        assert!(eigen.values.windows(2).into_iter().all(|w| w[0] >= w[1]));
        assert!(symmetric_eigen(array![[1.0, f64::NAN], [0.0, 1.0]].view()).is_err());
    }

    #[test]
    fn covariance_matches_its_definition() {
        let x = numbers(50, 4);
        let mu = mean(x.view()).unwrap();
        let centered = &x - &mu;
        let expected = centered.t().dot(&centered) / 49.0;
        let found = covariance(x.view(), mu.view(), 49.0).unwrap();
        assert!((&found - &expected).iter().all(|v| v.abs() < 1e-12));
    }
}
