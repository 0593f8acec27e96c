//! One run: its evaluations, its history and what made it.

use serde::{Deserialize, Serialize};

use crate::evaluation::{Evaluation, Geometry};
use crate::ids::SetId;

/// One epoch of training as logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1; 0 = the untrained network.
    pub epoch: usize,
    /// Learning rate used in the epoch.
    pub learning_rate: f64,
    /// Mean training loss; `None` at epoch 0.
    pub train_loss: Option<f64>,
    /// Training accuracy in the epoch (augmented images, training mode).
    pub train_accuracy: Option<f64>,
    /// Accuracy on the validation split, at the log-spaced epochs.
    pub validation_accuracy: Option<f64>,
    /// NC measures on the training split, at the log-spaced epochs.
    pub geometry: Option<Geometry>,
    /// The same of the other form of the features, see [`Evaluation::geometry_counterpart`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry_counterpart: Option<Geometry>,
    /// AUROC of the feature density per OoD set, at the log-spaced epochs: (set, auroc).
    pub auroc: Vec<(SetId, f64)>,
}

/// Wall-clock seconds of one run; not part of its identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimes {
    /// Training, without evaluation hooks.
    pub train_seconds: f64,
    /// Final evaluation.
    pub evaluate_seconds: f64,
}

/// The code and the machine that computed something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Maker {
    /// Version of the code: crate version and, where known, the commit.
    pub code_version: String,
    /// Kernel path and convolution algorithm, e.g. `avx512-bf16 winograd`, or the device.
    pub kernel_path: String,
    /// The processor's own name.
    pub processor: String,
}

/// Epochs that one maker trained without a break in between that mattered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First epoch trained, from 1.
    pub first_epoch: usize,
    /// Last epoch trained, at least `first_epoch`.
    pub last_epoch: usize,
    /// What trained them.
    #[serde(flatten)]
    pub maker: Maker,
}

/// One finished run: the content of its `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Identifier of its group.
    pub group: String,
    /// Seed.
    pub seed: u64,
    /// Number of parameters.
    pub parameters: usize,
    /// Evaluations in order of epoch; the last is the one tables use unless they say otherwise.
    pub evaluations: Vec<Evaluation>,
    /// One record per epoch.
    pub history: Vec<EpochRecord>,
    /// What computed it, in order of epochs: one span, or several where it was resumed elsewhere.
    /// Empty in files written before it was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_by: Vec<Span>,
    /// Wall-clock figures.
    pub times: RunTimes,
}

impl Run {
    /// Records that `maker` trained the epochs after the last recorded one up to `last_epoch`.
    /// The same maker's spans join, so a run resumed where it stopped records the same as one
    /// that was never stopped.
    pub fn record_maker(&mut self, last_epoch: usize, maker: Maker) {
        let trained = self.made_by.last().map_or(0, |span| span.last_epoch);
        match self.made_by.last_mut() {
            Some(span) if span.maker == maker => span.last_epoch = last_epoch.max(trained),
            _ if last_epoch > trained => self.made_by.push(Span {
                first_epoch: trained + 1,
                last_epoch,
                maker,
            }),
            _ => {}
        }
    }

    /// The evaluation after `epoch`.
    #[must_use]
    pub fn evaluation_at(&self, epoch: usize) -> Option<&Evaluation> {
        self.evaluations
            .iter()
            .find(|evaluation| evaluation.epoch == epoch)
    }

    /// The evaluation of the last epoch.
    #[must_use]
    pub fn last_evaluation(&self) -> Option<&Evaluation> {
        self.evaluations.last()
    }
}
