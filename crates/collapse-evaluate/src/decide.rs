//! From scores to decisions: which samples to trust.

use collapse_ood::Detector;
use collapse_ood::metrics::Threshold;

use crate::error::{Error, Result};
use crate::saved::SavedDetectors;
use crate::splits::{FeatureSplits, Split};

/// What one detector decides of every sample of a set.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// The detector.
    pub score: String,
    /// Where it accepts.
    pub threshold: Threshold,
    /// One confidence a sample, `[N]`.
    pub confidences: Vec<f64>,
}

impl Decisions {
    /// For every sample whether it is taken as in-distribution.
    pub fn accepted(&self) -> impl Iterator<Item = bool> {
        let accepts = |&confidence| self.threshold.accepts(confidence);
        self.confidences.iter().map(accepts)
    }

    /// Samples that are not.
    #[must_use]
    pub fn n_rejected(&self) -> usize {
        self.accepted().filter(|accepted| !accepted).count()
    }
}

impl SavedDetectors {
    /// Decides of every sample of `set`, which needs neither labels nor an out-of-distribution set, by each detector of
    /// `scores`: its threshold accepts the share `accept` of in-distribution samples, see [`Threshold::conformal`].
    ///
    /// Where the set does not say whether the head saw normalised features, the detectors' own word counts.
    ///
    /// # Errors
    /// [`Error::NoThreshold`] for a detector without held-out confidences; [`Error::OtherNetwork`]; [`Error::In`] where the
    /// set lacks what a detector reads, or for samples that it cannot score; [`Error::Ood`] for a share or a level
    /// outside their range.
    pub fn decide(
        mut self,
        set: Split,
        scores: &[&str],
        accept: f64,
        level: f64,
    ) -> Result<Vec<Decisions>> {
        let l2 = set.features.metadata.contains_key("l2");
        let splits = FeatureSplits {
            train: None,
            validation: None,
            test: set,
            ood: Vec::new(),
        };
        let splits = splits.complete((!l2).then_some(self.l2))?;
        self.check_fits("the detectors", splits.test())?;
        let thresholds = scores
            .iter()
            .map(|score| self.threshold(score, accept, level))
            .collect::<Result<Vec<Threshold>>>()?;
        self.fitted
            .detectors
            .retain(|detector| scores.contains(&detector.id().as_str()));
        let inputs = splits.test().inputs()?;
        let mut found = self.fitted.score_all(&inputs);
        let mut decisions = Vec::new();
        for (score, threshold) in scores.iter().zip(thresholds) {
            let Some(at) = found.iter().position(|(id, _)| id.as_str() == *score) else {
                return Err(self.no_threshold(score));
            };
            let (_, confidences) = found.swap_remove(at);
            let confidences = confidences.map_err(Error::within(&splits.test().origin))?;
            decisions.push(Decisions {
                score: (*score).to_owned(),
                threshold,
                confidences: confidences.to_vec(),
            });
        }
        Ok(decisions)
    }

    fn threshold(&self, score: &str, accept: f64, level: f64) -> Result<Threshold> {
        let held_out = self
            .held_out
            .iter()
            .find(|held| held.score.as_str() == score);
        let held_out = held_out.ok_or_else(|| self.no_threshold(score))?;
        Ok(Threshold::conformal(&held_out.confidences, accept, level)?)
    }

    fn no_threshold(&self, score: &str) -> Error {
        let known: Vec<&str> = self
            .held_out
            .iter()
            .map(|held| held.score.as_str())
            .collect();
        Error::NoThreshold {
            score: score.to_owned(),
            known: match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            },
        }
    }
}
