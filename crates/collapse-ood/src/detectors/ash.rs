//! ASH and SCALE: energy after shaping the activations.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayViewMut1};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Head, Inputs, TrainInputs, check_columns};

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

    /// The last linear layer.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    fn kept(&self) -> usize {
        let d = self.head.weight.ncols();
        d - (d as f64 * self.percentile / 100.0).round_ties_even() as usize
    }

    fn shape(
        &self,
        row_index: usize,
        mut row: ArrayViewMut1<f64>,
        order: &mut Vec<usize>,
    ) -> Result<()> {
        let kept = self.kept();
        order.clear();
        order.extend(0..row.len());
        // Among equals the first are kept, so that the choice is the same everywhere.
        let larger = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
        if kept < row.len() {
            order.select_nth_unstable_by(kept, larger);
        }
        let (largest, rest) = order.split_at(kept);
        let all = row.sum();
        let of_kept: f64 = largest.iter().map(|&index| row[index]).sum();
        let factor = || match of_kept == 0.0 {
            true => Err(Error::undefined(
                "the score",
                format!("the kept activations of row {row_index} sum to zero"),
            )),
            false => Ok((all / of_kept).exp()),
        };
        match self.variant {
            AshVariant::ScaleAll => {
                let factor = factor()?;
                row.mapv_inplace(|value| value * factor);
                return Ok(());
            }
            AshVariant::Binarize => largest
                .iter()
                .for_each(|&index| row[index] = all / kept as f64),
            AshVariant::Prune => {}
            AshVariant::Scale => {
                let factor = factor()?;
                largest.iter().for_each(|&index| row[index] *= factor);
            }
        }
        rest.iter().for_each(|&index| row[index] = 0.0);
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
        let features = inputs.head_features();
        check_columns(features, self.head.weight.ncols())?;
        let mut shaped = features.to_owned();
        let mut order = Vec::with_capacity(features.ncols());
        for (index, row) in shaped.rows_mut().into_iter().enumerate() {
            self.shape(inputs.row_number(index), row, &mut order)?;
        }
        Ok(self
            .head
            .logits(shaped.view())?
            .rows()
            .into_iter()
            .map(log_sum_exp)
            .collect())
    }
}
