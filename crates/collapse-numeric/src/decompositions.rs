//! Eigenvalues and singular values.

use faer::MatRef;
use ndarray::{Array1, Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::products::view;

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
        return Err(Error::matrix(
            format!("no eigendecomposition of a {d} x {} matrix", a.ncols()),
            "give a square symmetric matrix of finite numbers",
        ));
    }
    let a = a.as_standard_layout();
    let eigen = view(&a)?
        .self_adjoint_eigen(faer::Side::Lower)
        .map_err(|error| {
            Error::matrix(
                format!("the eigendecomposition did not converge ({error:?})"),
                "scale the matrix so that its entries are near 1",
            )
        })?;
    let (s, u) = (eigen.S().column_vector(), eigen.U());
    Ok(SymmetricEigen {
        values: Array1::from_shape_fn(d, |k| s[d - 1 - k]),
        vectors: Array2::from_shape_fn((d, d), |(k, j)| u[(j, d - 1 - k)]),
    })
}

/// Singular values and right singular vectors of a matrix `[N, D]`, `K = min(N, D)`.
#[derive(Clone, Debug)]
pub struct RightSingular {
    /// Singular values in descending order, `[K]`.
    pub values: Array1<f64>,
    /// Orthonormal vectors, one per **row**, in the order of the values, `[K, D]`.
    pub vectors: Array2<f64>,
}

/// Singular values and right singular vectors of row-major `rows` `[N, D]`.
///
/// # Errors
/// When the iteration does not converge.
pub fn right_singular(rows: &[f64], d: usize) -> Result<RightSingular> {
    let n = rows.len().checked_div(d).unwrap_or(0);
    let k = n.min(d);
    if k == 0 {
        return Ok(RightSingular {
            values: Array1::zeros(0),
            vectors: Array2::zeros((0, d)),
        });
    }
    // Row-major [N, D] is column-major [D, N], whose left vectors are wanted.
    let svd = MatRef::from_column_major_slice(&rows[..n * d], d, n)
        .thin_svd()
        .map_err(|error| {
            Error::matrix(
                format!("the singular values did not converge ({error:?})"),
                "scale the features so that they are near 1",
            )
        })?;
    let (u, s) = (svd.U(), svd.S().column_vector());
    Ok(RightSingular {
        values: Array1::from_shape_fn(k, |i| s[i]),
        vectors: Array2::from_shape_fn((k, d), |(i, j)| u[(j, i)]),
    })
}

/// Rows `[K, D]`, `K = min(M, D)`, under which everything is as long as under `vectors` `[M, D]`, the `i`-th of which begins with `i`
/// zeros: the R of V = Q R.
///
/// # Errors
/// When `vectors` hold a NaN or an infinity.
pub fn trapezoid(vectors: ArrayView2<f64>) -> Result<Array2<f64>> {
    if vectors.iter().any(|v| !v.is_finite()) {
        return Err(Error::matrix(
            "no orthogonal triangle of vectors that are not finite",
            "scale the features so that they are near 1",
        ));
    }
    let vectors = vectors.as_standard_layout();
    let qr = view(&vectors)?.qr();
    let r = qr.thin_R();
    Ok(Array2::from_shape_fn((r.nrows(), r.ncols()), |(i, j)| {
        if j < i { 0.0 } else { r[(i, j)] }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gram;
    use ndarray::{Axis, array};

    fn numbers(rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 31 + j * 17) % 23) as f64 - 11.0
        })
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
    fn singular_vectors_rebuild_the_gram_matrix_of_wide_and_tall_rows() {
        for (n, d) in [(3, 8), (8, 3), (5, 5), (1, 4), (0, 4)] {
            let a = numbers(n, d);
            let found = right_singular(a.as_slice().unwrap(), d).unwrap();
            assert_eq!(found.vectors.dim(), (n.min(d), d));
            let scaled = &found.vectors * &found.values.view().insert_axis(Axis(1));
            let gap = scaled.t().dot(&scaled) - a.t().dot(&a);
            assert!(gap.iter().all(|v| v.abs() < 1e-10), "{n} x {d}");
        }
    }

    #[test]
    fn a_trapezoid_has_the_products_of_its_vectors() {
        for (m, d) in [(3, 8), (8, 3), (5, 5), (1, 4)] {
            let vectors = numbers(m, d);
            let found = trapezoid(vectors.view()).unwrap();
            assert_eq!(found.dim(), (m.min(d), d));
            let gap = found.t().dot(&found) - vectors.t().dot(&vectors);
            assert!(gap.iter().all(|v| v.abs() < 1e-11), "{m} x {d}");
            let begins =
                |(i, row): (usize, ndarray::ArrayView1<f64>)| row.iter().take(i).all(|v| *v == 0.0);
            assert!(found.rows().into_iter().enumerate().all(begins));
        }
        assert!(trapezoid(array![[1.0, f64::INFINITY]].view()).is_err());
    }
}
