//! Energy after clipping the activations.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::{Array1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Head, Inputs, TrainInputs, check_columns};

/// Energy of the head on features clipped from above at a percentile of all training activations.
///
/// Source: Sun, Guo and Li, *ReAct: Out-of-distribution Detection With Rectified Activations* (2021).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct React {
    head: Head,
    threshold: f64,
}

impl React {
    /// Finds the threshold at `percentile` in 0..=100 (90 in the paper).
    ///
    /// # Errors
    /// [`Error::NeedsHead`], [`Error::Setting`].
    pub fn fit(train: &TrainInputs, percentile: f64) -> Result<Self> {
        let head = train.head()?.clone();
        Ok(Self {
            head,
            threshold: percentile_of(train.inputs().head_features(), percentile)?,
        })
    }

    /// The value at which features are clipped.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }
}

impl Detector for React {
    fn id(&self) -> ScoreId {
        ScoreId::new("react")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = inputs.head_features();
        check_columns(features, self.head.weight.ncols())?;
        let clipped = features.mapv(|value| value.min(self.threshold));
        Ok(self
            .head
            .logits(clipped.view())?
            .rows()
            .into_iter()
            .map(log_sum_exp)
            .collect())
    }
}

/// The percentile of all entries, interpolated linearly between neighbours.
fn percentile_of(values: ArrayView2<f64>, percentile: f64) -> Result<f64> {
    if !(0.0..=100.0).contains(&percentile) {
        let expected = "between 0 and 100".into();
        return Err(Error::Setting {
            name: "percentile",
            value: percentile.to_string(),
            expected,
        });
    }
    let mut values: Vec<f64> = values.iter().copied().collect();
    let position = percentile / 100.0 * (values.len() - 1) as f64;
    let low = (position.floor() as usize).min(values.len() - 1);
    let (_, &mut at, above) = values.select_nth_unstable_by(low, f64::total_cmp);
    let next = above.iter().copied().fold(f64::INFINITY, f64::min);
    let share = position - low as f64;
    Ok(if share > 0.0 && next.is_finite() {
        at + share * (next - at)
    } else {
        at
    })
}
