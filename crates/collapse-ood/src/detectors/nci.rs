//! Nearness of the feature to the weight of its predicted class.

use collapse_numeric::{argmax, mean, norm};
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Head, Inputs, TrainInputs, check_columns, ratio};

/// w_ŷ · (z − μ_G) / ‖z − μ_G‖ + α ‖z‖₁: nearness of the centred feature to the weight of its predicted class.
///
/// Source: Liu and Qin, *Detecting Out-of-Distribution through the Lens of Neural Collapse* (arXiv 2311.01479).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nci {
    center: Array1<f64>,
    head: Head,
    alpha: f64,
}

impl Nci {
    /// Keeps head and mean; `alpha` ≥ 0 weighs the norm.
    ///
    /// # Errors
    /// [`Error::NeedsHead`](crate::Error::NeedsHead).
    pub fn fit(train: &TrainInputs, alpha: f64) -> Result<Self> {
        let center = mean(train.inputs().head_rows())?;
        Ok(Self {
            center,
            head: train.head()?.clone(),
            alpha,
        })
    }
}

impl Detector for Nci {
    fn id(&self) -> ScoreId {
        ScoreId::new("nci")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let (features, logits) = (inputs.head_features(), inputs.logits_for()?);
        check_columns(features, self.center.len())?;
        let rows = features.rows().into_iter().zip(logits.rows()).enumerate();
        rows.map(|(row, (feature, logits))| {
            let centered = &feature - &self.center;
            let weight = self.head.weight.row(argmax(logits));
            let cosine = ratio(
                inputs.row_number(row),
                weight.dot(&centered),
                norm(centered.view()),
            )?;
            Ok(cosine + self.alpha * feature.iter().map(|value| value.abs()).sum::<f64>())
        })
        .collect()
    }
}
