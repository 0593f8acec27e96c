use std::collections::BTreeSet;

use collapse_density::{EmMixture, EmParams};
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs};

/// ln Σ_k w_k N(z; μ_k, Σ_k) of a mixture fitted by EM without the labels, on what the head saw.
///
/// Our choice: as many Gaussians as classes that have samples, in whitened principal components; see [`EmMixture`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Em {
    mixture: EmMixture,
}

impl Em {
    /// Fits one Gaussian for every class that has samples, in at most `n_components` principal components.
    ///
    /// # Errors
    /// [`Error::Density`] says why EM failed and what helps.
    pub fn fit(train: &TrainInputs, n_components: usize) -> Result<Self> {
        let present: BTreeSet<usize> = train.labels().iter().copied().collect();
        let params = EmParams {
            n_components,
            ..EmParams::new(present.len())
        };
        let mixture = params.fit(train.inputs().head_features());
        Ok(Self {
            mixture: mixture.map_err(Error::density("gmm_em"))?,
        })
    }

    /// The fitted mixture.
    #[must_use]
    pub fn mixture(&self) -> &EmMixture {
        &self.mixture
    }
}

impl Detector for Em {
    fn name(&self) -> &'static str {
        "gmm_em"
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let score = self.mixture.score(inputs.head_features());
        score.map_err(Error::density(self.name()))
    }
}
