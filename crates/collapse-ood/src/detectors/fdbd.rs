//! Distances to the decision boundaries.

use collapse_numeric::{RowSource, argmax, distance, mean, norm};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs, check_columns, ratio};

/// What the distance to the decision boundaries is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FdbdScale {
    /// ‖z − μ_G‖, summed over the other classes.
    #[default]
    DistanceToMean,
    /// ‖z‖, summed over the other classes.
    FeatureNorm,
    /// ‖z − μ_G‖, averaged over the other classes (pytorch-ood).
    MeanDistanceToMean,
}

/// Σ_{c≠ŷ} |f_ŷ − f_c| / ‖w_ŷ − w_c‖, the distances to the decision boundaries, over ‖z − μ_G‖ or ‖z‖.
///
/// Source: Liu and Qin, *Fast Decision Boundary based Out-of-Distribution Detector* (2024).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fdbd {
    center: Array1<f64>,
    /// ‖w_a − w_b‖, `[C, C]`.
    separation: Array2<f64>,
    scale: FdbdScale,
}

impl Fdbd {
    /// Keeps the mean and the separation of the classifier's rows.
    ///
    /// # Errors
    /// [`Error::NeedsHead`]; [`Error::Undefined`] when two rows of the head are equal.
    pub fn fit(train: &TrainInputs, scale: FdbdScale) -> Result<Self> {
        let weight = &train.head()?.weight;
        let c = weight.nrows();
        let separation =
            Array2::from_shape_fn((c, c), |(a, b)| distance(weight.row(a), weight.row(b)));
        if let Some(((a, b), _)) = separation
            .indexed_iter()
            .find(|((a, b), value)| a != b && **value == 0.0)
        {
            let reason = format!(
                "classes {a} and {b} have the same weights, so no boundary lies between them"
            );
            return Err(Error::undefined("the score", reason));
        }
        let center = mean(train.inputs().head_rows())?;
        Ok(Self {
            center,
            separation,
            scale,
        })
    }
}

impl Detector for Fdbd {
    fn id(&self) -> ScoreId {
        ScoreId::new("fdbd")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let n_classes = self.separation.nrows();
        let (features, logits) = (inputs.head_rows(), inputs.logits_of(n_classes)?);
        check_columns(features, self.center.len())?;
        let mut feature = Array1::zeros(features.ncols());
        let rows = logits.rows().into_iter().enumerate();
        rows.map(|(row, logits)| {
            features.read_to(row, &mut feature);
            let best = argmax(logits);
            let boundary = |(class, logit): (usize, &f64)| match class == best {
                true => 0.0,
                false => (logits[best] - logit).abs() / self.separation[[best, class]],
            };
            let total: f64 = logits.iter().enumerate().map(boundary).sum();
            let from_mean = || distance(feature.view(), self.center.view());
            let scale = match self.scale {
                FdbdScale::DistanceToMean => from_mean(),
                FdbdScale::FeatureNorm => norm(feature.view()),
                FdbdScale::MeanDistanceToMean => from_mean() * (logits.len() - 1) as f64,
            };
            ratio(inputs.row_number(row), total, scale)
        })
        .collect()
    }
}
