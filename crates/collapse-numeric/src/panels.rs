//! Symmetric matrices in row panels: half the memory, block-wise kernels.

#[cfg(target_arch = "x86_64")]
use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
#[cfg(target_arch = "x86_64")]
use crate::gram::{DEPTH, Packed};
use crate::source::ReadRow;
#[cfg(target_arch = "x86_64")]
use crate::tiles::Simd;

/// Rows of a panel. 128 keeps a diagonal block in the first-level cache's neighbourhood and
/// is where the kernels reach their full speed.
pub const PANEL: usize = 128;

/// Rows that are read together where they are not packed.
const READ_ROWS: usize = 256;
/// Rows of a span for each column, at least: the sums of all spans then take a tenth of what f32 rows take.
#[cfg(target_arch = "x86_64")]
const SPAN_ROWS: usize = 10;
#[cfg(target_arch = "x86_64")]
const MAX_SPANS: usize = 4;
/// Tiles side by side of one parallel task.
#[cfg(target_arch = "x86_64")]
const TASK_TILES: usize = 16;

/// Lower triangle of a symmetric `[D, D]` matrix that grows by Gram matrices of row blocks.
///
/// Panel `i` holds rows `128 i ..` of the lower triangle, columns up to and including its
/// diagonal block, column-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct SymmetricPanels {
    pub(crate) dimension: usize,
    pub(crate) panels: Vec<Vec<f64>>,
}

impl SymmetricPanels {
    /// The zero matrix of `dimension` rows.
    #[must_use]
    pub fn zeros(dimension: usize) -> Self {
        let zeros = |(start, rows): (usize, usize)| {
            // Written here rather than taken as pages of zeros: a page that is first read and then written to is mapped twice,
            // and the second time interrupts every other core.
            let mut panel = Vec::new();
            panel.resize(rows * (start + rows), 0.0);
            panel
        };
        let extents: Vec<_> = extents(dimension).collect();
        let panels = match extents.as_slice() {
            // No work to be handed over to other threads.
            [one] => vec![zeros(*one)],
            _ => extents.into_par_iter().map(zeros).collect(),
        };
        Self { dimension, panels }
    }

    /// The symmetric matrix whose lower triangle is that of the square `a` `[D, D]`.
    pub(crate) fn of_lower(a: ArrayView2<f64>) -> Self {
        let mut out = Self::zeros(a.nrows());
        for ((start, rows), panel) in extents(a.nrows()).zip(&mut out.panels) {
            for (j, column) in panel.chunks_exact_mut(rows).enumerate() {
                for i in j.saturating_sub(start)..rows {
                    column[i] = a[[start + i, j]];
                }
            }
        }
        out
    }

    /// Number of rows and columns.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Adds `rowsᵀ · rows` for a row-major block `[K, D]` (a length that is no multiple of `D` is
    /// cut to whole rows).
    pub fn add_gram(&mut self, rows: &[f64]) {
        let d = self.dimension;
        let n = rows.len().checked_div(d).unwrap_or(0);
        #[cfg(target_arch = "x86_64")]
        if let Ok(rows) = ArrayView2::from_shape((n, d), &rows[..n * d])
            && self.add_packed(n, &rows)
        {
            return;
        }
        if n > 0 {
            self.add_gram_portable(&rows[..n * d]);
        }
    }

    /// Adds `rowsᵀ · rows` of `n` rows, which `read` is asked for in any order.
    pub fn add_gram_of(&mut self, n: usize, read: impl ReadRow) {
        let d = self.dimension;
        #[cfg(target_arch = "x86_64")]
        if self.add_packed(n, &read) {
            return;
        }
        let mut rows = vec![0.0; n.min(READ_ROWS) * d];
        for start in (0..n).step_by(READ_ROWS) {
            let rows = &mut rows[..READ_ROWS.min(n - start) * d];
            let parts = rows.par_chunks_exact_mut(d.max(1)).enumerate();
            parts.for_each(|(row, out)| read.read_row(start + row, out));
            self.add_gram(rows);
        }
    }

    /// Adds rows by the kernels for this processor; `false` where there are none for it.
    #[cfg(target_arch = "x86_64")]
    fn add_packed(&mut self, n: usize, read: &impl ReadRow) -> bool {
        use pulp::x86::{V3, V4};
        if self.dimension == 0 {
            return true;
        }
        if let Some(simd) = V4::try_new() {
            self.add_spans(n, |sum, rows| sum.add_span(simd, rows, read));
        } else if let Some(simd) = V3::try_new() {
            self.add_spans(n, |sum, rows| sum.add_span(simd, rows, read));
        } else {
            return false;
        }
        true
    }

    /// Adds the rows in spans, each to a sum of its own, so that threads need not wait for each other after every few rows. The spans
    /// depend on the numbers of rows and columns alone, so the bytes are the same for any number of threads.
    #[cfg(target_arch = "x86_64")]
    fn add_spans(&mut self, n: usize, add: impl Fn(&mut Self, Range<usize>) + Sync) {
        let spans = (n / (SPAN_ROWS * self.dimension)).clamp(1, MAX_SPANS);
        if spans == 1 {
            // From outside the pool each of the many steps would wake it and wait for it.
            rayon::scope(|_| add(self, 0..n));
            return;
        }
        let sum = |i: usize| {
            let mut sum = Self::zeros(self.dimension);
            add(&mut sum, i * n / spans..(i + 1) * n / spans);
            sum
        };
        let sums: Vec<Self> = (0..spans).into_par_iter().map(sum).collect();
        sums.iter().for_each(|sum| self.add(sum));
    }

