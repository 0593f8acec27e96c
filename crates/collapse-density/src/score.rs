//! Evaluation of a labelled mixture: log-densities and the log-sum-exp score.

use collapse_numeric::{RowSource, log_sum_exp};
use ndarray::{Array1, Array2, Axis};
use rayon::prelude::*;

use crate::error::Result;
use crate::labelled::{Form, LabelledGaussianMixture};
use crate::prune::Pruned;
use crate::rows::{center, check_shape};

/// Rows of one parallel task.
const BLOCK_ROWS: usize = 256;

impl LabelledGaussianMixture {
    /// Log-density of every row under every class, `[N, C]`, in nats:
    /// `−½ [D ln 2π + ln det Σ_c + (z − μ_c)ᵀ Σ_c⁻¹ (z − μ_c)]`.
    ///
    /// −∞ where the squared distance is beyond the range of f64. Source: DDU, `utils/gmm_utils.py`.
    ///
    /// # Errors
    /// Another number of columns; NaN or infinite features.
    pub fn log_density<R: RowSource>(&self, features: R) -> Result<Array2<f64>> {
        check_shape(&features, self.n_features())?;
        let (n, d) = features.dim();
        if let Form::Shared(tied) = &self.form {
            return Ok(self.log_densities_of(tied.squared_distances(features)?));
        }
        features.check_finite("features")?;
        let mut out = Array2::zeros((n, self.n_classes()));
        if let Form::PerClass(factors) = &self.form {
            let means: Vec<Vec<f64>> = self
                .class_means
                .rows()
                .into_iter()
                .map(|m| m.to_vec())
                .collect();
            out.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS)
                .into_par_iter()
                .enumerate()
                .for_each(|(block, mut out)| {
                    let mut centered = vec![0.0; out.nrows() * d];
                    let mut squared = vec![0.0; out.nrows()];
                    for ((factor, mean), mut out) in
                        factors.iter().zip(&means).zip(out.columns_mut())
                    {
                        for (i, centered) in centered.chunks_exact_mut(d).enumerate() {
                            center(&features, block * BLOCK_ROWS + i, mean, centered);
                        }
                        factor.squared_norms(&mut centered, &mut squared);
                        out.iter_mut()
                            .zip(&squared)
                            .for_each(|(out, squared)| *out = *squared);
                    }
                });
        }
        Ok(self.log_densities_of(out))
    }

    /// Log-densities from squared distances, `[N, C]`.
    fn log_densities_of(&self, mut out: Array2<f64>) -> Array2<f64> {
        let constants = self.constants();
        for mut row in out.rows_mut() {
            for (value, constant) in row.iter_mut().zip(&constants) {
                *value = -0.5 * (constant + *value);
            }
        }
        out
    }

    /// Confidence of every row, `[N]`, larger = more in-distribution: `logsumexp_c` of the log-densities, without class priors.
    ///
    /// −∞ where every class is beyond the range of f64. Source: DDU, `metrics/uncertainty_confidence.py`.
    ///
    /// Faster than [`log_density`](Self::log_density): forward substitution only ever adds to a squared distance, so a class is left as
    /// soon as what is known of it puts it 80 nats below the row's best, where it can no longer reach the sum's last bit.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn score<R: RowSource>(&self, features: R) -> Result<Array1<f64>> {
        self.weighted_score(features, &vec![0.0; self.n_classes()])
    }

    /// As [`score`](Self::score), from log-densities rounded to f32 first, as DDU's released code stores them. For parity alone: on collapsed
    /// features such scores tie.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn score_of_f32_densities<R: RowSource>(&self, features: R) -> Result<Array1<f64>> {
        let densities = self.log_density(features)?.mapv(|v| f64::from(v as f32));
        Ok(densities.rows().into_iter().map(log_sum_exp).collect())
    }

    /// As [`score`](Self::score) with the logarithms of class priors added: the log-likelihood of the mixture when they are
    /// [`log_priors`](Self::log_priors).
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density), and when the number of priors is not `C`.
    pub fn score_with_priors<R: RowSource>(
        &self,
        features: R,
        log_priors: &[f64],
    ) -> Result<Array1<f64>> {
        if log_priors.len() != self.n_classes() {
            return Err(crate::error::Error::Parameter {
                name: "log_priors",
                value: format!("of length {}", log_priors.len()),
                expected: "one logarithm per class",
            });
        }
        self.weighted_score(features, log_priors)
    }

    fn weighted_score<R: RowSource>(
        &self,
        features: R,
        log_weights: &[f64],
    ) -> Result<Array1<f64>> {
        if let Some(pruned) = Pruned::new(self, log_weights) {
            check_shape(&features, self.n_features())?;
            features.check_finite("features")?;
            return Ok(pruned.score(&features));
        }
        let mut densities = self.log_density(features)?;
        for mut row in densities.rows_mut() {
            row.iter_mut().zip(log_weights).for_each(|(v, w)| *v += w);
        }
        Ok(densities.rows().into_iter().map(log_sum_exp).collect())
    }

    /// `D ln 2π + ln det Σ_c` per class.
    pub(crate) fn constants(&self) -> Vec<f64> {
        let gauss = self.n_features() as f64 * (2.0 * std::f64::consts::PI).ln();
        self.log_determinants
            .iter()
            .map(|log_det| gauss + log_det)
            .collect()
    }
}
