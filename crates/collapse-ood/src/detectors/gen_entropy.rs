//! GEN: a generalised entropy of the softmax.

use collapse_numeric::Softmax;
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// −Σ p^γ (1 − p)^γ over the M largest probabilities, a generalised entropy.
///
/// Source: Liu, Lochman and Zach, *GEN: Pushing the Limits of Softmax-Based Out-of-Distribution
/// Detection* (2023).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gen {
    gamma: f64,
    largest: usize,
    clamp: f64,
}

impl Gen {
    /// Exponent γ > 0 (0.1 in the paper) and the number M of probabilities (at most C are used).
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(gamma: f64, largest: usize) -> Result<Self> {
        if !(gamma > 0.0 && gamma.is_finite()) {
            let expected = "positive and finite".into();
            return Err(Error::Setting {
                name: "gen gamma",
                value: gamma.to_string(),
                expected,
            });
        }
        if largest == 0 {
            return Err(Error::Setting {
                name: "gen largest",
                value: "0".into(),
                expected: "at least 1".into(),
            });
        }
        Ok(Self {
            gamma,
            largest,
            clamp: 0.0,
        })
    }

    /// Clamps probabilities to `[clamp, 1 − clamp]` first, as pytorch-ood does with 1e-7.
    #[must_use]
    pub fn with_clamp(mut self, clamp: f64) -> Self {
        self.clamp = clamp.clamp(0.0, 0.5);
        self
    }
}

impl Detector for Gen {
    fn id(&self) -> ScoreId {
        ScoreId::new("gen")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        // p and 1 − p of each class.
        let mut pairs: Vec<(f64, f64)> = Vec::new();
        let score = |row: ArrayView1<f64>| {
            let softmax = Softmax::of(row, 1.0);
            let pair = |(class, logit): (usize, &f64)| match class == softmax.top() {
                // Only the largest p can be so near 1 that 1 − p would lose its digits.
                true => (softmax.confidence(), softmax.doubt()),
                false => {
                    let p = softmax.probability(*logit);
                    (p, 1.0 - p)
                }
            };
            pairs.clear();
            pairs.extend(row.iter().enumerate().map(pair));
            if self.largest < pairs.len() {
                pairs.select_nth_unstable_by(self.largest, |a, b| b.0.total_cmp(&a.0));
                pairs.truncate(self.largest);
            }
            let clamp = |p: f64| p.clamp(self.clamp, 1.0 - self.clamp);
            let term = |&(p, rest): &(f64, f64)| (self.gamma * (clamp(p) * clamp(rest)).ln()).exp();
            -pairs.iter().map(term).sum::<f64>()
        };
        Ok(inputs.logits_for()?.rows().into_iter().map(score).collect())
    }
}
