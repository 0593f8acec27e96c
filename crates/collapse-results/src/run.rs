//! One run: its group, its evaluations and its history.

use serde::{Deserialize, Serialize};

/// An image set as it was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSet {
    /// Name, e.g. `svhn`.
    pub name: String,
    /// Role: `train`, `test` or `ood`.
    pub role: String,
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
}

/// Neural-collapse measures of one feature set (METHOD: NC1 to NC4); all tend to 0 under collapse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Geometry {
    /// tr(Σ_W Σ_B⁺).
    pub nc1: f64,
    /// tr(Σ_W Σ_B⁺) / C.
    pub nc1_over_classes: f64,
    /// Std over mean of the centred class means' norms.
    pub nc2_equinorm_means: f64,
    /// Std over mean of the classifier rows' norms.
    pub nc2_equinorm_classifier: f64,
    /// Mean |cos + 1/(C−1)| over pairs of centred class means.
    pub nc2_equiangular_means: f64,
    /// Mean |cos + 1/(C−1)| over pairs of classifier rows.
    pub nc2_equiangular_classifier: f64,
    /// ‖Wᵀ/‖W‖ − M/‖M‖‖²_F.
    pub nc3: f64,
    /// Share of samples where the nearest class mean and the network disagree.
    pub nc4: f64,
}

/// Detection figures of one score against one OoD set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Average precision with in-distribution as the positive class.
    pub aupr_in: f64,
    /// Average precision with OoD as the positive class.
    pub aupr_out: f64,
    /// Share of OoD samples accepted at the threshold that accepts 95 % of in-distribution samples.
    pub fpr95_id_positive: f64,
    /// Share of in-distribution samples rejected at the threshold that rejects 95 % of OoD samples.
    pub fpr95_ood_positive: f64,
    /// Least mean of both error rates over all thresholds.
    pub detection_error: f64,
}

/// A score's detection of one OoD set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OodResult {
    /// OoD set.
    pub set: String,
    /// Score name, e.g. `gmm_features`.
    pub score: String,
    /// The figures.
    #[serde(flatten)]
    pub detection: Detection,
}

/// Counts of one score over equal-width bins, for the score histograms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Score name.
    pub score: String,
    /// `test` for the in-distribution test set, or the OoD set's name.
    pub set: String,
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// Samples in each bin; samples outside are counted in the first or last.
    pub counts: Vec<u64>,
}

/// A score that could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Score name.
    pub score: String,
    /// Why, and what would help.
    pub reason: String,
}

/// Everything measured on one network at one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Epoch after which it was measured.
    pub epoch: usize,
    /// Test accuracy.
    pub accuracy: f64,
    /// Expected calibration error of the test logits, 15 bins.
    pub ece: f64,
    /// The same after temperature scaling on the validation split; `None` where no temperature is best.
    pub ece_scaled: Option<f64>,
    /// The temperature chosen on the validation split; `None` where none is best.
    pub temperature: Option<f64>,
    /// Why no temperature is best: no validation split, or a network no better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_undefined: Option<String>,
    /// Mean negative log-likelihood of the test labels.
    pub nll: f64,
    /// Jitter of the Gaussians on features; `None` when they could not be fitted.
    pub jitter_features: Option<f64>,
    /// Jitter of the Gaussians on logits; `None` when they could not be fitted.
    pub jitter_logits: Option<f64>,
    /// NC measures on the training split; `None` where they are undefined.
    pub geometry: Option<Geometry>,
    /// Why they are undefined: no head, or class means that coincide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry_undefined: Option<String>,
    /// Every score against every OoD set.
    pub ood: Vec<OodResult>,
    /// Score histograms.
    pub histograms: Vec<Histogram>,
    /// Scores that could not be computed, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
}

impl Evaluation {
    /// The detection of `set` by `score`, if it was computed.
    pub fn detection(&self, score: &str, set: &str) -> Option<&Detection> {
        self.ood
            .iter()
            .find(|result| result.score == score && result.set == set)
            .map(|result| &result.detection)
    }
}

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
    /// AUROC of the feature density per OoD set, at the log-spaced epochs: (set, auroc).
    pub auroc: Vec<(String, f64)>,
}

/// Wall-clock seconds of one run; not part of its identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimes {
    /// Training, without evaluation hooks.
    pub train_seconds: f64,
    /// Final evaluation.
    pub evaluate_seconds: f64,
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
    /// Wall-clock figures.
    pub times: RunTimes,
}

impl Run {
    /// The evaluation after `epoch`.
    pub fn evaluation_at(&self, epoch: usize) -> Option<&Evaluation> {
        self.evaluations
            .iter()
            .find(|evaluation| evaluation.epoch == epoch)
    }

    /// The evaluation of the last epoch.
    pub fn last_evaluation(&self) -> Option<&Evaluation> {
        self.evaluations.last()
    }
}
