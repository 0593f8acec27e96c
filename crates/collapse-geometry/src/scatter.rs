//! Class means and within-class scatter in one pass over chunks, mergeable.
//!
//! Every chunk is centred about its own class means and enters by the exact update of Chan, Golub and LeVeque (1983), so the result is as
//! good as two passes when the spread is tiny beside the means.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{GeometryError, Result};
use crate::measure::check_finite;
use crate::products::dot;
use crate::variability::{Variability, between_factor};

/// Rows gathered before they are multiplied.
const BLOCK_ROWS: usize = 256;

/// Streaming statistics of labelled features: counts, class means, within-class scatter.
///
/// Holds one `[D, D]` matrix; [`measure`](crate::measure) needs none when all features are at hand.
/// Squares of the features must stay in the range of f64; others are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScatter {
    counts: Vec<usize>,
    means: Array2<f64>,
    /// `Σ ‖h − μ_c‖²` per class.
    squares: Vec<f64>,
    /// Lower triangle of `Σ (h − μ_y)(h − μ_y)ᵀ`, column-major.
    scatter: Vec<f64>,
}

impl ClassScatter {
    /// Empty statistics.
    ///
    /// # Errors
    /// Fewer than two classes, or no features.
    pub fn new(n_classes: usize, n_features: usize) -> Result<Self> {
        if n_classes < 2 {
            return Err(GeometryError::TooFewClasses { n_classes });
        }
        if n_features == 0 {
            return Err(GeometryError::Empty {
                rows: 0,
                columns: 0,
            });
        }
        Ok(Self {
            counts: vec![0; n_classes],
            means: Array2::zeros((n_classes, n_features)),
            squares: vec![0.0; n_classes],
            scatter: vec![0.0; n_features * n_features],
        })
    }

    /// Rows seen per class.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Class means so far, `[C, D]`; zero for a class not seen yet.
    pub fn class_means(&self) -> ArrayView2<'_, f64> {
        self.means.view()
    }

    /// `Σ_W = (1/N) Σ (h − μ_y)(h − μ_y)ᵀ`, `[D, D]`.
    ///
    /// # Errors
    /// No rows yet.
    pub fn within_class_covariance(&self) -> Result<Array2<f64>> {
        let (d, total) = (self.means.ncols(), self.total()?);
        Ok(Array2::from_shape_fn((d, d), |(i, j)| {
            self.scatter[i.min(j) * d + i.max(j)] / total
        }))
    }

    /// Mean squared distance to the class mean per class, `[C]`.
    pub fn within_class_variances(&self) -> Array1<f64> {
        let counted = self.squares.iter().zip(&self.counts);
        counted.map(|(s, n)| s / (*n).max(1) as f64).collect()
    }

    /// Takes in a chunk: features `[N, D]` and one label per row.
    ///
    /// # Errors
    /// Wrong shapes, labels outside `0..n_classes`, NaN or infinite features, features whose squares leave the range of f64; the
    /// statistics are unchanged then.
    pub fn update(&mut self, features: ArrayView2<f64>, labels: &[usize]) -> Result<()> {
        let d = self.means.ncols();
        let members = group(&features, labels, self.counts.len(), d)?;
        let largest = check_finite(features, "feature")?;
        if largest > 0.0 && !(1e-140..=1e150).contains(&largest) {
            return Err(GeometryError::Range { largest });
        }
        let means: Vec<Vec<f64>> = members
            .par_iter()
            .map(|rows| class_mean(&features, rows, 1.0))
            .collect();
        let mut block = Vec::with_capacity(BLOCK_ROWS * d);
        for (class, (rows, mean)) in members.iter().zip(&means).enumerate() {
            if rows.is_empty() {
                continue;
            }
            self.shift(class, rows.len(), mean, &mut block);
            for &row in rows {
                let start = block.len();
                block.extend(features.row(row).iter().zip(mean).map(|(v, m)| v - m));
                self.squares[class] += dot(&block[start..], &block[start..]);
                if block.len() >= BLOCK_ROWS * d {
                    self.add_gram(&block);
                    block.clear();
                }
            }
        }
        self.add_gram(&block);
        Ok(())
    }

    /// Adds the statistics of other rows.
    ///
    /// # Errors
    /// Another number of classes or features.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.means.dim() != other.means.dim() {
            return Err(GeometryError::Shape {
                what: "the other scatter",
                found: [other.means.nrows(), other.means.ncols()],
                expected: [self.means.nrows(), self.means.ncols()],
            });
        }
        self.scatter
            .iter_mut()
            .zip(&other.scatter)
            .for_each(|(a, b)| *a += b);
        self.squares
            .iter_mut()
            .zip(&other.squares)
            .for_each(|(a, b)| *a += b);
        let mut block = Vec::new();
        for (class, mean) in other.means.rows().into_iter().enumerate() {
            self.shift(class, other.counts[class], &mean.to_vec(), &mut block);
        }
        self.add_gram(&block);
        Ok(())
    }

    /// NC1 and its relatives from the statistics alone.
    ///
    /// # Errors
    /// Classes without samples; class means that coincide.
    pub fn variability(&self) -> Result<Variability> {
        if let Some(class) = self.counts.iter().position(|n| *n == 0) {
            return Err(GeometryError::EmptyClass { class });
        }
        let total = self.total()?;
        let factor = between_factor(self.means.view())?;
        let within = self.within_class_covariance()?;
        let projected = crate::products::products(factor.view(), within.view());
        let nc1 = (&projected * &factor).sum();
        let trace = self.squares.iter().sum::<f64>() / total;
        let variances = self.within_class_variances();
        Variability::new(nc1, trace, self.means.view(), variances.view())
    }

    fn total(&self) -> Result<f64> {
        match self.counts.iter().sum::<usize>() {
            0 => Err(GeometryError::Empty {
                rows: 0,
                columns: self.means.ncols(),
            }),
            total => Ok(total as f64),
        }
    }

    /// Moves mean and count of a class; the row `√(n_a n_b / (n_a + n_b)) (μ_b − μ_a)` joins the block.
    fn shift(&mut self, class: usize, count: usize, mean: &[f64], block: &mut Vec<f64>) {
        if count == 0 {
            return;
        }
        let (a, b) = (self.counts[class] as f64, count as f64);
        let mut own = self.means.slice_mut(s![class, ..]);
        self.counts[class] += count;
        if a == 0.0 {
            own.iter_mut()
                .zip(mean)
                .for_each(|(own, mean)| *own = *mean);
            return;
        }
        let weight = (a / (a + b) * b).sqrt();
        let start = block.len();
        for (own, mean) in own.iter_mut().zip(mean) {
            let delta = mean - *own;
            block.push(weight * delta);
            *own += b / (a + b) * delta;
        }
        self.squares[class] += dot(&block[start..], &block[start..]);
    }

    fn add_gram(&mut self, rows: &[f64]) {
        let d = self.means.ncols();
        let k = rows.len() / d;
        if k == 0 {
            return;
        }
        let x = MatRef::from_column_major_slice(rows, d, k);
        // Panels of columns: each task owns a stretch of the column-major matrix.
        const WIDTH: usize = 128;
        self.scatter
            .par_chunks_mut(WIDTH * d)
            .enumerate()
            .for_each(|(p, panel)| {
                let start = p * WIDTH;
                let width = panel.len() / d;
                let panel = MatMut::from_column_major_slice_mut(panel, d, width);
                let (_, lower) = panel.split_at_row_mut(start);
                let (diagonal, below) = lower.split_at_row_mut(width);
                let mine = x.subrows(start, width);
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
                let rest = x.subrows(start + width, d - start - width);
                faer::linalg::matmul::matmul(
                    below,
                    Accum::Add,
                    rest,
                    mine.transpose(),
                    1.0,
                    Par::Seq,
                );
            });
    }
}

