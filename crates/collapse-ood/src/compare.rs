//! From scores to figures: every detector on every set.

use ndarray::Array1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::detector::{Fitted, Skipped};
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::metrics::{Bootstrap, BootstrapIntervals, Detection, Interval, Positive, Ranking, aurc};

/// The scores of one set of samples by every detector that could score it.
#[derive(Debug)]
pub struct Scored {
    /// Name of the set.
    pub set: String,
    /// One confidence a sample for every detector, in the order of the detectors.
    pub scores: Vec<(&'static str, Array1<f64>)>,
    /// Detectors that could not score the set, with the reason.
    pub failed: Vec<Skipped>,
}

impl Scored {
    /// The scores of one detector.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Array1<f64>> {
        let found = self.scores.iter().find(|(score, _)| *score == name);
        found.map(|(_, values)| values)
    }
}

/// What is computed beside the figures themselves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Level of DeLong's interval of the AUROC, between 0 and 1.
    pub level: f64,
    /// Bootstrap of every figure, where wanted.
    pub bootstrap: Option<Bootstrap>,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            level: 0.95,
            bootstrap: None,
        }
    }
}

/// How one score tells one out-of-distribution set from the in-distribution test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The score.
    pub score: String,
    /// The out-of-distribution set.
    pub set: String,
    /// In-distribution samples.
    pub n_id: usize,
    /// Out-of-distribution samples.
    pub n_ood: usize,
    /// The figures, each in 0..=1.
    #[serde(flatten)]
    pub detection: Detection,
    /// Area under the precision–recall curve with ID positive by the trapezoidal rule, as OpenOOD has it.
    pub aupr_in_trapezoid: f64,
    /// The same with OoD positive.
    pub aupr_out_trapezoid: f64,
    /// DeLong's interval of the AUROC; `None` when a set has one sample only.
    pub auroc_interval: Option<Interval>,
    /// Bootstrap intervals, where asked for.
    pub bootstrap: Option<BootstrapIntervals>,
}

impl Fitted {
    /// Scores a set by every detector, in one pass.
    #[must_use]
    pub fn score_set(&self, set: &str, inputs: &Inputs) -> Scored {
        let mut scored = Scored {
            set: set.to_owned(),
            scores: Vec::new(),
            failed: Vec::new(),
        };
        for (name, outcome) in self.score_all(inputs) {
            match outcome {
                Ok(values) => scored.scores.push((name, values)),
                Err(error) => scored.failed.push(Skipped {
                    name: name.to_owned(),
                    reason: format!("{set}: {error}"),
                }),
            }
        }
        scored
    }
}

/// Every score on every out-of-distribution set, score by score.
///
/// # Errors
/// [`Error::NotANumber`], and [`Error::Setting`] for intervals outside their range.
pub fn compare(id: &Scored, ood: &[Scored], intervals: &Intervals) -> Result<Vec<Comparison>> {
    let pairs: Vec<(&str, &Array1<f64>, &str, &Array1<f64>)> = id
        .scores
        .iter()
        .flat_map(|(name, id)| {
            ood.iter()
                .filter_map(move |set| Some((*name, id, set.set.as_str(), set.get(name)?)))
        })
        .collect();
    let one = |&(score, id, set, ood): &(&str, &Array1<f64>, &str, &Array1<f64>)| {
        let ranking = Ranking::new(&id.to_vec(), &ood.to_vec())?;
        let bootstrap = intervals
            .bootstrap
            .map(|bootstrap| bootstrap.intervals_of(&ranking));
        Ok(Comparison {
            score: score.to_owned(),
            set: set.to_owned(),
            n_id: id.len(),
            n_ood: ood.len(),
            detection: ranking.detection(),
            aupr_in_trapezoid: ranking.trapezoidal_aupr(Positive::Id),
            aupr_out_trapezoid: ranking.trapezoidal_aupr(Positive::Ood),
            auroc_interval: match ranking.delong_interval(intervals.level) {
                Ok(interval) => Some(interval),
                Err(Error::Undefined { .. }) => None,
                Err(error) => return Err(error),
            },
            bootstrap: bootstrap.transpose()?,
        })
    };
    pairs.par_iter().map(one).collect()
}

/// [`aurc`] of every score on the in-distribution test set: how well it orders the network's own mistakes.
///
/// # Errors
/// As [`aurc`].
pub fn risk_coverage(id: &Scored, correct: &[bool]) -> Result<Vec<(&'static str, f64)>> {
    let area = |(name, scores): &(&'static str, Array1<f64>)| {
        Ok((*name, aurc(&scores.to_vec(), correct)?))
    };
    id.scores.iter().map(area).collect()
}
