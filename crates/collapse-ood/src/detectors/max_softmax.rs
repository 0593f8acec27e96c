use collapse_numeric::{argmax, log_sum_exp};
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// max_c p_c, in 1/C..=1.
///
/// Source: Hendrycks and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution
/// Examples* (2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MaxSoftmax;

impl Detector for MaxSoftmax {
    fn name(&self) -> &'static str {
        "max_softmax"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let top = |row: ArrayView1<f64>| {
            let best = argmax(row);
            (row[best] - log_sum_exp(row)).exp()
        };
        Ok(inputs
            .logits_for(self.name())?
            .rows()
            .into_iter()
            .map(top)
            .collect())
    }
}
