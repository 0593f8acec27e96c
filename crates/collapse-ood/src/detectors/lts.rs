//! LTS: energy of logits scaled by how peaked the activations are.

use collapse_numeric::{log_sum_exp, sum_by_lanes};
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::percentile::Largest;

/// logsumexp(S · f) with S = (s₁ / s₂)², where s₁ is the sum of the positive activations and s₂ that of the largest
/// k = max(1, D − round(D · (1 − share))) of them.
///
/// Source: Djurisic, Liu and Nikolic, *Logit Scaling for Out-of-Distribution Detection* (2024).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lts {
    share: f64,
}

impl Lts {
    /// The share of the activations in s₂, in 0..=1 (0.05 in the paper); k is rounded half to even.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Setting {
                name: "lts share",
                value: share.to_string(),
                expected: "between 0 and 1".into(),
            });
        }
        Ok(Self { share })
    }

    /// S of one row of activations `[D]`; `None` where none is positive.
    fn scale(&self, row: &[f64], keys: &mut Vec<u64>) -> Option<f64> {
        let d = row.len();
        let rest = (d as f64 * (1.0 - self.share)).round_ties_even() as usize;
        let kept = d.saturating_sub(rest).max(1);
        let all = sum_by_lanes(row, row, |value, _| value.max(0.0));
        let Largest { least, sum, .. } = Largest::of(row, kept, keys);
        // With a negative one among the largest, these are all that are positive.
        let largest = if least < 0.0 { all } else { sum };
        (largest > 0.0).then(|| (all / largest).powi(2))
    }
}

impl Detector for Lts {
    fn id(&self) -> ScoreId {
        ScoreId::new("lts")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let features = inputs.head_features();
        let features = features.as_standard_layout();
        let mut keys = Vec::with_capacity(features.ncols());
        let rows = features.rows().into_iter().zip(logits.rows()).enumerate();
        rows.map(|(row, (feature, logits))| {
            let scale = feature
                .as_slice()
                .and_then(|row| self.scale(row, &mut keys));
            let scale = scale.ok_or_else(|| {
                let row = inputs.row_number(row);
                Error::undefined(
                    "the score",
                    format!("no activation of row {row} is positive"),
                )
            })?;
            Ok(log_sum_exp(logits.mapv(|logit| scale * logit).view()))
        })
        .collect()
    }
}
