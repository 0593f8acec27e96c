//! Class means and within-class scatter in one pass over chunks, mergeable.
//!
//! Every chunk is centred about its own class means and enters by the exact update of Chan, Golub and LeVeque (1983), so the result is as
//! good as two passes when the spread is tiny beside the means.

use collapse_numeric::{
    RowSource, SymmetricPanels, dot, largest_magnitude, matmul_nt, rows_by_class,
};
use ndarray::{Array1, Array2, ArrayView2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::means::class_mean;
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
    /// `Σ (h − μ_y)(h − μ_y)ᵀ`.
    scatter: SymmetricPanels,
}

impl ClassScatter {
    /// Empty statistics.
    ///
    /// # Errors
    /// Fewer than two classes, or no features.
    pub fn new(n_classes: usize, n_features: usize) -> Result<Self> {
        if n_classes < 2 {
            return Err(Error::TooFewClasses { n_classes });
        }
        if n_features == 0 {
            return Err(Error::Empty {
                rows: 0,
                columns: 0,
            });
        }
        Ok(Self {
            counts: vec![0; n_classes],
            means: Array2::zeros((n_classes, n_features)),
            squares: vec![0.0; n_classes],
            scatter: SymmetricPanels::zeros(n_features),
        })
    }

    /// Rows seen per class.
    #[must_use]
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Class means so far, `[C, D]`; zero for a class not seen yet.
    #[must_use]
    pub fn class_means(&self) -> ArrayView2<'_, f64> {
        self.means.view()
    }

    /// `Σ_W = (1/N) Σ (h − μ_y)(h − μ_y)ᵀ`, `[D, D]`.
    ///
    /// # Errors
    /// No rows yet.
    pub fn within_class_covariance(&self) -> Result<Array2<f64>> {
        Ok(self.scatter.to_dense(1.0 / self.total()?))
    }

    /// Mean squared distance to the class mean per class, `[C]`.
    #[must_use]
    pub fn within_class_variances(&self) -> Array1<f64> {
        let counted = self.squares.iter().zip(&self.counts);
        counted.map(|(s, n)| s / (*n).max(1) as f64).collect()
    }

    /// Takes in a chunk: features `[N, D]`, a view of f32 or f64 or any other [`RowSource`], and one label per row.
    ///
    /// # Errors
    /// Wrong shapes, labels outside `0..n_classes`, NaN or infinite features, features whose squares leave the range of f64; the
    /// statistics are unchanged then.
    pub fn update<R: RowSource>(&mut self, features: R, labels: &[usize]) -> Result<()> {
        let d = self.means.ncols();
        check_columns(&features, d)?;
        let members = rows_by_class(labels, features.nrows(), self.counts.len())?;
        features.check_finite("features")?;
        let largest = largest_magnitude(&features);
        if largest > 0.0 && !(1e-140..=1e150).contains(&largest) {
            return Err(Error::Range { largest });
        }
        let means: Vec<Vec<f64>> = members
            .par_iter()
            .map(|rows| class_mean(&features, rows, 1.0))
            .collect();
        let mut block = Vec::with_capacity(BLOCK_ROWS * d);
        let mut values = vec![0.0; d];
        for (class, (rows, mean)) in members.iter().zip(&means).enumerate() {
            if rows.is_empty() {
                continue;
            }
            self.shift(class, rows.len(), mean, &mut block);
            for &row in rows {
                let start = block.len();
                features.read(row, &mut values);
                block.extend(values.iter().zip(mean).map(|(v, m)| v - m));
                self.squares[class] += dot(&block[start..], &block[start..]);
                if block.len() >= BLOCK_ROWS * d {
                    self.scatter.add_gram(&block);
                    block.clear();
                }
            }
        }
        self.scatter.add_gram(&block);
        Ok(())
    }

    /// Adds the statistics of other rows.
    ///
    /// # Errors
    /// Another number of classes or features.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.means.dim() != other.means.dim() {
            return Err(Error::Shape {
                what: "the other scatter",
                found: [other.means.nrows(), other.means.ncols()],
                expected: [self.means.nrows(), self.means.ncols()],
            });
        }
        self.scatter.add(&other.scatter);
        self.squares
            .iter_mut()
            .zip(&other.squares)
            .for_each(|(a, b)| *a += b);
        let mut block = Vec::new();
        for (class, mean) in other.means.rows().into_iter().enumerate() {
            self.shift(class, other.counts[class], &mean.to_vec(), &mut block);
        }
        self.scatter.add_gram(&block);
        Ok(())
    }

    /// NC1 and its relatives from the statistics alone.
    ///
    /// # Errors
    /// Classes without samples; class means that coincide.
    pub fn variability(&self) -> Result<Variability> {
        if let Some(class) = self.counts.iter().position(|n| *n == 0) {
            return Err(Error::EmptyClass { class });
        }
        let total = self.total()?;
        let factor = between_factor(self.means.view())?;
        let within = self.within_class_covariance()?;
        let projected = matmul_nt(factor.view(), within.view())?;
        let nc1 = (&projected * &factor).sum();
        let trace = self.squares.iter().sum::<f64>() / total;
        let variances = self.within_class_variances();
        Variability::new(nc1, trace, self.means.view(), variances.view())
    }

    fn total(&self) -> Result<f64> {
        match self.counts.iter().sum::<usize>() {
            0 => Err(Error::Empty {
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
}

fn check_columns<R: RowSource>(features: &R, n_features: usize) -> Result<()> {
    if features.ncols() == n_features {
        return Ok(());
    }
    Err(Error::Shape {
        what: "the feature array",
        found: [features.nrows(), features.ncols()],
        expected: [features.nrows(), n_features],
    })
}
