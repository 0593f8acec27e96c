//! What was compared: image sets, losses, schedules and groups of runs.

use serde::{Deserialize, Serialize};

use crate::ids::{Role, SetId};

/// An image set as it was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSet {
    /// Name, e.g. `svhn`.
    pub name: SetId,
    /// What it was used for.
    pub role: Role,
    /// Number of images used.
    pub images: usize,
    /// What it is and where it came from, one line.
    pub description: String,
    /// SHA-256 of the decoded pixels.
    pub sha256: String,
}

/// The loss a group was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy of the logits.
    CrossEntropy,
    /// The loss that rewards neural collapse itself (our form).
    NeuralCollapse,
}

/// Whether a group trains for the short or the long schedule of its scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleLength {
    /// The fraction that suffices with L2 normalisation (60 or 100 epochs in the paper).
    Short,
    /// The full length (350 epochs in the paper).
    Long,
}

/// A set of runs that differ only in the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Identifier, also the folder name, e.g. `r18-l2`.
    pub id: String,
    /// Network, e.g. `resnet18`.
    pub net: String,
    /// Channels of the first stage (64 in the paper).
    pub width: usize,
    /// Whether the head sees unit-length features.
    pub l2: bool,
    /// Training loss.
    pub loss: Loss,
    /// Epochs trained.
    pub epochs: usize,
    /// Short or long schedule.
    pub schedule: ScheduleLength,
    /// Coefficient of spectral normalisation; `None` = off.
    pub spectral_norm: Option<f64>,
    /// LeakyReLU and average-pool shortcuts (`mod`).
    pub modified: bool,
    /// Whether the group belongs to the ablation table only.
    pub ablation: bool,
    /// Precision of training, `f32` or `bf16`, where groups differ in it; else the provenance's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Seeds planned.
    pub seeds: Vec<u64>,
    /// At epochs on the way at most so many images of each set were measured, as many of each class; `None` = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure_images: Option<usize>,
}
