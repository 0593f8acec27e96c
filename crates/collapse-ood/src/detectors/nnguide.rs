//! Energy guided by similarity to the nearest training features.

use collapse_numeric::log_sum_exp;
use collapse_results::ScoreId;
use ndarray::{Array1, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs, check_columns};
use crate::neighbours::{Bank, check_count};

/// energy(z) · mean of the k largest energy_i · ẑ · ẑ_i over the training samples.
///
/// Source: Park, Jung and Teoh, *Nearest Neighbor Guidance for Out-of-Distribution Detection* (2023).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NnGuide {
    /// `None` in a file that holds it with kNN.
    bank: Option<Bank>,
    /// Energies of the training samples, `[N]`.
    energies: Vec<f64>,
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
        Ok(Self {
            bank: Some(train.bank()),
            energies,
            neighbours,
        })
    }

    /// The same without the bank, where it is that of kNN.
    pub(crate) fn lean(&self, of_knn: &Bank) -> Option<Self> {
        let shared = self.bank.as_ref().is_some_and(|own| own.is(of_knn));
        shared.then(|| Self {
            bank: None,
            energies: self.energies.clone(),
            neighbours: self.neighbours,
        })
    }

    /// Takes kNN's bank where it has none.
    pub(crate) fn complete(&mut self, of_knn: &Bank) {
        self.bank.get_or_insert_with(|| of_knn.clone());
    }
}

impl Detector for NnGuide {
    fn id(&self) -> ScoreId {
        ScoreId::new("nnguide")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let features = inputs.normalized();
        let bank = self.bank.as_ref().ok_or(Error::Stored {
            what: "nnguide without knn and its training features",
        })?;
        check_columns(features, bank.n_features())?;
        let best = bank.largest(features, self.neighbours, &self.energies)?;
        let guidance = best.sum_axis(Axis(1)) / self.neighbours as f64;
        let energies: Array1<f64> = logits.rows().into_iter().map(log_sum_exp).collect();
        Ok(guidance * energies)
    }
}
