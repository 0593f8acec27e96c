//! How detectors see in-distribution samples that they were not fitted on.

use collapse_ood::Fitted;
use collapse_ood::metrics::Threshold;
use collapse_results::ScoreId;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::splits::CompleteSplits;

/// The confidences of one detector on held-out in-distribution samples, from which its threshold is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The detector.
    pub score: ScoreId,
    /// One confidence a sample, ascending.
    #[serde(with = "crate::numbers")]
    pub confidences: Vec<f64>,
    /// The class that the network predicts for each of these samples, from which thresholds by class are chosen; absent
    /// where there were no logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Vec<usize>>,
}

impl HeldOut {
    /// Where the detector accepts a share `accept` of in-distribution samples, and how sure that is, see
    /// [`Threshold::conformal`].
    ///
    /// # Errors
    /// [`Error::Ood`](crate::Error::Ood) as there.
    pub fn threshold(&self, accept: f64, level: f64) -> Result<Threshold> {
        Ok(Threshold::conformal(&self.confidences, accept, level)?)
    }
}

impl CompleteSplits {
    /// The confidences of every detector on the validation split; none without that split, nor of a detector that
    /// cannot score it.
    ///
    /// # Errors
    /// [`Error::In`](crate::Error::In) for a validation split that no detector can score.
    pub fn held_out(&self, fitted: &Fitted) -> Result<Vec<HeldOut>> {
        let Some(validation) = self.validation() else {
            return Ok(Vec::new());
        };
        let scored = fitted.score_set(&validation.name, &validation.inputs()?);
        let predicted = validation.predicted();
        let held_out = scored.scores.into_iter().map(|(score, values)| {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            HeldOut {
                score,
                confidences: order.iter().map(|&row| values[row]).collect(),
                predicted: predicted
                    .as_ref()
                    .map(|classes| order.iter().map(|&row| classes[row]).collect()),
            }
        });
        Ok(held_out.collect())
    }
}
