//! Energy after clipping the activations.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Head, Inputs, TrainInputs, check_columns};
use crate::percentile::percentile_of;

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
    /// [`Error::NeedsHead`](crate::Error::NeedsHead), [`Error::Setting`](crate::Error::Setting).
    pub fn fit(train: &TrainInputs, percentile: f64) -> Result<Self> {
        let head = train.head()?.clone();
        Ok(Self {
            head,
            threshold: percentile_of("react percentile", &train.inputs().head_rows(), percentile)?,
        })
    }

    /// The last linear layer.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
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
