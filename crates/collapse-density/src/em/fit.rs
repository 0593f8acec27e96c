//! Fitting a mixture without labels, by linfa-clustering.
//!
//! linfa-clustering 0.8.1 computes its responsibilities without a log-sum-exp, so it underflows on tight
//! clusters in many dimensions. Here it only sees standardised principal components, where its numbers are near 1.
//!
//! linfa works on one thread: its start runs k-means ten times, and each EM step copies all samples twice a cluster. So it sees at
//! most [`FITTED_ROWS`] samples; the principal components are those of all.

use collapse_numeric::{Cholesky, PANEL_ROWS, RowSource, covariance, mean, symmetric_eigen};
use linfa::traits::Fit;
use linfa::{DatasetBase, ParamGuard};
use linfa_clustering::GaussianMixtureModel;
use ndarray::{Array2, Axis, s};

use super::{EmMixture, EmParams, Whitening};
use crate::error::{Error, Result};

/// Rows that EM sees: of more, as many at equal steps.
const FITTED_ROWS: usize = 50_000;

impl EmParams {
    fn check(&self) -> Result<()> {
        let positive = |name, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::Parameter {
                name,
                value: value.to_string(),
                expected: "a finite number > 0",
            })
        };
        positive("n_clusters", self.n_clusters as f64)?;
        positive("n_components", self.n_components as f64)?;
        positive("max_iterations", self.max_iterations as f64)?;
        positive("reg_covariance", self.reg_covariance)?;
        positive("tolerance", self.tolerance)
    }

    /// Fits the mixture to features `[N, D]` without labels. The random start is linfa's, of a fixed seed: equal
    /// features give equal models. Of more than 50,000 rows, EM sees 50,000 at equal steps, which bounds its time; the
    /// principal components are those of all rows.
    ///
    /// # Errors
    /// Parameters out of range, fewer rows than clusters, NaN or infinite features, features without any spread, and
    /// [`Error::Em`] where EM does not converge or loses a cluster.
    pub fn fit<R: RowSource>(&self, features: R) -> Result<EmMixture> {
        self.check()?;
        let (n, d) = features.dim();
        if n == 0 {
            return Err(Error::Empty);
        }
        if d == 0 {
            return Err(Error::NoFeatures);
        }
        let failed = |reason: String| Error::Em {
            n_clusters: self.n_clusters,
            reason,
        };
        if n < self.n_clusters.max(2) {
            return Err(failed(format!("only {n} samples")));
        }
        features.check_finite("features")?;
        let whitening = Whitening::fit(&features, self.n_components)?;
        let fitted = n.min(FITTED_ROWS);
        let mut white = Array2::zeros((fitted, whitening.rank() + 1));
        let rows: Vec<usize> = (0..fitted).map(|i| i * n / fitted).collect();
        for (rows, out) in rows
            .chunks(PANEL_ROWS)
            .zip(white.axis_chunks_iter_mut(Axis(0), PANEL_ROWS))
        {
            whitening.apply_to(features.select(rows), out)?;
        }
        let inside = white.slice(s![.., ..whitening.rank()]).to_owned();
        drop(white);
        let mixture = GaussianMixtureModel::params(self.n_clusters)
            .tolerance(self.tolerance)
            .reg_covariance(self.reg_covariance)
            .max_n_iterations(self.max_iterations)
            .check()
            .map_err(|error| failed(error.to_string()))?
            .fit(&DatasetBase::from(inside))
            .map_err(|error| failed(error.to_string()))?;
        let mut factors = Vec::with_capacity(self.n_clusters);
        for covariance in mixture.covariances().outer_iter() {
            factors.push(Cholesky::new(covariance).map_err(|error| failed(error.to_string()))?);
        }
        let (means, weights) = (mixture.means().clone(), mixture.weights().clone());
        if means.iter().chain(&weights).any(|v| !v.is_finite()) {
            return Err(failed("it ended in numbers that are not finite".into()));
        }
        Ok(EmMixture {
            whitening,
            log_weights: weights.mapv(f64::ln),
            means,
            factors,
        })
    }
}

impl Whitening {
    fn fit<R: RowSource>(features: R, n_components: usize) -> Result<Self> {
        let (n, d) = features.dim();
        let center = mean(&features)?;
        let eigen = symmetric_eigen(covariance(&features, center.view(), n as f64)?.view())?;
        let floor = eigen.values[0] * f64::EPSILON * d as f64;
        let spanned = eigen.values.iter().take_while(|v| **v > floor).count();
        let rank = spanned.min(n_components);
        if rank == 0 || eigen.values[0] <= f64::MIN_POSITIVE {
            return Err(Error::Range {
                class: 0,
                what: "spread of all features together",
            });
        }
        let dropped = eigen.values.slice(s![rank..]);
        // Directions without any spread get the rounding floor, not zero.
        let rest = dropped.mean().map(|v| v.max(floor).sqrt());
        Ok(Self {
            mean: center,
            directions: eigen.vectors.slice(s![..rank, ..]).to_owned(),
            deviations: eigen.values.slice(s![..rank]).mapv(f64::sqrt),
            rest,
        })
    }
}
