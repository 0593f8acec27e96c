//! Norm of the raw features.

use collapse_numeric::norm;
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// ‖z‖ of the raw features, meant for networks whose head saw normalised ones.
///
/// Source: arXiv 2306.04072: normalise in training, score by the raw norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeatureNorm;

impl Detector for FeatureNorm {
    fn id(&self) -> ScoreId {
        ScoreId::FEATURE_NORM
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(inputs.features().rows().into_iter().map(norm).collect())
    }
}
