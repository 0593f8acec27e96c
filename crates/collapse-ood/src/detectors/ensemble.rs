//! Several networks that look at the same samples.

use collapse_numeric::Softmax;
use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
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

impl Ensemble {
    /// Both terms for one sample, from one softmax and the logits under it for each network.
    fn value(self, networks: &[(Softmax, Vec<f64>)]) -> f64 {
        let count = networks.len() as f64;
        let n_classes = networks.first().map_or(0, |(_, logits)| logits.len());
        let mut sum = 0.0;
        for class in 0..n_classes {
            let log_p = |(softmax, logits): &(Softmax, Vec<f64>)| -softmax.loss(logits[class]);
            let log_ps: Vec<f64> = networks.iter().map(log_p).collect();
            let log_mean = match networks.iter().all(|(softmax, _)| softmax.top() == class) {
                // Keeps its digits where all are nearly 1.
                true => {
                    let doubt: f64 = networks.iter().map(|(softmax, _)| softmax.doubt()).sum();
                    (-doubt / count).ln_1p()
                }
                false => {
                    let largest = log_ps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let weights = log_ps.iter().map(|log_p| (log_p - largest).exp());
                    largest + (weights.sum::<f64>() / count).ln()
                }
            };
            sum += match self.0 {
                EnsembleMeasure::Entropy => product(log_mean, log_mean),
                EnsembleMeasure::MutualInformation => {
                    let terms = log_ps.iter().map(|log_p| product(*log_p, log_mean - log_p));
                    terms.sum::<f64>() / count
                }
            };
        }
        // Rounding may carry a vanishing information past zero.
        sum.min(0.0)
    }
}

/// exp(log_p) · factor, zero with p.
fn product(log_p: f64, factor: f64) -> f64 {
    match log_p.exp() {
        0.0 => 0.0,
        p => p * factor,
    }
}

impl Detector for Ensemble {
    fn id(&self) -> ScoreId {
        ScoreId::new(match self.0 {
            EnsembleMeasure::Entropy => "ensemble_entropy",
            EnsembleMeasure::MutualInformation => "ensemble_mutual_information",
        })
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let logits = inputs.logits_for()?;
        let members = inputs.members();
        if members.is_empty() {
            return Err(Error::NeedsMembers);
        }
        let of_row = |row: usize| {
            let network =
                |logits: ndarray::ArrayView1<f64>| (Softmax::of(logits, 1.0), logits.to_vec());
            let others = members.iter().map(|member| network(member.row(row)));
            let networks: Vec<_> = std::iter::once(network(logits.row(row)))
                .chain(others)
                .collect();
            self.value(&networks)
        };
        Ok((0..logits.nrows()).map(of_row).collect())
    }
}
