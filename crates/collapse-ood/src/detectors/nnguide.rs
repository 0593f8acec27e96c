use collapse_numeric::{log_sum_exp, matmul_nt};
use ndarray::{Array1, Array2, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs, check_columns};

/// Rows scored at a time: their products with the bank stay in memory together.
const BLOCK_ROWS: usize = 128;

/// energy(z) · mean of the k largest ẑ · (energy_i ẑ_i) over the training samples.
///
/// Source: Park, Jung and Teoh, *Nearest Neighbor Guidance for Out-of-Distribution Detection* (2023).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NnGuide {
    bank: Array2<f64>,
    neighbours: usize,
}

impl NnGuide {
    /// Stores the energy-weighted normalised training features; `neighbours` in 1..=N.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::NeedsLogits`].
    pub fn fit(train: &TrainInputs, neighbours: usize) -> Result<Self> {
        let mut bank = train.inputs().normalized().to_owned();
        if neighbours == 0 || neighbours > bank.nrows() {
            let expected = format!(
                "between 1 and {}, the number of training samples",
                bank.nrows()
            );
            return Err(Error::Setting {
                name: "nnguide neighbours",
                value: neighbours.to_string(),
                expected,
            });
        }
        for (mut row, logits) in bank
            .rows_mut()
            .into_iter()
            .zip(train.inputs().logits_for("nnguide")?.rows())
        {
            row *= log_sum_exp(logits);
        }
        Ok(Self { bank, neighbours })
    }
}

impl Detector for NnGuide {
    fn name(&self) -> &'static str {
        "nnguide"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = inputs.normalized();
        check_columns(features, self.bank.ncols())?;
        let mut guidance = Vec::with_capacity(features.nrows());
        for block in features.axis_chunks_iter(Axis(0), BLOCK_ROWS) {
            let mut products = matmul_nt(block, self.bank.view())?;
            for mut row in products.rows_mut() {
                let Some(row) = row.as_slice_mut() else {
                    continue;
                };
                row.select_nth_unstable_by(self.neighbours - 1, |a, b| b.total_cmp(a));
                let largest = &mut row[..self.neighbours];
                largest.sort_unstable_by(|a, b| b.total_cmp(a));
                guidance.push(largest.iter().sum::<f64>() / self.neighbours as f64);
            }
        }
        let logits = inputs.logits_for(self.name())?;
        let energies = logits.rows().into_iter().map(log_sum_exp);
        Ok(guidance
            .iter()
            .zip(energies)
            .map(|(guidance, energy)| guidance * energy)
            .collect())
    }
}
