//! Symmetric and triangular matrices in row panels: half the memory, block-wise kernels.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::prelude::{Reborrow, ReborrowMut};
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{DensityError, Result};

/// Rows of a panel. 128 keeps a diagonal block in the first-level cache's neighbourhood and
/// is where the kernels reach their full speed.
pub(crate) const PANEL: usize = 128;

/// Lower triangle of a symmetric `[D, D]` matrix that grows by Gram matrices of row blocks.
///
/// Panel `i` holds rows `128 i ..` of the lower triangle, columns up to and including its
/// diagonal block, column-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct SymmetricPanels {
    dimension: usize,
    panels: Vec<Vec<f64>>,
}

impl SymmetricPanels {
    /// The zero matrix of `dimension` rows.
    pub fn zeros(dimension: usize) -> Self {
        let panels = extents(dimension).map(|(start, rows)| vec![0.0; rows * (start + rows)]);
        Self {
            dimension,
            panels: panels.collect(),
        }
    }

    /// Number of rows and columns.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Adds `rowsᵀ · rows` for a row-major block `[K, D]` (a length that is no multiple of `D` is
    /// cut to whole rows).
    pub fn add_gram(&mut self, rows: &[f64]) {
        let d = self.dimension;
        if d == 0 || rows.len() < d {
            return;
        }
        let k = rows.len() / d;
        // A row-major [K, D] block is a column-major [D, K] matrix.
        let x = MatRef::from_column_major_slice(&rows[..k * d], d, k);
        self.panels
            .par_iter_mut()
            .enumerate()
            .for_each(|(i, panel)| {
                let start = i * PANEL;
                let height = panel_rows(d, start);
                let panel = MatMut::from_column_major_slice_mut(panel, height, start + height);
                let (left, diagonal) = panel.split_at_col_mut(start);
                let mine = x.subrows(start, height);
                let others = x.subrows(0, start).transpose();
                matmul(left, Accum::Add, mine, others, 1.0, Par::Seq);
                triangular::matmul(
                    diagonal,
                    BlockStructure::TriangularLower,
                    Accum::Add,
                    mine,
                    BlockStructure::Rectangular,
                    mine.transpose(),
                    BlockStructure::Rectangular,
                    1.0,
                    Par::Seq,
                );
            });
    }

    /// Adds another matrix of the same dimension.
    pub fn add(&mut self, other: &Self) {
        for (a, b) in self.panels.iter_mut().zip(&other.panels) {
            for (a, b) in a.iter_mut().zip(b) {
                *a += b;
            }
        }
    }

    /// Entry `[i, j]`.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        let start = i / PANEL * PANEL;
        self.panels[i / PANEL][j * panel_rows(self.dimension, start) + i - start]
    }

    /// The diagonal, `[D]`.
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.dimension).map(|i| self.get(i, i)).collect()
    }

    /// Sum of squares of all entries of the full symmetric matrix, each divided by `unit` first.
    pub fn relative_squared_norm(&self, unit: f64) -> f64 {
        let square = |v: &f64| (v / unit) * (v / unit);
        let mut sum = 0.0;
        for (start, rows) in extents(self.dimension) {
            let panel = &self.panels[start / PANEL];
            for (j, column) in panel.chunks_exact(rows).enumerate() {
                let top = j.saturating_sub(start);
                let below: f64 = column[top..].iter().map(square).sum();
                let diagonal = if j >= start {
                    square(&column[top])
                } else {
                    0.0
                };
                sum += 2.0 * below - diagonal;
            }
        }
        sum
    }

    /// `(1 − weight) · self + weight · (tr / D) · I`.
    pub fn shrunk(mut self, weight: f64) -> Self {
        let d = self.dimension;
        let mean = self.diagonal().iter().map(|v| v / d as f64).sum::<f64>();
        for panel in &mut self.panels {
            panel.iter_mut().for_each(|v| *v *= 1.0 - weight);
        }
        for i in 0..d {
            let start = i / PANEL * PANEL;
            let at = i * panel_rows(d, start) + i - start;
            self.panels[i / PANEL][at] += weight * mean;
        }
        self
    }

    /// The full matrix times `scale`, `[D, D]`.
    pub fn to_dense(&self, scale: f64) -> Array2<f64> {
        let mut out = Array2::zeros((self.dimension, self.dimension));
        for (start, rows) in extents(self.dimension) {
            for (j, column) in self.panels[start / PANEL].chunks_exact(rows).enumerate() {
                for i in (start + j.saturating_sub(start))..start + rows {
                    let value = column[i - start] * scale;
                    out[[i, j]] = value;
                    out[[j, i]] = value;
                }
            }
        }
        out
    }

    /// Matrix-vector product, `[D]`.
    pub fn times(&self, vector: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.dimension];
        for (start, rows) in extents(self.dimension) {
            for (j, column) in self.panels[start / PANEL].chunks_exact(rows).enumerate() {
                for i in (start + j.saturating_sub(start))..start + rows {
                    out[i] += column[i - start] * vector[j];
                    if i != j {
                        out[j] += column[i - start] * vector[i];
                    }
                }
            }
        }
        out
    }

    /// Cholesky factor of `scale · self + shift · I`, or `None` when a pivot is not positive.
    pub fn cholesky(&self, scale: f64, shift: f64) -> Option<Cholesky> {
        self.clone().into_cholesky(scale, shift)
    }

    /// As [`cholesky`](Self::cholesky), in the memory of the matrix itself.
    pub fn into_cholesky(mut self, scale: f64, shift: f64) -> Option<Cholesky> {
        self.panels
            .par_iter_mut()
            .for_each(|panel| panel.iter_mut().for_each(|v| *v *= scale));
        for (start, rows) in extents(self.dimension) {
            let panel = &mut self.panels[start / PANEL];
            (0..rows).for_each(|i| panel[(start + i) * rows + i] += shift);
        }
        factor_panels(&mut self.panels, self.dimension).then_some(Cholesky {
            dimension: self.dimension,
            panels: self.panels,
        })
    }
}

