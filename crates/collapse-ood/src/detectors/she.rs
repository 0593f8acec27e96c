//! Inner product with the pattern of the predicted class.

use collapse_numeric::{RowSource, argmax};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs, check_columns};

/// z · s_ŷ, with s_c the mean feature of the training samples of class c that the network classifies correctly.
///
/// Source: Zhang et al., *Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern
/// Hopfield Energy* (2023).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct She {
    patterns: Array2<f64>,
    counts: Vec<usize>,
}

impl She {
    /// Stores one pattern a class.
    ///
    /// # Errors
    /// [`Error::NeedsLogits`]. A class without correct samples fails only when a sample is predicted to be of it.
    pub fn fit(train: &TrainInputs) -> Result<Self> {
        // Without logits the largest label alone bounds the number of classes, and may be anything.
        let logits = train.inputs().logits_for()?;
        let features = train.inputs().head_rows();
        let mut feature = Array1::zeros(features.ncols());
        let mut patterns = Array2::zeros((train.n_classes(), features.ncols()));
        let mut counts = vec![0usize; train.n_classes()];
        let rows = logits.rows().into_iter().zip(train.labels()).enumerate();
        for (row, (logits, &label)) in rows {
            if argmax(logits) == label {
                counts[label] += 1;
                features.read_to(row, &mut feature);
                let mut pattern = patterns.row_mut(label);
                pattern += &feature;
            }
        }
        for (mut pattern, &count) in patterns.rows_mut().into_iter().zip(&counts) {
            pattern /= count.max(1) as f64;
        }
        Ok(Self { patterns, counts })
    }
}

impl Detector for She {
    fn id(&self) -> ScoreId {
        ScoreId::new("she")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let n_classes = self.patterns.nrows();
        let (features, logits) = (inputs.head_rows(), inputs.logits_of(n_classes)?);
        check_columns(features, self.patterns.ncols())?;
        let mut feature = Array1::zeros(features.ncols());
        let rows = logits.rows().into_iter().enumerate();
        rows.map(|(row, logits)| {
            features.read_to(row, &mut feature);
            let class = argmax(logits);
            match self.counts.get(class) {
                Some(1..) => Ok(feature.dot(&self.patterns.row(class))),
                _ => {
                    let reason = format!(
                        "row {} is predicted as class {class}, of which no training sample is classified correctly",
                        inputs.row_number(row)
                    );
                    Err(Error::undefined("the score", reason))
                }
            }
        })
        .collect()
    }
}
