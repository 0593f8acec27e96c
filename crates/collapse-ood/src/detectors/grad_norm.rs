//! GradNorm: how much the last layer would move.

use collapse_numeric::Softmax;
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::Inputs;

/// ‖∂/∂W KL(u ‖ softmax f)‖₁ = ‖z‖₁ · ‖p − u‖₁, the size of the gradient by the last layer's weights, with u the uniform
/// distribution over the classes and p the softmax.
///
/// The gradient by the logits is p − u and W enters by its product with z, so the matrix of the gradient is
/// (p − u) zᵀ, and no derivative need be taken.
///
/// Source: Huang, Geng and Li, *On the Importance of Gradients for Detecting Distributional Shifts in the Wild* (2021), at
/// temperature 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GradNorm;

impl Detector for GradNorm {
    fn id(&self) -> ScoreId {
        ScoreId::new("grad_norm")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let uniform = 1.0 / logits.ncols() as f64;
        let score = |(feature, logits): (ArrayView1<f64>, ArrayView1<f64>)| {
            let softmax = Softmax::of(logits, 1.0);
            let distance = |logit: &f64| (softmax.probability(*logit) - uniform).abs();
            let size: f64 = feature.iter().map(|value| value.abs()).sum();
            size * logits.iter().map(distance).sum::<f64>()
        };
        let rows = inputs.head_features();
        let rows = rows.rows().into_iter().zip(logits.rows());
        Ok(rows.map(score).collect())
    }
}
