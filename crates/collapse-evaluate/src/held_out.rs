//! How detectors see in-distribution samples that they were not fitted on.

use collapse_ood::Fitted;
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
    pub confidences: Vec<f64>,
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
        let held_out = scored.scores.into_iter().map(|(score, values)| {
            let mut confidences = values.to_vec();
            confidences.sort_unstable_by(f64::total_cmp);
            HeldOut { score, confidences }
        });
        Ok(held_out.collect())
    }
}
