//! Cholesky factors in row panels.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::prelude::{Reborrow, ReborrowMut};
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lanes::dot;
use crate::panels::{PANEL, SymmetricPanels, extents, panel_rows};
use crate::products::matmul_nt;

/// Lower-triangular Cholesky factor `L` of a positive-definite `[D, D]` matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cholesky {
    lower: SymmetricPanels,
}

impl Cholesky {
    /// Factorises the symmetric `a` `[D, D]` (its lower triangle is read).
    ///
    /// # Errors
    /// When `a` is not square, or not positive definite.
    pub fn new(a: ArrayView2<f64>) -> Result<Self> {
        let lower = a.is_square().then(|| SymmetricPanels::of_lower(a));
        let factor = lower.and_then(|lower| lower.into_cholesky(1.0, 0.0));
        factor.ok_or(Error::matrix(
            "the matrix is not positive definite",
            "give a square symmetric matrix and add a small multiple of the identity",
        ))
    }

    /// Number of rows and columns.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.lower.dimension()
    }

    /// `L` as a full `[D, D]` matrix with zeros above the diagonal.
    #[must_use]
    pub fn to_dense(&self) -> Array2<f64> {
        let mut out = self.lower.to_dense(1.0);
        for i in 0..self.dimension() {
            out.slice_mut(s![i, i + 1..]).fill(0.0);
        }
        out
    }

    /// `ln det(L Lᵀ)`.
    #[must_use]
    pub fn log_determinant(&self) -> f64 {
        2.0 * self.lower.diagonal().iter().map(|v| v.ln()).sum::<f64>()
    }

    /// Number of row panels.
    #[must_use]
    pub fn n_panels(&self) -> usize {
        self.lower.panels.len()
    }

    /// Forward substitution of panel `i` for the rows of `rows`, row-major with `width` columns of which the first
    /// `128 i` are solved already. Adds the squares of the newly solved columns to `squared`.
    pub fn solve_panel(&self, i: usize, rows: &mut [f64], width: usize, squared: &mut [f64]) {
        let n = squared.len();
        let start = i * PANEL;
        let height = panel_rows(self.dimension(), start);
        let panel = MatRef::from_column_major_slice(&self.lower.panels[i], height, start + height);
        let (left, diagonal) = panel.split_at_col(start);
        // Row-major rows are the columns of a column-major matrix.
        let y = MatMut::from_column_major_slice_mut(&mut *rows, width, n);
        let (solved, rest) = y.split_at_row_mut(start);
        let mut current = rest.subrows_mut(0, height);
        if start > 0 {
            matmul(
                current.rb_mut(),
                Accum::Add,
                left,
                solved.rb(),
                -1.0,
                Par::Seq,
            );
        }
        solve_lower_triangular_in_place(diagonal, current.rb_mut(), Par::Seq);
        for (squared, row) in squared.iter_mut().zip(rows.chunks_exact(width)) {
            let solved = &row[start..start + height];
            *squared += dot(solved, solved);
        }
    }

    /// Squared Mahalanobis norms `‖L⁻¹ r‖²` of `n` row-major rows `[n, D]`, which are overwritten by `L⁻¹ r`.
    pub fn squared_norms(&self, rows: &mut [f64], squared: &mut [f64]) {
        squared.fill(0.0);
        for i in 0..self.n_panels() {
            self.solve_panel(i, rows, self.dimension(), squared);
        }
        squared
            .iter_mut()
            .for_each(|v| *v = overflow_to_infinity(*v));
    }

    /// `x Lᵀ` for rows `x` `[n, D]`: turns standard normal rows into rows of this covariance.
    ///
    /// # Errors
    /// When the number of columns differs.
    pub fn correlate(&self, x: ArrayView2<f64>) -> Result<Array2<f64>> {
        matmul_nt(x, self.to_dense().view())
    }
}

impl SymmetricPanels {
    /// Cholesky factor of `scale · self + shift · I`, or `None` when a pivot is not positive.
    #[must_use]
    pub fn cholesky(&self, scale: f64, shift: f64) -> Option<Cholesky> {
        self.clone().into_cholesky(scale, shift)
    }

    /// As [`cholesky`](Self::cholesky), in the memory of the matrix itself.
    #[must_use]
    pub fn into_cholesky(mut self, scale: f64, shift: f64) -> Option<Cholesky> {
        self.panels
            .par_iter_mut()
            .for_each(|panel| panel.iter_mut().for_each(|v| *v *= scale));
        for (start, rows) in extents(self.dimension) {
            let panel = &mut self.panels[start / PANEL];
            (0..rows).for_each(|i| panel[(start + i) * rows + i] += shift);
        }
        factor_panels(&mut self.panels, self.dimension).then_some(Cholesky { lower: self })
    }
}