/// Lower-triangular Cholesky factor `L` of a positive-definite `[D, D]` matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Cholesky {
    dimension: usize,
    panels: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factorises the symmetric `a` `[D, D]` (its lower triangle is read).
    ///
    /// # Errors
    /// When `a` is not square, or not positive definite.
    pub fn new(a: ArrayView2<f64>) -> Result<Self> {
        let panels = |d: usize| {
            let entry = |i: usize, j: usize| if i < j { 0.0 } else { a[[i, j]] };
            let panel = |(start, rows): (usize, usize)| {
                let columns = 0..start + rows;
                columns
                    .flat_map(|j| (start..start + rows).map(move |i| entry(i, j)))
                    .collect()
            };
            extents(d).map(panel).collect()
        };
        let lower = a.is_square().then(|| SymmetricPanels {
            dimension: a.nrows(),
            panels: panels(a.nrows()),
        });
        let factor = lower.and_then(|lower| lower.into_cholesky(1.0, 0.0));
        factor.ok_or(DensityError::Matrix {
            what: "the matrix is not positive definite".into(),
            remedy: "give a square symmetric matrix and add a small multiple of the identity",
        })
    }

    /// Number of rows and columns.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// `L` as a full `[D, D]` matrix with zeros above the diagonal.
    pub fn to_dense(&self) -> Array2<f64> {
        let mut out = Array2::zeros((self.dimension, self.dimension));
        for (start, rows) in extents(self.dimension) {
            for (j, column) in self.panels[start / PANEL].chunks_exact(rows).enumerate() {
                for i in j.saturating_sub(start)..rows {
                    out[[start + i, j]] = column[i];
                }
            }
        }
        out
    }

    /// `ln det(L Lᵀ)`.
    pub fn log_determinant(&self) -> f64 {
        let mut sum = 0.0;
        for (start, rows) in extents(self.dimension) {
            let panel = &self.panels[start / PANEL];
            for i in 0..rows {
                sum += panel[(start + i) * rows + i].ln();
            }
        }
        2.0 * sum
    }

    /// Number of row panels.
    pub(crate) fn n_panels(&self) -> usize {
        self.panels.len()
    }

    /// Forward substitution of panel `i` for the rows of `rows`, row-major with `width` columns of which the first
    /// `128 i` are solved already. Adds the squares of the newly solved columns to `squared`.
    pub(crate) fn solve_panel(
        &self,
        i: usize,
        rows: &mut [f64],
        width: usize,
        squared: &mut [f64],
    ) {
        let n = squared.len();
        let start = i * PANEL;
        let height = panel_rows(self.dimension, start);
        let panel = MatRef::from_column_major_slice(&self.panels[i], height, start + height);
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
            *squared += super::sum_by_lanes(solved, solved, |a, b| a * b);
        }
    }

    /// Squared Mahalanobis norms `‖L⁻¹ r‖²` of `n` row-major rows `[n, D]`, which are overwritten by `L⁻¹ r`.
    pub(crate) fn squared_norms(&self, rows: &mut [f64], squared: &mut [f64]) {
        squared.fill(0.0);
        for i in 0..self.n_panels() {
            self.solve_panel(i, rows, self.dimension, squared);
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
        super::matmul_nt(x, self.to_dense().view())
    }
}

/// What a file says about panels; it may say anything.
#[derive(Deserialize)]
struct Stored {
    dimension: usize,
    panels: Vec<Vec<f64>>,
}

impl Stored {
    fn check(&self) -> Result<()> {
        let wanted = extents(self.dimension).map(|(start, rows)| rows * (start + rows));
        if self.panels.iter().map(Vec::len).eq(wanted) {
            return Ok(());
        }
        Err(DensityError::Matrix {
            what: format!("the panels are not those of {} rows", self.dimension),
            remedy: "store the matrix again",
        })
    }
}

impl TryFrom<Stored> for SymmetricPanels {
    type Error = DensityError;

    fn try_from(stored: Stored) -> Result<Self> {
        stored.check()?;
        let Stored { dimension, panels } = stored;
        Ok(Self { dimension, panels })
    }
}

impl TryFrom<Stored> for Cholesky {
    type Error = DensityError;

    fn try_from(stored: Stored) -> Result<Self> {
        stored.check()?;
        let Stored { dimension, panels } = stored;
        Ok(Self { dimension, panels })
    }
}

/// Finite rows and factors reach NaN only through an intermediate beyond the range of f64.
pub(crate) fn overflow_to_infinity(squared: f64) -> f64 {
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

fn panel_rows(dimension: usize, start: usize) -> usize {
    PANEL.min(dimension - start)
}

/// (first row, number of rows) of each panel.
fn extents(dimension: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..dimension)
        .step_by(PANEL)
        .map(move |start| (start, panel_rows(dimension, start)))
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
    fn panels_hold_the_whole_matrix() {
        for d in [1, 5, 127, 128, 129, 300] {
            let (panels, dense) = spd(d);
            assert_eq!(panels.to_dense(1.0), dense);
            let norm: f64 = dense.iter().map(|v| v * v).sum();
            assert!((panels.relative_squared_norm(2.0) * 4.0 / norm - 1.0).abs() < 1e-12);
            let vector: Vec<f64> = (0..d).map(|i| i as f64 - 3.0).collect();
            let expected = dense.dot(&ndarray::Array1::from(vector.clone()));
            assert_eq!(panels.times(&vector), expected.to_vec());
        }
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
