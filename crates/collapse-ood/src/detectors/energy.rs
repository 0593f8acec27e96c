//! Log-sum-exp of the logits.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// ln Σ_c exp f_c, the negative free energy at temperature 1.
///
/// Source: Liu et al., *Energy-based Out-of-distribution Detection* (2020).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Energy;

impl Detector for Energy {
    fn id(&self) -> ScoreId {
        ScoreId::ENERGY
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(inputs
            .logits_for()?
            .rows()
            .into_iter()
            .map(log_sum_exp)
            .collect())
    }
}
