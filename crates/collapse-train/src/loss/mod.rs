//! Losses with their gradients at the head.

mod collapse;
mod cross_entropy;

use std::collections::BTreeMap;

use collapse_models::HeadGradient;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use collapse::{CollapseWeights, collapse_loss};
pub use cross_entropy::cross_entropy;

/// What a run is trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum LossConfig {
    /// Mean cross-entropy of the logits.
    CrossEntropy {
        /// Share of the target spread evenly over all classes; 0 = none.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// Neural collapse itself, without cross-entropy; see [`collapse_loss`].
    NeuralCollapse {
        /// Weight of each component.
        #[serde(default)]
        weights: CollapseWeights,
    },
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::CrossEntropy {
            label_smoothing: 0.0,
        }
    }
}

/// What the head saw and said for one batch.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    /// Input of the head, [N, D].
    pub head_input: &'a [f32],
    /// Logits, [N, C].
    pub logits: &'a [f32],
    /// Head weights, [C, D].
    pub weight: &'a [f32],
    /// Labels, `[N]`, each below C.
    pub labels: &'a [usize],
    /// Number of classes C.
    pub n_classes: usize,
}

/// A batch's loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossValue {
    /// The loss, mean over the batch.
    pub value: f64,
    /// Named parts, where the loss has any.
    pub components: BTreeMap<&'static str, f64>,
    /// Its gradient at the head.
    pub gradient: HeadGradient<f32>,
}

impl LossConfig {
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::CrossEntropy { label_smoothing } if !(0.0..1.0).contains(label_smoothing) => {
                Err(Error::Config {
                    field: "loss.label_smoothing",
                    value: label_smoothing.to_string(),
                    remedy: "choose 0 up to, but not including, 1",
                })
            }
            Self::NeuralCollapse { weights } => weights.check(),
            Self::CrossEntropy { .. } => Ok(()),
        }
    }

    /// Loss and gradient of one batch.
    #[must_use]
    pub fn evaluate(&self, view: &HeadView<'_>) -> LossValue {
        match self {
            Self::CrossEntropy { label_smoothing } => {
                let (value, gradient) =
                    cross_entropy(view.logits, view.labels, view.n_classes, *label_smoothing);
                LossValue {
                    value,
                    components: BTreeMap::new(),
                    gradient: HeadGradient::of_logits(gradient),
                }
            }
            Self::NeuralCollapse { weights } => collapse_loss(view, weights),
        }
    }
}
