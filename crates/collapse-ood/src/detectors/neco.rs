//! Share of the feature in the principal subspace.

use collapse_numeric::{argmax, covariance, matmul_nt, mean, norm, symmetric_eigen};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs, check_columns, ratio};

/// How many principal components span the in-distribution subspace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum NecoComponents {
    /// This many, 1..=D.
    Fixed(usize),
    /// The fewest that explain this share of the variance, in 0..=1.
    Variance(f64),
}

/// ‖P x‖ / ‖x‖ of standardised features x, P the leading principal components of the training set: in collapse,
/// out-of-distribution samples are orthogonal to them.
///
/// Source: Ben Ammar et al., *NECO: NEural Collapse Based Out-of-distribution detection* (2024).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Neco {
    center: Array1<f64>,
    deviation: Array1<f64>,
    components: Array2<f64>,
    times_max_logit: bool,
    standardize_test: bool,
}

impl Neco {
    /// Fits standardisation (divisor N; constant features keep their scale) and components.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::Density`].
    pub fn fit(train: &TrainInputs, components: NecoComponents) -> Result<Self> {
        let features = train.inputs().head_rows();
        let (n, d) = features.dim();
        let center = mean(features)?;
        let mut matrix = covariance(features, center.view(), n as f64)?;
        let deviation: Array1<f64> = matrix
            .diag()
            .iter()
            .map(|variance| {
                if *variance > 0.0 {
                    variance.sqrt()
                } else {
                    1.0
                }
            })
            .collect();
        for ((i, j), value) in matrix.indexed_iter_mut() {
            *value /= deviation[i] * deviation[j];
        }
        let eigen = symmetric_eigen(matrix.view())?;
        let kept = match components {
            NecoComponents::Fixed(kept) => kept,
            NecoComponents::Variance(share) => {
                let total: f64 = eigen.values.iter().map(|value| value.max(0.0)).sum();
                let mut explained = 0.0;
                1 + eigen
                    .values
                    .iter()
                    .take_while(|value| {
                        explained += value.max(0.0);
                        explained < share * total
                    })
                    .count()
                    .min(d - 1)
            }
        };
        if kept == 0 || kept > d {
            let expected = format!("between 1 and {d}");
            return Err(Error::Setting {
                name: "neco components",
                value: kept.to_string(),
                expected,
            });
        }
        let components = eigen.vectors.slice(s![..kept, ..]).to_owned();
        Ok(Self {
            center,
            deviation,
            components,
            times_max_logit: false,
            standardize_test: true,
        })
    }

    /// Multiplies by the largest logit, as the authors do for some networks.
    #[must_use]
    pub fn times_max_logit(mut self) -> Self {
        self.times_max_logit = true;
        self
    }

    /// Projects raw instead of standardised test features, as the public code of Mahalanobis++ does.
    #[must_use]
    pub fn on_raw_features(mut self) -> Self {
        self.standardize_test = false;
        self
    }

    /// Number of components.
    #[must_use]
    pub fn n_components(&self) -> usize {
        self.components.nrows()
    }

    fn ratios(&self, inputs: &Inputs, features: ArrayView2<f64>) -> Result<Array1<f64>> {
        let projected = matmul_nt(features, self.components.view())?;
        let rows = projected
            .rows()
            .into_iter()
            .zip(features.rows())
            .enumerate();
        rows.map(|(row, (inside, whole))| ratio(inputs.row_number(row), norm(inside), norm(whole)))
            .collect()
    }
}

impl Detector for Neco {
    fn id(&self) -> ScoreId {
        ScoreId::new("neco")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = inputs.head_features();
        check_columns(features, self.center.len())?;
        let mut score = match self.standardize_test {
            true => self.ratios(
                inputs,
                ((&features - &self.center) / &self.deviation).view(),
            )?,
            false => self.ratios(inputs, features)?,
        };
        if self.times_max_logit {
            score *= &inputs
                .logits_for()?
                .rows()
                .into_iter()
                .map(|row| row[argmax(row)])
                .collect::<Array1<f64>>();
        }
        Ok(score)
    }
}
