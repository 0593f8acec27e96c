//! Everything measured on one network at one epoch.

use serde::{Deserialize, Serialize};

use crate::defined::Defined;
use crate::ids::{ScoreId, SetId};

/// Neural-collapse measures of one feature set (NC1 to NC4, `docs/method.md` section 6); all tend to 0 under collapse.
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
    pub set: SetId,
    /// Score name, e.g. `gmm_features`.
    pub score: ScoreId,
    /// The figures.
    #[serde(flatten)]
    pub detection: Detection,
}

/// A symmetric logarithmic axis, linear around `centre` and logarithmic far from it on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SymmetricLog {
    /// The value at position 0.
    pub centre: f64,
    /// How far from the centre the axis stays about linear, above 0.
    pub unit: f64,
}

impl SymmetricLog {
    /// Where `value` lies on the axis.
    #[must_use]
    pub fn position(&self, value: f64) -> f64 {
        ((value - self.centre) / self.unit).asinh()
    }

    /// The value at `position`.
    #[must_use]
    pub fn value(&self, position: f64) -> f64 {
        self.centre + self.unit * position.sinh()
    }
}

/// Counts of one score over bins that are equally wide on its axis, for the score histograms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Score name.
    pub score: ScoreId,
    /// `test` for the in-distribution test set, or the OoD set's name.
    pub set: SetId,
    /// Lower edge of the first bin.
    pub low: f64,
    /// Upper edge of the last bin.
    pub high: f64,
    /// The axis on which the bins are equally wide; `None` = the values themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<SymmetricLog>,
    /// Samples in each bin; samples outside are counted in the first or last.
    pub counts: Vec<u64>,
}

/// A score that could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Score name.
    pub score: ScoreId,
    /// Why, and what would help.
    pub reason: String,
}

/// Temperature scaling of the test logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TemperatureScaling {
    /// The temperature of least NLL on the validation split, above 0.
    pub temperature: f64,
    /// Expected calibration error of the test logits at that temperature, 15 bins, 0..=1.
    pub ece: f64,
}

/// How well a network's confidence orders its own mistakes; smaller = better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskCoverage {
    /// The score that orders, named beforehand: the largest softmax probability.
    pub score: ScoreId,
    /// Area under the risk–coverage curve, 0..=1.
    pub aurc: f64,
    /// Area under the generalised risk–coverage curve, 0..=0.5.
    pub augrc: f64,
}

/// Everything measured on one network at one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "EvaluationFields", into = "EvaluationFields")]
pub struct Evaluation {
    /// Epoch after which it was measured.
    pub epoch: usize,
    /// Test accuracy.
    pub accuracy: f64,
    /// Expected calibration error of the test logits, 15 bins.
    pub ece: f64,
    /// Temperature scaling on the validation split; undefined without one, and for a network no
    /// better than chance.
    pub scaling: Defined<TemperatureScaling>,
    /// Mean negative log-likelihood of the test labels.
    pub nll: f64,
    /// Selective prediction on the test set; `None` in files written before it was measured.
    pub risk_coverage: Option<RiskCoverage>,
    /// Jitter of the Gaussians on features; `None` when they could not be fitted (the reason
    /// stands in `skipped`).
    pub jitter_features: Option<f64>,
    /// Jitter of the Gaussians on logits; `None` when they could not be fitted.
    pub jitter_logits: Option<f64>,
    /// NC measures on the training split; undefined without a head and where class means coincide.
    pub geometry: Defined<Geometry>,
    /// The same of the other form of the features: of raw z where the head sees normalised ones,
    /// of normalised ẑ where it sees raw ones. `None` in files written before it was measured.
    pub geometry_counterpart: Option<Geometry>,
    /// Every score against every OoD set.
    pub ood: Vec<OodResult>,
    /// Score histograms.
    pub histograms: Vec<Histogram>,
    /// Scores that could not be computed, with the reason.
    pub skipped: Vec<Skipped>,
}

impl Evaluation {
    /// The detection of `set` by `score`, if it was computed.
    #[must_use]
    pub fn detection(&self, score: &ScoreId, set: &SetId) -> Option<&Detection> {
        self.ood
            .iter()
            .find(|result| result.score == *score && result.set == *set)
            .map(|result| &result.detection)
    }
}

/// Several networks of one group that decide together: the mean of their softmax.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// Identifier of the group.
    pub group: String,
    /// Epoch after which its members stand.
    pub epoch: usize,
    /// Seeds of its members; no seed is in two ensembles of a group.
    pub seeds: Vec<u64>,
    /// Test accuracy of the mean softmax.
    pub accuracy: f64,
    /// Its scores against every OoD set.
    pub ood: Vec<OodResult>,
}

/// An [`Evaluation`] as it stands in JSON.
#[derive(Serialize, Deserialize)]
struct EvaluationFields {
    epoch: usize,
    accuracy: f64,
    ece: f64,
    ece_scaled: Option<f64>,
    temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature_undefined: Option<String>,
    nll: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    risk_coverage: Option<RiskCoverage>,
    jitter_features: Option<f64>,
    jitter_logits: Option<f64>,
    geometry: Option<Geometry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    geometry_undefined: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    geometry_counterpart: Option<Geometry>,
    ood: Vec<OodResult>,
    histograms: Vec<Histogram>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<Skipped>,
}

impl From<EvaluationFields> for Evaluation {
    fn from(fields: EvaluationFields) -> Self {
        let scaling = fields
            .temperature
            .zip(fields.ece_scaled)
            .map(|(temperature, ece)| TemperatureScaling { temperature, ece });
        Self {
            epoch: fields.epoch,
            accuracy: fields.accuracy,
            ece: fields.ece,
            scaling: Defined::from_fields(scaling, fields.temperature_undefined),
            nll: fields.nll,
            risk_coverage: fields.risk_coverage,
            jitter_features: fields.jitter_features,
            jitter_logits: fields.jitter_logits,
            geometry: Defined::from_fields(fields.geometry, fields.geometry_undefined),
            geometry_counterpart: fields.geometry_counterpart,
            ood: fields.ood,
            histograms: fields.histograms,
            skipped: fields.skipped,
        }
    }
}

impl From<Evaluation> for EvaluationFields {
    fn from(evaluation: Evaluation) -> Self {
        let (scaling, temperature_undefined) = evaluation.scaling.into_fields();
        let (geometry, geometry_undefined) = evaluation.geometry.into_fields();
        Self {
            epoch: evaluation.epoch,
            accuracy: evaluation.accuracy,
            ece: evaluation.ece,
            ece_scaled: scaling.map(|scaling| scaling.ece),
            temperature: scaling.map(|scaling| scaling.temperature),
            temperature_undefined,
            nll: evaluation.nll,
            risk_coverage: evaluation.risk_coverage,
            jitter_features: evaluation.jitter_features,
            jitter_logits: evaluation.jitter_logits,
            geometry,
            geometry_undefined,
            geometry_counterpart: evaluation.geometry_counterpart,
            ood: evaluation.ood,
            histograms: evaluation.histograms,
            skipped: evaluation.skipped,
        }
    }
}
