//! LTS: energy of logits scaled by how peaked the activations are.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::Inputs;

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
    fn scale(&self, row: ArrayView1<f64>, positive: &mut Vec<f64>) -> Option<f64> {
        let d = row.len();
        let rest = (d as f64 * (1.0 - self.share)).round_ties_even() as usize;
        let kept = d.saturating_sub(rest).max(1);
        positive.clear();
        positive.extend(row.iter().map(|value| value.max(0.0)));
        if kept < d {
            positive.select_nth_unstable_by(kept, |a, b| b.total_cmp(a));
        }
        let largest: f64 = positive[..kept].iter().sum();
        let all = largest + positive[kept..].iter().sum::<f64>();
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
        let mut positive = Vec::with_capacity(features.ncols());
        let rows = features.rows().into_iter().zip(logits.rows()).enumerate();
        rows.map(
            |(row, (feature, logits))| match self.scale(feature, &mut positive) {
                Some(scale) => Ok(log_sum_exp(logits.mapv(|logit| scale * logit).view())),
                None => Err(Error::undefined(
                    "the score",
                    format!(
                        "no activation of row {} is positive",
                        inputs.row_number(row)
                    ),
                )),
            },
        )
        .collect()
    }
}