    #[cfg(target_arch = "x86_64")]
    fn add_span<S: Simd<L, R>, const L: usize, const R: usize>(
        &mut self,
        simd: S,
        rows: Range<usize>,
        read: &impl ReadRow,
    ) {
        let d = self.dimension;
        let mut packed = Packed::new(simd);
        for start in rows.clone().step_by(DEPTH) {
            packed.fill(start..rows.end.min(start + DEPTH), d, read);
            let panels = extents(d).zip(&mut self.panels);
            let parts = panels.flat_map(|((top, height), panel)| {
                let parts = panel.chunks_mut(TASK_TILES * R * height).enumerate();
                parts.map(move |(part, columns)| (part * TASK_TILES * R, top, height, columns))
            });
            let parts: Vec<_> = parts.collect();
            let parts = parts.into_par_iter();
            parts.for_each(|(first, top, height, columns)| {
                packed.add_to(columns, first, top, height);
            });
        }
    }

    /// As [`add_gram`](Self::add_gram) for whole rows, by faer's products.
    fn add_gram_portable(&mut self, rows: &[f64]) {
        let d = self.dimension;
        let k = rows.len() / d;
        // A row-major [K, D] block is a column-major [D, K] matrix.
        let x = MatRef::from_column_major_slice(rows, d, k);
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
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        let start = i / PANEL * PANEL;
        self.panels[i / PANEL][j * panel_rows(self.dimension, start) + i - start]
    }

    /// The diagonal, `[D]`.
    #[must_use]
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.dimension).map(|i| self.get(i, i)).collect()
    }

    /// Sum of squares of all entries of the full symmetric matrix, each divided by `unit` first.
    #[must_use]
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
    #[must_use]
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
    #[must_use]
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
    #[must_use]
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
}

/// What a file says about panels; it may say anything.
#[derive(Deserialize)]
struct Stored {
    dimension: usize,
    panels: Vec<Vec<f64>>,
}

impl TryFrom<Stored> for SymmetricPanels {
    type Error = Error;

    fn try_from(Stored { dimension, panels }: Stored) -> Result<Self> {
        let wanted = extents(dimension).map(|(start, rows)| rows * (start + rows));
        if panels.iter().map(Vec::len).eq(wanted) {
            return Ok(Self { dimension, panels });
        }
        Err(Error::matrix(
            format!("the panels are not those of {dimension} rows"),
            "store the matrix again",
        ))
    }
}

pub(crate) fn panel_rows(dimension: usize, start: usize) -> usize {
    PANEL.min(dimension - start)
}

/// (first row, number of rows) of each panel.
pub(crate) fn extents(dimension: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..dimension)
        .step_by(PANEL)
        .map(move |start| (start, panel_rows(dimension, start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(d: usize) -> Array2<f64> {
        Array2::from_shape_fn((2 * d, d), |(i, j)| ((i * 37 + j * 11) % 29) as f64 - 14.0)
    }

    fn spd(d: usize) -> (SymmetricPanels, Array2<f64>) {
        let x = rows(d);
        let mut panels = SymmetricPanels::zeros(d);
        panels.add_gram(x.as_slice().unwrap());
        (panels, x.t().dot(&x))
    }

    /// The Gram matrix by each kernel that this processor has.
    fn of_every_kernel(x: ArrayView2<f64>) -> Vec<SymmetricPanels> {
        let (mut found, zero) = (Vec::new(), SymmetricPanels::zeros(x.ncols()));
        #[cfg(target_arch = "x86_64")]
        {
            let read = x.view();
            if let Some(simd) = pulp::x86::V3::try_new() {
                found.push(zero.clone());
                found[0].add_span(simd, 0..x.nrows(), &read);
            }
            if let Some(simd) = pulp::x86::V4::try_new() {
                found.push(zero);
                found[1].add_span(simd, 0..x.nrows(), &read);
            }
        }
        found
    }

    #[test]
    fn panels_hold_the_whole_matrix() {
        for d in [1, 5, 127, 128, 129, 300] {
            let (panels, dense) = spd(d);
            assert_eq!(panels.to_dense(1.0), dense);
            let mut portable = SymmetricPanels::zeros(d);
            portable.add_gram_portable(rows(d).as_slice().unwrap());
            assert_eq!(portable, panels);
            for by_kernel in of_every_kernel(rows(d).view()) {
                assert_eq!(by_kernel, panels);
            }
            let norm: f64 = dense.iter().map(|v| v * v).sum();
            assert!((panels.relative_squared_norm(2.0) * 4.0 / norm - 1.0).abs() < 1e-12);
            let vector: Vec<f64> = (0..d).map(|i| i as f64 - 3.0).collect();
            let expected = dense.dot(&ndarray::Array1::from(vector.clone()));
            assert_eq!(panels.times(&vector), expected.to_vec());
        }
    }

    #[test]
    fn spans_of_rows_add_up_for_any_number_of_threads() {
        // Rows enough for four spans.
        let (n, d) = (365, 9);
        let x = Array2::from_shape_fn((n, d), |(i, j)| ((i * 37 + j * 11) % 29) as f64 - 14.3);
        let of_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut sum = SymmetricPanels::zeros(d);
            pool.build().unwrap().install(|| {
                sum.add_gram_of(n, x.view());
            });
            sum
        };
        let sum = of_threads(1);
        assert!(sum == of_threads(3) && sum == of_threads(8));
        let error = sum.to_dense(1.0) - x.t().dot(&x);
        assert!(error.iter().all(|error| error.abs() < 1e-9 * n as f64));
    }
}
