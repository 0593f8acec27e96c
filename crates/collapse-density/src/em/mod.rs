//! The unlabelled density: a mixture fitted by EM in whitened principal components, from the start that linfa gives it.

#[cfg(feature = "em")]
mod fit;
#[cfg(feature = "em")]
mod steps;

use collapse_numeric::{Cholesky, PANEL_ROWS, RowSource, log_sum_exp, matmul, matmul_nt};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rows::check_shape;

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
    fn rank(&self) -> usize {
        self.deviations.len()
    }

    /// Whitened components of a block of rows, into `out` `[N, K]`; returns the centred rows and the components as they are.
    fn components(
        &self,
        block: Array2<f64>,
        mut out: ArrayViewMut2<f64>,
    ) -> Result<(Array2<f64>, Array2<f64>)> {
        let centered = block - &self.mean;
        let along = matmul_nt(centered.view(), self.directions.view())?;
        out.assign(&(&along / &self.deviations));
        Ok((centered, along))
    }

    /// Whitened components `[N, K]` of a block of rows, and the squared norms of the standardised rest `[N]`.
    fn apply(&self, block: Array2<f64>) -> Result<(Array2<f64>, Array1<f64>)> {
        let mut inside = Array2::zeros((block.nrows(), self.rank()));
        let (centered, along) = self.components(block, inside.view_mut())?;
        let outside = match self.rest {
            None => Array1::zeros(inside.nrows()),
            Some(rest) => {
                let residual = centered - matmul(along.view(), self.directions.view())?;
                let squared =
                    |row: ArrayView1<f64>| row.iter().map(|v| (v / rest) * (v / rest)).sum();
                residual.map_axis(Axis(1), squared)
            }
        };
        Ok((inside, outside))
    }

    /// Log-density constant: `−½ (D ln 2π)` and the Jacobian.
    fn constant(&self) -> f64 {
        let d = self.mean.len();
        let rest = self.rest.map_or(0.0, |s| (d - self.rank()) as f64 * s.ln());
        let inside: f64 = self.deviations.iter().map(|s| s.ln()).sum();
        -0.5 * d as f64 * (2.0 * std::f64::consts::PI).ln() - inside - rest
    }
}

/// `ln det Σ + ‖L⁻¹ (x − μ)‖²` of rows x `[N, K]` for every Gaussian, into `out` `[N, C]`.
fn deviances(
    rows: ArrayView2<f64>,
    means: &Array2<f64>,
    factors: &[Cholesky],
    mut out: ArrayViewMut2<f64>,
) {
    let mut squared = vec![0.0; rows.nrows()];
    let gaussians = factors.iter().zip(means.rows());
    for ((factor, mean), out) in gaussians.zip(out.columns_mut()) {
        let mut apart = rows.as_standard_layout().into_owned();
        apart -= &mean;
        if let Some(apart) = apart.as_slice_mut() {
            factor.squared_norms(apart, &mut squared);
        }
        let log_det = factor.log_determinant();
        for (out, squared) in out.into_iter().zip(&squared) {
            *out = log_det + squared;
        }
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
        let constant = self.whitening.constant();
        let mut out = Array2::zeros((features.nrows(), self.n_clusters()));
        // Panel by panel, so that no copy of all features is made.
        let blocks: Vec<_> = out.axis_chunks_iter_mut(Axis(0), PANEL_ROWS).collect();
        let panels = features.panels().into_par_iter().zip(blocks);
        panels.try_for_each(|(rows, mut out)| {
            let (inside, outside) = self.whitening.apply(features.panel(rows))?;
            deviances(inside.view(), &self.means, &self.factors, out.view_mut());
            for (mut row, outside) in out.rows_mut().into_iter().zip(&outside) {
                row.mapv_inplace(|deviance| constant - 0.5 * (deviance + outside));
            }
            Ok::<(), Error>(())
        })?;
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
