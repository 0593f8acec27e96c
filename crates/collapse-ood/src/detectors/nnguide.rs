//! Energy guided by similarity to the nearest training features.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::{Array1, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Inputs, TrainInputs, check_columns};
use crate::neighbours::{Neighbours, Rows, check_count};

/// energy(z) · mean of the k largest energy_i · ẑ · ẑ_i over the training samples.
///
/// Source: Park, Jung and Teoh, *Nearest Neighbor Guidance for Out-of-Distribution Detection* (2023).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NnGuide {
    bank: Neighbours,
    neighbours: usize,
}

impl NnGuide {
    /// Stores the training features and their energies; `neighbours` in 1..=N.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting), [`Error::NeedsLogits`](crate::Error::NeedsLogits).
    pub fn fit(train: &TrainInputs, neighbours: usize) -> Result<Self> {
        check_count("nnguide neighbours", neighbours, train.labels().len())?;
        let logits = train.inputs().logits_for()?;
        let energies = logits.rows().into_iter().map(log_sum_exp).collect();
        let bank = Rows::normalized(train.inputs().features());
        Ok(Self {
            bank: Neighbours::by_product(bank, train.class_indices(), energies),
            neighbours,
        })
    }
}

impl Detector for NnGuide {
    fn id(&self) -> ScoreId {
        ScoreId::new("nnguide")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let features = inputs.normalized();
        check_columns(features, self.bank.n_features())?;
        let best = self.bank.best(features, self.neighbours)?;
        let guidance = best.sum_axis(Axis(1)) / self.neighbours as f64;
        let energies: Array1<f64> = logits.rows().into_iter().map(log_sum_exp).collect();
        Ok(guidance * energies)
    }
}
