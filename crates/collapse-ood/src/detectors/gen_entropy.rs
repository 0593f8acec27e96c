use collapse_numeric::softmax;
use ndarray::Array1;
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
    fn name(&self) -> &'static str {
        "gen"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let score = |row| {
            let mut p = softmax(row);
            p.sort_unstable_by(|a, b| b.total_cmp(a));
            p.truncate(self.largest);
            let term = |p: &f64| {
                let p = p.clamp(self.clamp, 1.0 - self.clamp);
                p.powf(self.gamma) * (1.0 - p).powf(self.gamma)
            };
            -p.iter().map(term).sum::<f64>()
        };
        Ok(inputs
            .logits_for(self.name())?
            .rows()
            .into_iter()
            .map(score)
            .collect())
    }
}
