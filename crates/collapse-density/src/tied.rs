//! Class means with one shared covariance: the Mahalanobis family.

use collapse_numeric::{Cholesky, RowSource, overflow_to_infinity, sum_by_lanes};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fit::{Scaled, factorise};
use crate::params::{Covariance, Jitter, Params};
use crate::rows::{center, check_shape};
use crate::statistics::{PartialStatistics, stack_means};

/// Rows of one parallel task.
const BLOCK_ROWS: usize = 128;

/// Divisor of a pooled covariance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// The number of samples `N`; what the Mahalanobis scores of Lee et al. (2018) use.
    Samples,
    /// `N − C`, unbiased.
    Unbiased,
}

/// Class means and one covariance, `Σ + jitter · I = L Lᵀ`.
///
/// With one class it is a single Gaussian about the global mean (the background of the relative Mahalanobis
/// score).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct TiedGaussian {
    class_means: Array2<f64>,
    center: Array1<f64>,
    /// `L⁻¹ (μ_c − center)`, `[C, D]`.
    whitened_means: Array2<f64>,
    cholesky: Cholesky,
    jitter: f64,
}

/// What a file says about a Gaussian; the rest follows.
#[derive(Deserialize)]
struct Stored {
    class_means: Array2<f64>,
    cholesky: Cholesky,
    jitter: f64,
}

impl TryFrom<Stored> for TiedGaussian {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        check_shape(&stored.class_means.view(), stored.cholesky.dimension())?;
        Self::from_factor(stored.class_means, stored.cholesky, stored.jitter)
    }
}

impl TiedGaussian {
    /// Fits means `[C, D]` and the pooled within-class covariance, with the jitter ladder.
    ///
    /// # Errors
    /// As [`fit_with_jitter`](Self::fit_with_jitter).
    pub fn fit<R: RowSource>(
        features: R,
        labels: &[usize],
        n_classes: usize,
        divisor: Divisor,
    ) -> Result<Self> {
        Self::fit_with_jitter(features, labels, n_classes, divisor, Jitter::Ladder)
    }

    /// As [`fit`](Self::fit) with a chosen jitter.
    ///
    /// # Errors
    /// The errors of [`PartialStatistics::update`], classes without samples, and
    /// [`Error::Singular`].
    pub fn fit_with_jitter<R: RowSource>(
        features: R,
        labels: &[usize],
        n_classes: usize,
        divisor: Divisor,
        jitter: Jitter,
    ) -> Result<Self> {
        let params = Params::new(n_classes)
            .covariance(Covariance::Tied)
            .jitter(jitter)
            .check()?;
        let mut statistics = PartialStatistics::new(params, features.ncols())?;
        statistics.update(features, labels)?;
        Self::from_statistics(statistics, divisor, jitter)
    }

    /// Fits one mean and covariance to all rows.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_global<R: RowSource>(features: R, divisor: Divisor) -> Result<Self> {
        Self::fit(&features, &vec![0; features.nrows()], 1, divisor)
    }

    /// From given means `[C, D]` and covariance `[D, D]`, without jitter.
    ///
    /// # Errors
    /// When the shapes disagree or the covariance is not positive definite.
    pub fn new(class_means: Array2<f64>, covariance: ArrayView2<f64>) -> Result<Self> {
        check_shape(&class_means.view(), covariance.nrows())?;
        class_means.view().check_finite("features")?;
        Self::from_factor(class_means, Cholesky::new(covariance)?, 0.0)
    }

    pub(crate) fn from_statistics(
        statistics: PartialStatistics,
        divisor: Divisor,
        jitter: Jitter,
    ) -> Result<Self> {
        let n_features = statistics.n_features();
        let (classes, pooled) = statistics.into_parts();
        let total: usize = classes.iter().map(|class| class.count).sum();
        if total == 0 {
            return Err(Error::Empty);
        }
        if let Some(class) = classes.iter().position(|class| class.count == 0) {
            return Err(Error::TooFewSamples {
                class,
                samples: 0,
                needed: 1,
            });
        }
        let divisor = match divisor {
            Divisor::Samples => total,
            Divisor::Unbiased => total - classes.len(),
        };
        if total < 2 || divisor == 0 {
            return Err(Error::TooFewSamples {
                class: 0,
                samples: classes[0].count,
                needed: 2,
            });
        }
        let scatter = pooled.ok_or(Error::Empty)?;
        let spread = classes
            .iter()
            .fold(0.0f64, |max, class| max.max(class.spread));
        let scaled = Scaled {
            scatter,
            scale: 1.0 / divisor as f64,
            samples: total,
            spread,
        };
        let (mut factors, jitter) = factorise(vec![scaled], jitter)?;
        let cholesky = factors.pop().ok_or(Error::Empty)?;
        Self::from_factor(stack_means(&classes, n_features), cholesky, jitter)
    }

    fn from_factor(class_means: Array2<f64>, cholesky: Cholesky, jitter: f64) -> Result<Self> {
        let center = class_means.mean_axis(Axis(0)).ok_or(Error::Empty)?;
        let mut whitened_means = &class_means - &center;
        let mut squared = vec![0.0; class_means.nrows()];
        if let Some(rows) = whitened_means.as_slice_mut() {
            cholesky.squared_norms(rows, &mut squared);
        }
        Ok(Self {
            class_means,
            center,
            whitened_means,
            cholesky,
            jitter,
        })
    }

    /// Class means, `[C, D]`.
    #[must_use]
    pub fn class_means(&self) -> ArrayView2<'_, f64> {
        self.class_means.view()
    }

    /// Factor of the shared covariance.
    #[must_use]
    pub fn cholesky(&self) -> &Cholesky {
        &self.cholesky
    }

    /// Jitter on the diagonal.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// Squared Mahalanobis distances to every class, `[N, C]`, ≥ 0.
    ///
    /// The rows are whitened once, `N D²/2 + N C D` products in all.
    ///
    /// # Errors
    /// Another number of columns; NaN or infinite features.
    pub fn squared_distances<R: RowSource>(&self, features: R) -> Result<Array2<f64>> {
        let (n, d) = (features.nrows(), features.ncols());
        let n_classes = self.class_means.nrows();
        check_shape(&features, self.center.len())?;
        features.check_finite("features")?;
        let origin = self.center.to_vec();
        let means: Vec<f64> = self.whitened_means.iter().copied().collect();
        let mut out = Array2::zeros((n, n_classes));
        out.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS)
            .into_par_iter()
            .enumerate()
            .for_each(|(block, mut out)| {
                let count = out.nrows();
                let mut white = vec![0.0; count * d];
                for (i, white) in white.chunks_exact_mut(d).enumerate() {
                    center(&features, block * BLOCK_ROWS + i, &origin, white);
                }
                self.cholesky
                    .squared_norms(&mut white, &mut vec![0.0; count]);
                for (row, mut out) in white.chunks_exact(d).zip(out.rows_mut()) {
                    for (mean, out) in means.chunks_exact(d).zip(&mut out) {
                        let squared = sum_by_lanes(row, mean, |a, b| (a - b) * (a - b));
                        *out = overflow_to_infinity(squared);
                    }
                }
            });
        Ok(out)
    }
}