/// Row indices of each class.
pub(crate) fn group(
    features: &ArrayView2<f64>,
    labels: &[usize],
    n_classes: usize,
    n_features: usize,
) -> Result<Vec<Vec<usize>>> {
    if features.ncols() != n_features {
        return Err(GeometryError::Shape {
            what: "the feature array",
            found: [features.nrows(), features.ncols()],
            expected: [features.nrows(), n_features],
        });
    }
    if labels.len() != features.nrows() {
        return Err(GeometryError::LabelCount {
            features: features.nrows(),
            labels: labels.len(),
        });
    }
    let mut members = vec![Vec::new(); n_classes];
    for (row, &label) in labels.iter().enumerate() {
        let class = members
            .get_mut(label)
            .ok_or(GeometryError::LabelOutOfRange {
                row,
                label,
                n_classes,
            })?;
        class.push(row);
    }
    Ok(members)
}

/// Mean of `scale · h` over some rows, by two passes.
pub(crate) fn class_mean(features: &ArrayView2<f64>, rows: &[usize], scale: f64) -> Vec<f64> {
    let n = rows.len().max(1) as f64;
    let mut mean = vec![0.0; features.ncols()];
    for &row in rows {
        let values = features.index_axis(Axis(0), row);
        mean.iter_mut()
            .zip(values)
            .for_each(|(m, v)| *m += v * scale);
    }
    mean.iter_mut().for_each(|m| *m /= n);
    let mut rest = vec![0.0; mean.len()];
    for &row in rows {
        let values = features.index_axis(Axis(0), row);
        for ((r, v), m) in rest.iter_mut().zip(values).zip(&mean) {
            *r += v * scale - m;
        }
    }
    mean.iter_mut().zip(&rest).for_each(|(m, r)| *m += r / n);
    mean
}
