//! Products of dense matrices, and what follows from one product: Gram matrix, mean, covariance.

use std::ops::Range;

use faer::linalg::matmul::matmul as faer_matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::panels::SymmetricPanels;
use crate::source::{About, RowSource};

/// Rows of one parallel task.
const BLOCK_ROWS: usize = 128;

/// A number that the product kernels know: f32 or f64.
pub trait Element: faer::traits::RealField + Copy {}

impl Element for f32 {}
impl Element for f64 {}

/// `a · bᵀ` for `a` `[M, K]` and `b` `[N, K]`: all inner products of two sets of rows, `[M, N]`.
///
/// # Errors
/// When the numbers of columns differ.
pub fn matmul_nt(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<Array2<f64>> {
    matmul(a, b.reversed_axes())
}

/// `a · b` for `a` `[M, K]` and `b` `[K, N]`, `[M, N]`.
///
/// # Errors
/// When the inner dimensions differ.
pub fn matmul(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (m, k, n) = (a.nrows(), a.ncols(), b.ncols());
    if b.nrows() != k {
        return Err(Error::matrix(
            format!("cannot multiply {m} x {k} by {} x {n}", b.nrows()),
            "the inner dimensions must be equal",
        ));
    }
    let mut out = Array2::zeros((m, n));
    if m == 0 || n == 0 || k == 0 {
        return Ok(out);
    }
    // The kernels take either orientation of `b`; only odd strides are copied.
    let (by_columns, by_rows);
    let b = if b.t().is_standard_layout() {
        by_columns = b.reversed_axes();
        view(&by_columns)?.transpose()
    } else {
        by_rows = b.as_standard_layout();
        view(&by_rows)?
    };
    let out_rows = out.as_slice_mut().unwrap_or_default();
    out_rows
        .par_chunks_mut(BLOCK_ROWS * n)
        .zip(a.axis_chunks_iter(Axis(0), BLOCK_ROWS).into_par_iter())
        .try_for_each(|(out, a)| {
            let a = a.as_standard_layout();
            let out = MatMut::from_row_major_slice_mut(out, a.nrows(), n);
            faer_matmul(out, Accum::Replace, view(&a)?, b, 1.0, Par::Seq);
            Ok::<(), Error>(())
        })?;
    Ok(out)
}

/// `aᵀ · a` `[D, D]` for `a` `[N, D]`: the uncentred second moment times `N`, symmetric to the last bit.
#[must_use]
pub fn gram(a: ArrayView2<f64>) -> Array2<f64> {
    let mut sum = SymmetricPanels::zeros(a.ncols());
    sum.add_gram_of(a.nrows(), a);
    sum.to_dense(1.0)
}

/// Mean row `[D]` of `features` `[N, D]` in f64, from the distances to the mean of the first rows, panel by panel: the same bytes for
/// any number of threads.
///
/// # Errors
/// [`Error::NoRows`].
pub fn mean<R: RowSource>(features: R) -> Result<Array1<f64>> {
    let (n, d) = features.dim();
    let sum = |rows: Range<usize>, center: &[f64]| {
        let (mut row, mut sum) = (vec![0.0; d], vec![0.0; d]);
        for i in rows {
            features.read(i, &mut row);
            for ((sum, value), center) in sum.iter_mut().zip(&row).zip(center) {
                *sum += value - center;
            }
        }
        Array1::from(sum)
    };
    let panels = features.panels();
    let first = panels.first().ok_or(Error::NoRows)?;
    let center = sum(first.clone(), &vec![0.0; d]) / first.len() as f64;
    let about = center.to_vec();
    let sums = panels.into_par_iter().map(|rows| sum(rows, &about));
    let sums: Vec<Array1<f64>> = sums.collect();
    let offset = sums
        .iter()
        .fold(Array1::zeros(d), |all: Array1<f64>, part| all + part);
    Ok(center + offset / n as f64)
}

/// Covariance `[D, D]` of `features` `[N, D]` about `center` `[D]`, with the given divisor
/// (`N` for the biased, `N − 1` for the unbiased estimate about the mean). Features in f32 are multiplied in f64, panel by panel.
///
/// # Errors
/// When `center` has another length than the rows, and when squares leave the range of f64.
pub fn covariance<R: RowSource>(
    features: R,
    center: ArrayView1<f64>,
    divisor: f64,
) -> Result<Array2<f64>> {
    let (n, d) = features.dim();
    if center.len() != d {
        return Err(Error::matrix(
            format!("the centre has {} entries for {d} columns", center.len()),
            "give the mean of the same features",
        ));
    }
    let mut sum = SymmetricPanels::zeros(d);
    let about = center.to_vec();
    sum.add_gram_of(
        n,
        About {
            rows: &features,
            center: &about,
        },
    );
    let trace: f64 = sum.diagonal().iter().sum();
    let spread = || {
        let mut row = vec![0.0; d];
        (0..n).any(|i| {
            features.read(i, &mut row);
            row.iter()
                .zip(center)
                .any(|(value, center)| value != center)
        })
    };
    if !trace.is_finite() || (trace < f64::MIN_POSITIVE && spread()) {
        return Err(Error::matrix(
            "the covariance of all rows leaves the range of f64",
            "scale the features so that their spread is between 1e-150 and 1e150",
        ));
    }
    Ok(sum.to_dense(1.0 / divisor))
}

/// `out [N, M] = rows [N, D] · otherᵀ`, `other` `[M, D]`, all row-major, on this thread; zero for `D = 0`.
pub fn inner_products<T: Element>(rows: &[T], other: &[T], d: usize, out: &mut [T]) {
    if d == 0 || out.is_empty() {
        out.fill(T::zero_impl());
        return;
    }
    let (n, m) = (rows.len() / d, other.len() / d);
    faer_matmul(
        MatMut::from_row_major_slice_mut(out, n, m),
        Accum::Replace,
        MatRef::from_row_major_slice(rows, n, d),
        MatRef::from_row_major_slice(other, m, d).transpose(),
        T::one_impl(),
        Par::Seq,
    );
}

/// `out [N, M] ← out − rows [N, K] · right [K, M]`, all row-major, on this thread. Nothing happens for `K = 0` or `M = 0`.
pub fn subtract_product(out: &mut [f64], rows: &[f64], right: &[f64], m: usize) {
    if m == 0 || right.is_empty() {
        return;
    }
    let (n, k) = (out.len() / m, right.len() / m);
    faer_matmul(
        MatMut::from_row_major_slice_mut(out, n, m),
        Accum::Add,
        MatRef::from_row_major_slice(rows, n, k),
        MatRef::from_row_major_slice(right, k, m),
        -1.0,
        Par::Seq,
    );
}

/// A row-major array as the kernels see it.
pub(crate) fn view<'a, S: ndarray::Data<Elem = f64>>(
    a: &'a ndarray::ArrayBase<S, ndarray::Ix2>,
) -> Result<MatRef<'a, f64>> {
    let (rows, columns) = a.dim();
    a.as_slice()
        .map(|slice| MatRef::from_row_major_slice(slice, rows, columns))
        .ok_or_else(|| {
            Error::matrix(
                "the matrix is not contiguous",
                "call as_standard_layout() first",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let at = a.t().as_standard_layout().into_owned();
            assert_eq!(matmul(at.t(), b.view()).unwrap(), a.dot(&b));
            assert_eq!(gram(a.view()), a.t().dot(&a));
            assert_eq!(gram(at.t()), a.t().dot(&a));
        }
        assert!(matmul(numbers(2, 3).view(), numbers(2, 3).view()).is_err());
    }

    #[test]
    fn products_of_slices_agree_with_ndarray() {
        let (a, b) = (numbers(7, 5), numbers(4, 5));
        let mut out = vec![f64::NAN; 28];
        inner_products(a.as_slice().unwrap(), b.as_slice().unwrap(), 5, &mut out);
        assert_eq!(out, a.dot(&b.t()).into_raw_vec_and_offset().0);
        let narrow = |x: &Array2<f64>| x.iter().map(|v| *v as f32).collect::<Vec<_>>();
        let mut in_f32 = vec![f32::NAN; 28];
        inner_products(&narrow(&a), &narrow(&b), 5, &mut in_f32);
        assert!(in_f32.iter().zip(&out).all(|(a, b)| f64::from(*a) == *b));
        let right = numbers(4, 5);
        let mut rest = numbers(7, 5);
        subtract_product(
            rest.as_slice_mut().unwrap(),
            &out,
            right.as_slice().unwrap(),
            5,
        );
        let product = Array2::from_shape_vec((7, 4), out).unwrap().dot(&right);
        assert_eq!(rest, numbers(7, 5) - product);
    }

    #[test]
    fn covariance_matches_its_definition() {
        let x = numbers(50, 4);
        let mu = mean(x.view()).unwrap();
        let centered = &x - &mu;
        let expected = centered.t().dot(&centered) / 49.0;
        for x in [x.view(), x.t().as_standard_layout().t()] {
            let found = covariance(x, mu.view(), 49.0).unwrap();
            assert!((&found - &expected).iter().all(|v| v.abs() < 1e-12));
        }
        assert!(covariance(x.view(), mu.slice(ndarray::s![..3]), 49.0).is_err());
    }
}
