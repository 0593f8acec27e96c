use collapse_numeric::argmax;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// max_c f_c.
///
/// Source: Hendrycks et al., *Scaling Out-of-Distribution Detection for Real-World Settings* (2022).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MaxLogit;

impl Detector for MaxLogit {
    fn name(&self) -> &'static str {
        "max_logit"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(inputs
            .logits_for(self.name())?
            .rows()
            .into_iter()
            .map(|row| row[argmax(row)])
            .collect())
    }
}
