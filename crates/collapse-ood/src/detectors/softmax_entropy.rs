//! Entropy of the softmax.

use collapse_numeric::Softmax;
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// Σ_c p_c ln p_c, the negative softmax entropy in nats, in −ln C..=0.
///
/// Summed as −Σ_c p_c · (−ln p_c), terms of one sign and full relative precision, so that samples with p near 1 do not tie before
/// their entropy leaves the range of f64, at margins near 700.
///
/// Source: DDU, `metrics/uncertainty_confidence.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SoftmaxEntropy;

impl Detector for SoftmaxEntropy {
    fn id(&self) -> ScoreId {
        ScoreId::SOFTMAX_ENTROPY
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let negative_entropy = |row: ArrayView1<f64>| {
            let softmax = Softmax::of(row, 1.0);
            let term = |logit: &f64| match softmax.probability(*logit) {
                // p ln p tends to zero with p.
                0.0 => 0.0,
                p => p * softmax.loss(*logit),
            };
            -row.iter().map(term).sum::<f64>()
        };
        let logits = inputs.logits_for()?;
        Ok(logits.rows().into_iter().map(negative_entropy).collect())
    }
}
