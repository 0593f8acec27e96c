//! ASH and SCALE: energy after shaping the activations.

use collapse_numeric::sum_by_lanes;
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::head::Head;
use crate::inputs::{Inputs, TrainInputs};
use crate::percentile::Largest;

/// What happens to the activations that are kept. Below, s₁ is the sum of all activations and s₂ that of the kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AshVariant {
    /// ASH-B: every kept one becomes s₁ / k.
    #[default]
    Binarize,
    /// ASH-P: kept as they are.
    Prune,
    /// ASH-S: kept ones times exp(s₁ / s₂).
    Scale,
    /// SCALE: nothing is pruned, all times exp(s₁ / s₂).
    ScaleAll,
}

/// Energy of the head on features of which only the largest k = D − round(D · percentile / 100) remain.
///
/// Source: Djurisic et al., *Extremely Simple Activation Shaping for Out-of-Distribution Detection* (2023); Xu et al.,
/// *Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement* (2024) for SCALE.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ash {
    head: Head,
    variant: AshVariant,
    percentile: f64,
}

impl Ash {
    /// Keeps the head; `percentile` in 0..100 is the share that is pruned (rounded half to even).
    ///
    /// # Errors
    /// [`Error::NeedsHead`], [`Error::Setting`].
    pub fn fit(train: &TrainInputs, variant: AshVariant, percentile: f64) -> Result<Self> {
        let head = train.head()?.clone();
        let detector = Self {
            head,
            variant,
            percentile,
        };
        if !(0.0..100.0).contains(&percentile) || detector.kept() == 0 {
            let expected = "at least 0 and small enough to keep one activation".into();
            return Err(Error::Setting {
                name: match variant {
                    AshVariant::ScaleAll => "scale percentile",
                    _ => "ash percentile",
                },
                value: percentile.to_string(),
                expected,
            });
        }
        Ok(detector)
    }

    fn kept(&self) -> usize {
        let d = self.head.weight.ncols();
        d - (d as f64 * self.percentile / 100.0).round_ties_even() as usize
    }

    /// Shapes a row; `number` is its number in messages, `keys` room to work in.
    fn shape(&self, number: usize, row: &mut [f64], keys: &mut Vec<u64>) -> Result<()> {
        let kept = self.kept();
        let Largest { least, ties, sum } = Largest::of(row, kept, keys);
        let all = sum_by_lanes(row, row, |value, _| value);
        let factor = || match sum == 0.0 {
            true => Err(Error::undefined(
                "the score",
                format!("the kept activations of row {number} sum to zero"),
            )),
            false => Ok((all / sum).exp()),
        };
        if self.variant == AshVariant::ScaleAll {
            let factor = factor()?;
            row.iter_mut().for_each(|value| *value *= factor);
            return Ok(());
        }
        let (factor, constant) = match self.variant {
            AshVariant::Binarize => (0.0, all / kept as f64),
            AshVariant::Scale => (factor()?, 0.0),
            AshVariant::Prune | AshVariant::ScaleAll => (1.0, 0.0),
        };
        let shape = |values: &mut [f64], kept: fn(f64, f64) -> bool| {
            for value in values {
                *value = match kept(*value, least) {
                    true => *value * factor + constant,
                    false => 0.0,
                };
            }
        };
        // Among equals the first are kept, so that the choice is the same everywhere.
        let mut equals = (0..row.len()).filter(|&index| row[index] == least);
        let last = equals.nth(ties.saturating_sub(1)).unwrap_or(0);
        let (first, rest) = row.split_at_mut(last + 1);
        shape(first, |value, least| value >= least);
        shape(rest, |value, least| value > least);
        Ok(())
    }
}

impl Detector for Ash {
    fn id(&self) -> ScoreId {
        ScoreId::new(match self.variant {
            AshVariant::ScaleAll => "scale",
            _ => "ash",
        })
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let mut keys = Vec::new();
        let shape = |number: usize, row: &mut [f64]| self.shape(number, row, &mut keys);
        self.head.energies(inputs, shape)
    }
}
