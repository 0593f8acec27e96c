//! Nearness of the feature to the weight of its predicted class.

use collapse_numeric::{RowSource, argmax, mean, norm};
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::head::Head;
use crate::inputs::{Inputs, TrainInputs, check_columns, ratio};

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
        let n_classes = self.head.weight.nrows();
        let (features, logits) = (inputs.head_rows(), inputs.logits_of(n_classes)?);
        check_columns(features, self.center.len())?;
        let mut feature = Array1::zeros(features.ncols());
        let rows = logits.rows().into_iter().enumerate();
        rows.map(|(row, logits)| {
            features.read_to(row, &mut feature);
            let magnitudes = feature.fold(0.0, |sum, value| sum + value.abs());
            feature -= &self.center;
            let weight = self.head.weight.row(argmax(logits));
            let cosine = ratio(
                inputs.row_number(row),
                weight.dot(&feature),
                norm(feature.view()),
            )?;
            Ok(cosine + self.alpha * magnitudes)
        })
        .collect()
    }
}
