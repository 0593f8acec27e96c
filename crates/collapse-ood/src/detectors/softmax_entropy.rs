use collapse_numeric::log_sum_exp;
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// Σ_c p_c ln p_c, the negative softmax entropy in nats, in −ln C..=0.
///
/// Source: DDU, `metrics/uncertainty_confidence.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SoftmaxEntropy;

impl Detector for SoftmaxEntropy {
    fn name(&self) -> &'static str {
        "softmax_entropy"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let negative_entropy = |row: ArrayView1<f64>| {
            let normaliser = log_sum_exp(row);
            let term = |logit: &f64| {
                let log_p = logit - normaliser;
                // p ln p tends to zero with p.
                if log_p == f64::NEG_INFINITY {
                    0.0
                } else {
                    log_p.exp() * log_p
                }
            };
            row.iter().map(term).sum()
        };
        Ok(inputs
            .logits_for(self.name())?
            .rows()
            .into_iter()
            .map(negative_entropy)
            .collect())
    }
}
