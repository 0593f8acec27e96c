//! Largest logit.

use collapse_numeric::argmax;
use collapse_results::ScoreId;
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
    fn id(&self) -> ScoreId {
        ScoreId::MAX_LOGIT
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(inputs
            .logits_for()?
            .rows()
            .into_iter()
            .map(|row| row[argmax(row)])
            .collect())
    }
}
