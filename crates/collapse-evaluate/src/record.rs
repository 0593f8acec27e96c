//! The evaluation as the schema of results has it.

use collapse_ood::{AnyDetector, Comparison};
use collapse_results::{
    Defined, Detection, OodResult, RiskCoverage, ScoreId, SetId, Skipped, TemperatureScaling,
};

use crate::error::{Error, Result};
use crate::evaluation::Evaluation;
use crate::geometry::Geometry;

impl Evaluation {
    /// The record of a run's evaluation after `epoch`.
    ///
    /// # Errors
    /// [`Error::NoLogits`] for a test split that has no accuracy: a run's splits have logits and labels.
    pub fn record(&self, epoch: usize) -> Result<collapse_results::Evaluation> {
        let Some(calibrated) = &self.calibrated else {
            return Err(Error::NoLogits {
                origin: self.test.set.clone(),
                purpose: "tell its accuracy",
            });
        };
        let scaling = match (calibrated.temperature, calibrated.scaled) {
            (Some(temperature), Some(scaled)) => Defined::Value(TemperatureScaling {
                temperature,
                ece: scaled.ece,
            }),
            _ => {
                let reason = calibrated.temperature_undefined.as_deref();
                Defined::Undefined(reason.unwrap_or("there is no validation split").to_owned())
            }
        };
        let mut skipped: Vec<Skipped> = self
            .skipped()
            .into_iter()
            .map(|skipped| Skipped {
                score: skipped.name,
                reason: skipped.reason,
            })
            .collect();
        skipped.dedup();
        Ok(collapse_results::Evaluation {
            epoch,
            accuracy: calibrated.plain.accuracy,
            ece: calibrated.plain.ece,
            scaling,
            nll: calibrated.plain.nll,
            risk_coverage: self.named_risk_coverage(),
            jitter_features: self.jitter(&ScoreId::GMM_FEATURES),
            jitter_logits: self.jitter(&ScoreId::GMM_LOGITS),
            geometry: geometry(self.geometry.as_ref()),
            geometry_counterpart: geometry(self.geometry_counterpart.as_ref()).into_fields().0,
            histograms: self.histograms.clone(),
            ood: self.by_set().map(result).collect(),
            skipped,
        })
    }

    /// Of the softmax probability, named beforehand: the best of all scores would be chosen on the test set.
    fn named_risk_coverage(&self) -> Option<RiskCoverage> {
        let named = |found: &&collapse_ood::RiskCoverage| found.score == ScoreId::MAX_SOFTMAX;
        let found = self.risk_coverage.iter().find(named)?;
        Some(RiskCoverage {
            score: found.score.clone(),
            aurc: found.aurc,
            augrc: found.augrc,
        })
    }

    /// The comparisons set by set.
    fn by_set(&self) -> impl Iterator<Item = &Comparison> {
        let of = |set| move |found: &&Comparison| found.set == set;
        self.ood
            .iter()
            .flat_map(move |scored| self.comparisons.iter().filter(of(scored.set.as_str())))
    }

    fn jitter(&self, score: &ScoreId) -> Option<f64> {
        match self.fitted.get(score) {
            Some(AnyDetector::Gmm(gmm)) => Some(gmm.mixture().jitter()),
            _ => None,
        }
    }
}

fn result(found: &Comparison) -> OodResult {
    OodResult {
        set: SetId::from(found.set.as_str()),
        score: found.score.clone(),
        detection: recorded(&found.detection),
    }
}

pub(crate) fn recorded(figures: &collapse_ood::metrics::Detection) -> Detection {
    Detection {
        auroc: figures.auroc,
        aupr_in: figures.aupr_in,
        aupr_out: figures.aupr_out,
        fpr95_id_positive: figures.fpr95_id_positive,
        fpr95_ood_positive: figures.fpr95_ood_positive,
        detection_error: figures.detection_error,
    }
}

/// NC1 to NC4, or why they are undefined.
pub(crate) fn geometry(found: Option<&Geometry>) -> Defined<collapse_results::Geometry> {
    let reason = match found {
        Some(Geometry::Whole(found)) => {
            return Defined::Value(collapse_results::Geometry {
                nc1: found.variability.nc1,
                nc1_over_classes: found.variability.nc1_over_classes,
                nc2_equinorm_means: found.structure.nc2_norms_means,
                nc2_equinorm_classifier: found.structure.nc2_norms_classifier,
                nc2_equiangular_means: found.structure.nc2_angles_means,
                nc2_equiangular_classifier: found.structure.nc2_angles_classifier,
                nc3: found.structure.nc3,
                nc4: found.nc4,
            });
        }
        Some(Geometry::Variability(_)) => {
            "the training features have no head.weight and head.bias; export them to measure neural collapse"
        }
        Some(Geometry::Undefined { undefined }) => undefined,
        None => "there are no training features with labels",
    };
    Defined::Undefined(reason.to_owned())
}
