//! Several networks that look at the same samples.

use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::ensemble::ensemble_scores;
use crate::error::{Error, Result};
use crate::inputs::Inputs;

/// What is said of the networks' softmaxes p_m and their mean p̄.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnsembleMeasure {
    /// H(p̄), the entropy of the mean: all uncertainty.
    Entropy,
    /// H(p̄) − mean H(p_m) = mean KL(p_m ‖ p̄): what the networks disagree about.
    MutualInformation,
}

/// −H(p̄), or minus the mutual information of class and network, in nats: at most 0.
///
/// The networks are that of the [`Inputs`] and its [members](Inputs::with_members).
///
/// Source: Lakshminarayanan, Pritzel and Blundell, *Simple and Scalable Predictive Uncertainty Estimation using Deep
/// Ensembles* (2017); for the mutual information, Depeweg et al., *Decomposition of Uncertainty in Bayesian Deep Learning*
/// (2018). DDU, `utils/ensemble_utils.py`, has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensemble(pub EnsembleMeasure);

impl Detector for Ensemble {
    fn id(&self) -> ScoreId {
        match self.0 {
            EnsembleMeasure::Entropy => ScoreId::ENSEMBLE_ENTROPY,
            EnsembleMeasure::MutualInformation => ScoreId::ENSEMBLE_MUTUAL_INFORMATION,
        }
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let members = inputs.members();
        if members.is_empty() {
            return Err(Error::NeedsMembers);
        }
        let networks: Vec<_> = std::iter::once(logits)
            .chain(members.iter().map(|member| member.view()))
            .collect();
        let scores = ensemble_scores(&networks)?;
        Ok(match self.0 {
            EnsembleMeasure::Entropy => scores.softmax_entropy,
            EnsembleMeasure::MutualInformation => scores.mutual_information,
        })
    }
}
