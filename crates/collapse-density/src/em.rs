//! The unlabelled density: linfa's EM mixture in whitened principal components.
//!
//! linfa-clustering 0.8.1 computes its responsibilities without a log-sum-exp, so it underflows on tight
//! clusters in many dimensions. Here it only sees standardised principal components, where its numbers are near 1; the
//! score is then computed from its weights, means and covariances with this crate's own kernels.
//!
//! linfa works on one thread: its start runs k-means ten times, and each EM step copies all samples twice a cluster. So it sees at
//! most [`FITTED_ROWS`] samples; the principal components are those of all.

use collapse_numeric::{
    Cholesky, PANEL_ROWS, RowSource, covariance, log_sum_exp, matmul, matmul_nt, mean,
    symmetric_eigen,
};
use linfa::traits::Fit;
use linfa::{DatasetBase, ParamGuard};
use linfa_clustering::GaussianMixtureModel;
use ndarray::{Array1, Array2, ArrayViewMut2, Axis, s};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rows::check_shape;

/// Rows that EM sees: of more, as many at equal steps.
const FITTED_ROWS: usize = 50_000;

/// Parameters of an [`EmMixture`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmParams {
    /// Number of Gaussians, ≥ 1.
    pub n_clusters: usize,
    /// Principal components kept, ≥ 1; fewer when the features span fewer.
    pub n_components: usize,
    /// Variance added to the covariances of the whitened components, > 0.
    pub reg_covariance: f64,
    /// Change of the mean log-likelihood at which EM stops, > 0.
    pub tolerance: f64,
    /// Iterations allowed, ≥ 1.
    pub max_iterations: u64,
}

impl EmParams {
    /// Our choice: 32 components at most, `reg_covariance` 1e-6, `tolerance` 1e-3, 200 iterations.
    #[must_use]
    pub fn new(n_clusters: usize) -> Self {
        Self {
            n_clusters,
            n_components: 32,
            reg_covariance: 1e-6,
            tolerance: 1e-3,
            max_iterations: 200,
        }
    }

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

/// Rotation to principal components of unit variance, and the mean variance of the rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Whitening {
    mean: Array1<f64>,
    /// Orthonormal rows, `[K, D]`.
    directions: Array2<f64>,
    deviations: Array1<f64>,
    /// Standard deviation per direction of the dropped components; `None` when nothing is dropped.
    rest: Option<f64>,
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

    fn rank(&self) -> usize {
        self.deviations.len()
    }

    /// Whitened components and, as the last column, the squared norm of the standardised rest: `[N, K + 1]`.
    fn apply<R: RowSource>(&self, features: R) -> Result<Array2<f64>> {
        let mut out = Array2::zeros((features.nrows(), self.rank() + 1));
        // Panel by panel, so that no copy of all features is made.
        let blocks = out.axis_chunks_iter_mut(Axis(0), PANEL_ROWS);
        for (rows, out) in features.panels().into_iter().zip(blocks) {
            self.apply_to(features.panel(rows), out)?;
        }
        Ok(out)
    }

    /// The same of one block of rows, into `out` `[N, K + 1]`.
    fn apply_to(&self, block: Array2<f64>, mut out: ArrayViewMut2<f64>) -> Result<()> {
        let rank = self.rank();
        let centered = block - &self.mean;
        let along = matmul_nt(centered.view(), self.directions.view())?;
        out.slice_mut(s![.., ..rank])
            .assign(&(&along / &self.deviations));
        if let Some(rest) = self.rest {
            let residual = centered - matmul(along.view(), self.directions.view())?;
            let norms = residual.map_axis(Axis(1), |row| {
                row.iter().map(|v| (v / rest) * (v / rest)).sum::<f64>()
            });
            out.column_mut(rank).assign(&norms);
        }
        Ok(())
    }

    /// Log-density constant: `−½ (D ln 2π)` and the Jacobian.
    fn constant(&self) -> f64 {
        let d = self.mean.len();
        let rest = self.rest.map_or(0.0, |s| (d - self.rank()) as f64 * s.ln());
        let inside: f64 = self.deviations.iter().map(|s| s.ln()).sum();
        -0.5 * d as f64 * (2.0 * std::f64::consts::PI).ln() - inside - rest
    }
}

/// A fitted unlabelled mixture.
///
/// The kept components follow the mixture; the dropped ones one isotropic Gaussian, as in probabilistic PCA, so that rows far
/// from the training subspace score low.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmMixture {
    whitening: Whitening,
    log_weights: Array1<f64>,
    means: Array2<f64>,
    factors: Vec<Cholesky>,
}

impl EmMixture {
    /// Parameters with our defaults.
    #[must_use]
    pub fn params(n_clusters: usize) -> EmParams {
        EmParams::new(n_clusters)
    }

    /// Number of Gaussians.
    #[must_use]
    pub fn n_clusters(&self) -> usize {
        self.factors.len()
    }

    /// Mixture weights, `[K]`, summing to 1.
    #[must_use]
    pub fn weights(&self) -> Array1<f64> {
        self.log_weights.mapv(f64::exp)
    }

    /// Log-density of every row under every Gaussian, without the weights, `[N, K]`, in nats.
    ///
    /// # Errors
    /// Another number of columns; NaN or infinite features.
    pub fn log_density<R: RowSource>(&self, features: R) -> Result<Array2<f64>> {
        check_shape(&features, self.whitening.mean.len())?;
        features.check_finite("features")?;
        let white = self.whitening.apply(features)?;
        let rank = self.whitening.rank();
        let constant = self.whitening.constant();
        let mut out = Array2::zeros((white.nrows(), self.n_clusters()));
        for (k, (factor, mean)) in self.factors.iter().zip(self.means.rows()).enumerate() {
            let mut centered = &white.slice(s![.., ..rank]) - &mean;
            let mut squared = vec![0.0; white.nrows()];
            if let Some(rows) = centered.as_slice_mut() {
                factor.squared_norms(rows, &mut squared);
            }
            let log_det = factor.log_determinant();
            for (i, squared) in squared.into_iter().enumerate() {
                out[[i, k]] = constant - 0.5 * (log_det + squared + white[[i, rank]]);
            }
        }
        Ok(out)
    }

    /// Log-likelihood of every row, `[N]`, larger = more in-distribution.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn score<R: RowSource>(&self, features: R) -> Result<Array1<f64>> {
        let densities = self.log_density(features)? + &self.log_weights;
        Ok(densities.rows().into_iter().map(log_sum_exp).collect())
    }
}
