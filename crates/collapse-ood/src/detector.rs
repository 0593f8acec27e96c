//! What a detector is.

use std::fmt::Debug;

use collapse_results::ScoreId;
use ndarray::Array1;

use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// A fitted score of how much a sample looks in-distribution.
///
/// The trait is open: a detector of one's own joins the others with [`Fitted::push`](crate::Fitted::push), and then
/// stands in [`score_all`](crate::Fitted::score_all), [`compare`](crate::compare()) and the tables.
///
/// ```
/// use collapse_ood::{Detector, Inputs, Intervals, Result, ScoreId, Settings, TrainInputs, compare, fit_named};
/// use ndarray::{Array1, Axis, array};
///
/// /// Minus the distance to the mean of the training features.
/// #[derive(Debug)]
/// struct Distance(Array1<f64>);
///
/// impl Detector for Distance {
///     fn id(&self) -> ScoreId {
///         ScoreId::new("distance")
///     }
///
///     fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
///         let gaps = &inputs.features() - &self.0;
///         Ok(gaps.map_axis(Axis(1), |row| -row.dot(&row).sqrt()))
///     }
/// }
///
/// let features = array![[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.9, 0.2]];
/// let train = TrainInputs::new(Inputs::of_features(features.view(), false)?, &[0, 1, 0, 1])?;
/// let mut fitted = fit_named(&train, &Settings::default(), ["feature_norm"])?;
/// fitted.push(Distance(features.mean_axis(Axis(0)).unwrap()));
///
/// let (near, far) = (array![[0.4, 0.5], [0.6, 0.4]], array![[0.1, 0.3], [5.0, 2.0]]);
/// let id = fitted.score_set("test", &Inputs::of_features(near.view(), false)?);
/// let ood = fitted.score_set("far", &Inputs::of_features(far.view(), false)?);
/// let table = compare(&id, &[ood], &Intervals::default())?;
/// assert_eq!(table[1].score.as_str(), "distance");
/// assert_eq!(table[1].detection.auroc, 1.0);
/// # Ok::<(), collapse_ood::Error>(())
/// ```
pub trait Detector: Debug + Send + Sync {
    /// The name in tables and files.
    fn id(&self) -> ScoreId;

    /// One number per sample, `[N]`; what a detector has to say. Callers want [`score`](Self::score).
    ///
    /// # Errors
    /// As [`score`](Self::score), but for NaN.
    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>>;

    /// One confidence per sample, `[N]`, larger = more in-distribution; ±∞ where it leaves the range of f64, never NaN.
    ///
    /// # Errors
    /// Features of other dimensions than in training; samples for which the score is undefined, by the number of their row.
    fn score(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let scores = self.compute(inputs)?;
        match scores.iter().position(|score| score.is_nan()) {
            None => Ok(scores),
            Some(row) => Err(Error::undefined(
                "the score",
                format!(
                    "row {} leaves the range of f64 on the way; scale the features or leave the row out",
                    inputs.row_number(row)
                ),
            )),
        }
    }
}
