//! The curves of a report's figures.

use collapse_ood::ScoreId;
use collapse_ood::metrics::{
    Points, Positive, Ranking, ReliabilityBin, reliability, risk_coverage_curve,
};
use collapse_results::Histogram;

use crate::error::{Error, Result};
use crate::evaluation::Evaluation;
use crate::histogram::histograms;
use crate::splits::CompleteSplits;

/// Steps that a picture can show.
const RESOLUTION: usize = 200;

/// One score on one out-of-distribution set.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectionCurves {
    /// The score.
    pub score: ScoreId,
    /// The out-of-distribution set.
    pub set: String,
    /// (share of OoD accepted, share of ID accepted).
    pub roc: Points,
    /// (recall, precision) with OoD positive.
    pub precision_recall: Points,
}

impl Evaluation {
    /// The curves of some scores on every set, set by set.
    ///
    /// # Errors
    /// [`Error::Ood`] for a score that is NaN.
    pub fn curves(&self, scores: &[&ScoreId]) -> Result<Vec<DetectionCurves>> {
        let mut curves = Vec::new();
        for set in &self.ood {
            for score in scores {
                let (Some(id), Some(ood)) = (self.test.get(score), set.get(score)) else {
                    continue;
                };
                let ranking = Ranking::new(&id.to_vec(), &ood.to_vec())?;
                curves.push(DetectionCurves {
                    score: (*score).clone(),
                    set: set.set.clone(),
                    roc: ranking.roc_curve(RESOLUTION),
                    precision_recall: ranking.precision_recall_curve(Positive::Ood, RESOLUTION),
                });
            }
        }
        Ok(curves)
    }

    /// (coverage, error rate among the covered test samples) of some scores; none without predictions and labels.
    ///
    /// # Errors
    /// [`Error::Ood`] for a score that is NaN.
    pub fn risk_coverage_curves(&self, scores: &[&ScoreId]) -> Result<Vec<(ScoreId, Points)>> {
        let Some(calibrated) = &self.calibrated else {
            return Ok(Vec::new());
        };
        let curve = |score: &&ScoreId| {
            let values = self.test.get(score)?;
            let found = risk_coverage_curve(&values.to_vec(), &calibrated.correct, RESOLUTION);
            Some(found.map(|points| ((*score).clone(), points)))
        };
        let curves: Result<Vec<_>, _> = scores.iter().filter_map(curve).collect();
        Ok(curves?)
    }

    /// Histograms of some scores on the test set and every out-of-distribution set.
    #[must_use]
    pub fn histograms_of(&self, scores: &[&ScoreId]) -> Vec<Histogram> {
        let scores = scores.iter();
        scores
            .flat_map(|score| histograms(score, &self.test, &self.ood))
            .collect()
    }
}

impl CompleteSplits {
    /// How often the network is right where it is so sure, on the test split at a temperature; `None` without logits or
    /// labels.
    ///
    /// # Errors
    /// [`Error::In`].
    pub fn reliability(&self, temperature: f64) -> Result<Option<Vec<ReliabilityBin>>> {
        let set = &self.test().features;
        let (Some(logits), Some(labels)) = (&set.logits, &set.labels) else {
            return Ok(None);
        };
        let found = reliability(logits.view(), labels, temperature);
        found.map(Some).map_err(Error::within(&self.test().origin))
    }
}
