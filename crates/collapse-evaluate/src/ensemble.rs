//! Networks that differ in the seed alone, deciding together.

use collapse_features::FeatureSet;
use collapse_ood::metrics::{accuracy, detection};
use collapse_ood::{ensemble_scores, mean_softmax};
use collapse_results::{OodResult, ScoreId, SetId};
use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::record::recorded;

/// What every member of an ensemble says of one set: the same samples in the same order.
#[derive(Clone, Debug)]
pub struct EnsembleSet {
    /// The set's name in tables.
    pub name: SetId,
    /// One feature set a member, of which only logits and labels are read.
    pub members: Vec<FeatureSet>,
}

/// The figures of an ensemble.
#[derive(Clone, Debug, PartialEq)]
pub struct EnsembleFigures {
    /// Share of test samples that the mean softmax classifies rightly.
    pub accuracy: f64,
    /// Softmax entropy and mutual information against every out-of-distribution set.
    pub ood: Vec<OodResult>,
}

impl EnsembleSet {
    fn logits(&self) -> Result<Vec<ArrayView2<'_, f64>>> {
        let views = self.members.iter().map(|set| {
            let logits = set.logits.as_ref().map(|logits| logits.view());
            logits.ok_or_else(|| Error::NoLogits {
                origin: self.name.to_string(),
                purpose: "enter an ensemble",
            })
        });
        views.collect()
    }

    fn scores(&self) -> Result<[(ScoreId, Vec<f64>); 2]> {
        let found = ensemble_scores(&self.logits()?).map_err(Error::within(self.name.as_str()))?;
        Ok([
            (ScoreId::ENSEMBLE_ENTROPY, found.softmax_entropy.to_vec()),
            (
                ScoreId::ENSEMBLE_MUTUAL_INFORMATION,
                found.mutual_information.to_vec(),
            ),
        ])
    }
}

/// Accuracy of an ensemble on `test`, and how its two scores tell every set of `ood` from it.
///
/// # Errors
/// [`Error::NoLogits`]; [`Error::NoLabels`] for test sets without labels; [`Error::In`] for fewer than two members, for
/// members that disagree in shape or in the test labels, and for figures that do not exist.
pub fn evaluate_ensemble(test: &EnsembleSet, ood: &[EnsembleSet]) -> Result<EnsembleFigures> {
    let labels: Vec<&[usize]> = test
        .members
        .iter()
        .map(|set| {
            set.labels.as_deref().ok_or_else(|| Error::NoLabels {
                origin: test.name.to_string(),
                purpose: "tell the accuracy of an ensemble",
            })
        })
        .collect::<Result<_>>()?;
    let within = || Error::within(test.name.as_str());
    if let Some(other) = labels.iter().find(|other| **other != labels[0]) {
        return Err(within()(collapse_ood::Error::Shape {
            what: "the test labels of an ensemble's member",
            found: format!("{} labels in another order", other.len()),
            expected: "those of the first member".to_owned(),
        }));
    }
    let mean = mean_softmax(&test.logits()?).map_err(within())?;
    let accuracy = accuracy(mean.view(), labels[0]).map_err(within())?;
    let inside = test.scores()?;
    let mut results = Vec::new();
    for set in ood {
        for ((score, inside), (_, outside)) in inside.iter().zip(set.scores()?) {
            let found = detection(inside, &outside).map_err(Error::within(set.name.as_str()))?;
            results.push(OodResult {
                set: set.name.clone(),
                score: score.clone(),
                detection: recorded(&found),
            });
        }
    }
    Ok(EnsembleFigures {
        accuracy,
        ood: results,
    })
}
