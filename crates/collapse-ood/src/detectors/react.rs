//! Energy after clipping the activations.

use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::head::Head;
use crate::inputs::{Inputs, TrainInputs};
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
        self.head.energies(inputs, |_, row| {
            row.iter_mut()
                .for_each(|value| *value = value.min(self.threshold));
            Ok(())
        })
    }
}
