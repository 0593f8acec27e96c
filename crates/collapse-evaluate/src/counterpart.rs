//! The density on the form of the features that the head does not see.
//!
//! Training with normalisation and normalising afterwards are two things; a claim about the first needs both densities
//! of every network.

use collapse_ood::metrics::detection;
use collapse_ood::{Fitted, Inputs, Settings, TrainInputs, fit_named};
use collapse_results::{OodResult, ScoreId, SetId, Skipped};

use crate::error::{Error, Result};
use crate::evaluation::{Evaluation, MAIN_SCORE};
use crate::record::recorded;
use crate::splits::{CompleteSplits, Split};

impl CompleteSplits {
    /// The record of a run's evaluation after `epoch`, with the Gaussians on the other form of the features:
    /// [`ScoreId::GMM_RAW`] where the head sees normalised ones, [`ScoreId::GMM_UNIT`] where it sees raw ones.
    ///
    /// # Errors
    /// As [`Evaluation::record`]. Gaussians that cannot be fitted or applied are listed as skipped with the reason.
    pub fn record(
        &self,
        evaluation: &Evaluation,
        epoch: usize,
    ) -> Result<collapse_results::Evaluation> {
        let mut record = evaluation.record(epoch)?;
        let score = match self.test().features.l2() {
            true => ScoreId::GMM_RAW,
            false => ScoreId::GMM_UNIT,
        };
        match self.density_of_counterpart(&score) {
            Ok(found) => record.ood.extend(found),
            Err(error) => record.skipped.push(Skipped {
                score,
                reason: error.to_string(),
            }),
        }
        Ok(record)
    }

    fn density_of_counterpart(&self, score: &ScoreId) -> Result<Vec<OodResult>> {
        let train = self.train().ok_or(Error::NoTraining)?;
        let Some(labels) = &train.features.labels else {
            return Err(Error::NoLabels {
                origin: train.origin.clone(),
                purpose: "fit detectors",
            });
        };
        let inputs = TrainInputs::new(counterpart(train)?, labels);
        let fitted = inputs
            .and_then(|inputs| fit_named(&inputs, &Settings::default(), [MAIN_SCORE.as_str()]))
            .map_err(Error::within(&train.origin))?;
        let test = scored(&fitted, self.test())?;
        self.ood()
            .iter()
            .map(|set| {
                let found = detection(&test, &scored(&fitted, set)?);
                Ok(OodResult {
                    set: SetId::from(set.name.as_str()),
                    score: score.clone(),
                    detection: recorded(&found.map_err(Error::within(&set.origin))?),
                })
            })
            .collect()
    }
}

/// The features of a set in the form that the head does not see.
fn counterpart(split: &Split) -> Result<Inputs<'_>> {
    let set = &split.features;
    Inputs::of_features(set.features.view(), !set.l2()).map_err(Error::within(&split.origin))
}

/// The scores `[N]` of the one fitted detector.
fn scored(fitted: &Fitted, split: &Split) -> Result<Vec<f64>> {
    let scores = fitted.score_all(&counterpart(split)?);
    let one = scores.into_iter().map(|(_, outcome)| outcome).next();
    let values = one.ok_or(Error::NoTraining)?;
    Ok(values.map_err(Error::within(&split.origin))?.to_vec())
}
