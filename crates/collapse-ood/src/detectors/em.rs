//! A Gaussian mixture fitted without labels.

use collapse_density::{EmMixture, EmParams};
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Inputs, TrainInputs};

/// ln Σ_k w_k N(z; μ_k, Σ_k) of a mixture fitted by EM without the labels, on what the head saw.
///
/// Our choice: as many Gaussians as classes, in whitened principal components; see [`EmMixture`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Em {
    mixture: EmMixture,
}

impl Em {
    /// Fits as many Gaussians as classes occur among the labels, in at most `n_components` principal components.
    ///
    /// # Errors
    /// [`Error::Density`](crate::Error::Density) says why EM failed and what helps.
    pub fn fit(train: &TrainInputs, n_components: usize) -> Result<Self> {
        let params = EmParams {
            n_components,
            ..EmParams::new(train.classes().len())
        };
        Ok(Self {
            mixture: params.fit(train.inputs().head_rows())?,
        })
    }

    /// The fitted mixture.
    #[must_use]
    pub fn mixture(&self) -> &EmMixture {
        &self.mixture
    }
}

impl Detector for Em {
    fn id(&self) -> ScoreId {
        ScoreId::GMM_EM
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(self.mixture.score(inputs.head_features())?)
    }
}