/// Finite rows and factors reach NaN only through an intermediate beyond the range of f64.
#[must_use]
pub fn overflow_to_infinity(squared: f64) -> f64 {
    if squared.is_nan() {
        f64::INFINITY
    } else {
        squared
    }
}

/// Factorises panels in place, one block column after the other; `false` when a pivot is not positive.
///
/// The blocks of a column are independent and run in parallel, each with its sum in one fixed order.
fn factor_panels(panels: &mut [Vec<f64>], d: usize) -> bool {
    for j in 0..panels.len() {
        let start = j * PANEL;
        let width = panel_rows(d, start);
        let (pivot, below) = panels[j..].split_at_mut(1);
        let pivot = MatMut::from_column_major_slice_mut(&mut pivot[0], width, start + width);
        let (left, mut diagonal) = pivot.split_at_col_mut(start);
        let left = left.rb();
        triangular::matmul(
            diagonal.rb_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            left,
            BlockStructure::Rectangular,
            left.transpose(),
            BlockStructure::Rectangular,
            -1.0,
            Par::Seq,
        );
        if !factor_block(diagonal.rb_mut()) {
            return false;
        }
        let diagonal = diagonal.rb();
        below.par_iter_mut().enumerate().for_each(|(i, panel)| {
            let height = panel_rows(d, start + (i + 1) * PANEL);
            let columns = panel.len() / height;
            let panel = MatMut::from_column_major_slice_mut(panel, height, columns);
            let (solved, rest) = panel.split_at_col_mut(start);
            let mut current = rest.subcols_mut(0, width);
            matmul(
                current.rb_mut(),
                Accum::Add,
                solved.rb(),
                left.transpose(),
                -1.0,
                Par::Seq,
            );
            // X Lᵀ = B is L Xᵀ = Bᵀ.
            solve_lower_triangular_in_place(diagonal, current.transpose_mut(), Par::Seq);
        });
    }
    true
}

fn factor_block(mut block: MatMut<'_, f64>) -> bool {
    let width = block.nrows();
    let scratch = cholesky_in_place_scratch::<f64>(width, Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    cholesky_in_place(
        block.rb_mut(),
        LltRegularization::default(),
        Par::Seq,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .is_ok()
        && (0..width).all(|i| block[(i, i)].is_finite() && block[(i, i)] > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spd(d: usize) -> (SymmetricPanels, Array2<f64>) {
        let x = Array2::from_shape_fn((2 * d, d), |(i, j)| ((i * 37 + j * 11) % 29) as f64 - 14.0);
        let mut panels = SymmetricPanels::zeros(d);
        panels.add_gram(x.as_slice().unwrap());
        (panels, x.t().dot(&x))
    }

    #[test]
    fn the_factor_rebuilds_and_solves() {
        for d in [1, 7, 128, 200, 260] {
            let (panels, dense) = spd(d);
            let factor = panels.cholesky(0.5, 30.0).unwrap();
            let l = factor.to_dense();
            assert_eq!(
                factor,
                Cholesky::new((&dense * 0.5 + Array2::<f64>::eye(d) * 30.0).view()).unwrap()
            );
            let rebuilt = l.dot(&l.t());
            for ((i, j), value) in rebuilt.indexed_iter() {
                let expected = 0.5 * dense[[i, j]] + if i == j { 30.0 } else { 0.0 };
                assert!((value - expected).abs() < 1e-9 * dense[[0, 0]], "{i} {j}");
            }
            // Rows L·e_k have the unit norm.
            let mut rows: Vec<f64> = l.t().iter().copied().collect();
            let mut squared = vec![0.0; d];
            factor.squared_norms(&mut rows, &mut squared);
            assert!(squared.iter().all(|v| (v - 1.0).abs() < 1e-9));
        }
    }

    #[test]
    fn an_indefinite_matrix_has_no_factor() {
        let mut panels = SymmetricPanels::zeros(3);
        panels.add_gram(&[1.0, 2.0, 3.0]);
        assert!(panels.cholesky(1.0, 0.0).is_none());
        assert!(panels.cholesky(1.0, 1e-6).is_some());
        assert!(Cholesky::new(ndarray::array![[1.0, 2.0], [2.0, 1.0]].view()).is_err());
    }
}
