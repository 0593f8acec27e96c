//! Largest softmax probability, by its log-odds.

use collapse_numeric::log_odds;
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// ln (p / (1 − p)) of the largest softmax probability p, ≥ −ln(C − 1); +∞ for a single class.
///
/// The order is that of p, computed as max_c f_c − ln Σ_{c ≠ ŷ} exp f_c: p itself rounds to 1 from margins of 37 on, where
/// collapsed networks live, and would tie. [`probability`](Self::probability) turns a score back into p.
///
/// Source: Hendrycks and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution
/// Examples* (2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MaxSoftmax;

impl MaxSoftmax {
    /// The largest softmax probability, in 1/C..=1, of a score.
    #[must_use]
    pub fn probability(score: f64) -> f64 {
        1.0 / (1.0 + (-score).exp())
    }
}

impl Detector for MaxSoftmax {
    fn id(&self) -> ScoreId {
        ScoreId::MAX_SOFTMAX
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(inputs
            .logits_for()?
            .rows()
            .into_iter()
            .map(log_odds)
            .collect())
    }
}
