//! DICE: energy of a head of which only the weights that matter remain.

use collapse_numeric::mean;
use collapse_results::ScoreId;
use ndarray::{Array1, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::head::Head;
use crate::inputs::{Inputs, TrainInputs};
use crate::percentile::percentile_of;

/// Energy of the head without the weights whose contribution w_cj · mean_i z_ij lies at or below a percentile of all
/// contributions.
///
/// Source: Sun and Li, *DICE: Leveraging Sparsification for Out-of-Distribution Detection* (2022).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dice {
    sparse: Head,
}

impl Dice {
    /// Leaves out the weights below `percentile` in 0..=100 (90 in the paper).
    ///
    /// # Errors
    /// [`Error::NeedsHead`](crate::Error::NeedsHead), [`Error::Setting`](crate::Error::Setting).
    pub fn fit(train: &TrainInputs, percentile: f64) -> Result<Self> {
        let mut sparse = train.head()?.clone();
        let activation = mean(train.inputs().head_rows())?;
        let contributions = &sparse.weight * &activation.insert_axis(Axis(0));
        let threshold = percentile_of("dice percentile", &contributions.view(), percentile)?;
        sparse
            .weight
            .zip_mut_with(&contributions, |weight, contribution| {
                if *contribution <= threshold {
                    *weight = 0.0;
                }
            });
        Ok(Self { sparse })
    }
}

impl Detector for Dice {
    fn id(&self) -> ScoreId {
        ScoreId::new("dice")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        self.sparse.energies(inputs, |_, _| Ok(()))
    }
}
