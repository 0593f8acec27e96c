//! Distance to the k-th nearest training feature.

use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Inputs, TrainInputs, check_columns};
use crate::neighbours::{Bank, check_count};

/// Minus the distance of ẑ to its k-th nearest normalised training feature, exact in f64.
///
/// Source: Sun et al., *Out-of-Distribution Detection with Deep Nearest Neighbors* (2022).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Knn {
    bank: Bank,
    neighbours: usize,
    squared: bool,
}

impl Knn {
    /// Stores the training features; `neighbours` in 1..=N.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting).
    pub fn fit(train: &TrainInputs, neighbours: usize) -> Result<Self> {
        check_count("knn neighbours", neighbours, train.labels().len())?;
        Ok(Self {
            bank: train.bank(),
            neighbours,
            squared: false,
        })
    }

    /// The training features.
    pub(crate) fn bank(&self) -> &Bank {
        &self.bank
    }

    /// Scores by the squared distance, as OpenOOD does; the order is the same.
    #[must_use]
    pub fn squared(mut self) -> Self {
        self.squared = true;
        self
    }
}

impl Detector for Knn {
    fn id(&self) -> ScoreId {
        ScoreId::new("knn")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = inputs.normalized();
        check_columns(features, self.bank.n_features())?;
        let kth = self.bank.kth_nearest(features, self.neighbours)?;
        Ok(match self.squared {
            true => kth.mapv(|squared| -squared),
            false => kth.mapv(|squared| -squared.sqrt()),
        })
    }
}
