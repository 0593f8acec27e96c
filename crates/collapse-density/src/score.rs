//! Evaluation of a labelled mixture: log-densities and the log-sum-exp score.

use linfa::Float;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::error::Result;
use crate::labelled::{Form, LabelledGaussianMixture};
use crate::prune::Pruned;
use crate::statistics::{check_finite, check_shape, to_f64};

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
    pub fn log_density<F: Float>(&self, features: ArrayView2<F>) -> Result<Array2<f64>> {
        check_shape(&features, self.n_features())?;
        check_finite(&features)?;
        let mut out = match &self.form {
            Form::Shared(tied) => tied.squared_distances(features)?,
            Form::PerClass(_) => Array2::zeros((features.nrows(), self.n_classes())),
        };
        if let Form::PerClass(factors) = &self.form {
            out.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS)
                .into_par_iter()
                .zip(
                    features
                        .axis_chunks_iter(Axis(0), BLOCK_ROWS)
                        .into_par_iter(),
                )
                .for_each(|(mut out, rows)| {
                    let mut centered = Vec::with_capacity(rows.len());
                    let mut squared = vec![0.0; rows.nrows()];
                    for (class_idx, factor) in factors.iter().enumerate() {
                        let mean = self.class_means.row(class_idx);
                        centered.clear();
                        for row in rows.rows() {
                            centered.extend(row.iter().zip(mean).map(|(v, m)| to_f64(*v) - m));
                        }
                        factor.squared_norms(&mut centered, &mut squared);
                        out.column_mut(class_idx)
                            .assign(&Array1::from_iter(squared.iter().copied()));
                    }
                });
        }
        let constants = self.constants();
        for mut row in out.rows_mut() {
            for (value, constant) in row.iter_mut().zip(&constants) {
                *value = -0.5 * (constant + *value);
            }
        }
        Ok(out)
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
    pub fn score<F: Float>(&self, features: ArrayView2<F>) -> Result<Array1<f64>> {
        self.weighted_score(features, &vec![0.0; self.n_classes()])
    }

    /// As [`score`](Self::score) with the logarithms of class priors added: the log-likelihood of the mixture when they are
    /// [`log_priors`](Self::log_priors).
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density), and when the number of priors is not `C`.
    pub fn score_with_priors<F: Float>(
        &self,
        features: ArrayView2<F>,
        log_priors: &[f64],
    ) -> Result<Array1<f64>> {
        if log_priors.len() != self.n_classes() {
            return Err(crate::DensityError::Parameter {
                name: "log_priors",
                value: format!("of length {}", log_priors.len()),
                expected: "one logarithm per class",
            });
        }
        self.weighted_score(features, log_priors)
    }

    fn weighted_score<F: Float>(
        &self,
        features: ArrayView2<F>,
        log_weights: &[f64],
    ) -> Result<Array1<f64>> {
        if let Some(pruned) = Pruned::new(self, log_weights) {
            check_shape(&features, self.n_features())?;
            check_finite(&features)?;
            return Ok(pruned.score(features));
        }
        let mut densities = self.log_density(features)?;
        for mut row in densities.rows_mut() {
            row.iter_mut().zip(log_weights).for_each(|(v, w)| *v += w);
        }
        let rows = densities.axis_iter(Axis(0));
        Ok(rows.map(|row| log_sum_exp(row.iter().copied())).collect())
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

/// `ln Σ exp(v)`, shifted by the largest value; −∞ for no values.
pub(crate) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    largest + values.map(|v| (v - largest).exp()).sum::<f64>().ln()
}
