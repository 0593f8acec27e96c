//! The one evaluation of a network.

use collapse_density::{Agreement, agreement};
use collapse_ood::{
    AnyDetector, Comparison, Fitted, Intervals, Note, RiskCoverage, Scored, Skipped, compare,
    risk_coverage,
};
use collapse_results::{Histogram, ScoreId};

use crate::calibrated::Calibrated;
use crate::error::Result;
use crate::geometry::Geometry;
use crate::histogram::histograms;
use crate::splits::CompleteSplits;

/// The density that the claims are about.
pub(crate) const MAIN_SCORE: ScoreId = ScoreId::GMM_FEATURES;
/// Scores whose histograms are kept.
const DRAWN_SCORES: [ScoreId; 2] = [MAIN_SCORE, ScoreId::MAX_SOFTMAX];

/// Every figure of one network.
#[derive(Debug)]
pub struct Evaluation {
    /// The detectors behind the scores, with those that could not be fitted.
    pub fitted: Fitted,
    /// The scores of the test split.
    pub test: Scored,
    /// The scores of every out-of-distribution set.
    pub ood: Vec<Scored>,
    /// Every score against every out-of-distribution set, score by score.
    pub comparisons: Vec<Comparison>,
    /// Accuracy and calibration; `None` for a test split without logits or labels.
    pub calibrated: Option<Calibrated>,
    /// Accuracy on the validation split, 0..=1.
    pub validation_accuracy: Option<f64>,
    /// How well every score orders the network's own mistakes; empty without [`calibrated`](Self::calibrated).
    pub risk_coverage: Vec<RiskCoverage>,
    /// Neural collapse of the training split; `None` without training labels.
    pub geometry: Option<Geometry>,
    /// The same of the form of the features that the head does not see, z or ẑ.
    pub geometry_counterpart: Option<Geometry>,
    /// How far the labelled and the unlabelled density say the same of the test split, where both were fitted.
    pub agreement: Option<Agreement>,
    /// Histograms of the scores that are drawn.
    pub histograms: Vec<Histogram>,
}

impl CompleteSplits {
    /// Everything that can be said of the network, with detectors fitted on its training split, here or before.
    ///
    /// Detectors that cannot score a set are listed with the reason, never left out silently.
    ///
    /// # Errors
    /// [`Error::In`](crate::Error::In) for a set that no detector can score; a validation split without logits or labels;
    /// intervals outside their range.
    pub fn evaluate(&self, fitted: Fitted, intervals: &Intervals) -> Result<Evaluation> {
        let (test, ood) = self.scores(&fitted)?;
        let calibrated = self.calibrated()?;
        Ok(Evaluation {
            comparisons: compare(&test, &ood, intervals)?,
            validation_accuracy: self.validation_accuracy()?,
            risk_coverage: match &calibrated {
                Some(found) => risk_coverage(&test, &found.correct)?,
                None => Vec::new(),
            },
            calibrated,
            geometry: self.geometry(),
            geometry_counterpart: self.geometry_counterpart(),
            agreement: self.agreement(&fitted),
            histograms: DRAWN_SCORES
                .iter()
                .flat_map(|score| histograms(score, &test, &ood))
                .collect(),
            fitted,
            test,
            ood,
        })
    }

    /// The scores of the test split and of every out-of-distribution set.
    pub(crate) fn scores(&self, fitted: &Fitted) -> Result<(Scored, Vec<Scored>)> {
        let test = fitted.score_set(&self.test().name, &self.test().inputs()?);
        let ood = self.ood().iter();
        let ood = ood.map(|set| Ok(fitted.score_set(&set.name, &set.inputs()?)));
        Ok((test, ood.collect::<Result<_>>()?))
    }

    fn agreement(&self, fitted: &Fitted) -> Option<Agreement> {
        let (Some(AnyDetector::Gmm(labelled)), Some(AnyDetector::Em(em))) =
            (fitted.get(&MAIN_SCORE), fitted.get(&ScoreId::GMM_EM))
        else {
            return None;
        };
        let features = self.test().features.head_features();
        agreement(labelled.mixture(), em.mixture(), features).ok()
    }
}

impl Evaluation {
    /// Test split and out-of-distribution sets.
    pub fn scored(&self) -> impl Iterator<Item = &Scored> {
        [&self.test].into_iter().chain(&self.ood)
    }

    /// Detectors that could not be fitted, then those that could not score a set.
    #[must_use]
    pub fn skipped(&self) -> Vec<Skipped> {
        let unscored = self.unscored();
        self.fitted
            .skipped
            .iter()
            .cloned()
            .chain(unscored)
            .collect()
    }

    /// What a reader of the scores should know, set by set.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.scored().flat_map(|set| &set.notes)
    }

    /// Fitted detectors that could not score a set, with the set and the reason.
    #[must_use]
    pub fn unscored(&self) -> Vec<Skipped> {
        self.scored().flat_map(|set| set.failed.clone()).collect()
    }
}
