//! From scores to figures: every detector on every set.

use collapse_results::ScoreId;
use ndarray::Array1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fitted::Scored;
use crate::metrics::{
    Bootstrap, BootstrapIntervals, Detection, Interval, Positive, Ranking, augrc, aurc,
};

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
    pub score: ScoreId,
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

/// Every score on every out-of-distribution set, score by score.
///
/// # Errors
/// [`Error::NotANumber`], and [`Error::Setting`] for intervals outside their range.
pub fn compare(id: &Scored, ood: &[Scored], intervals: &Intervals) -> Result<Vec<Comparison>> {
    type Pair<'a> = (&'a ScoreId, &'a Array1<f64>, &'a str, &'a Array1<f64>);
    let of_score = |(score, id)| {
        ood.iter()
            .filter_map(move |set| Some((score, id, set.set.as_str(), set.get(score)?)))
    };
    let scores = id.scores.iter().map(|(score, values)| (score, values));
    let pairs: Vec<Pair> = scores.flat_map(of_score).collect();
    let one = |&(score, id, set, ood): &Pair| {
        let ranking = Ranking::new(&id.to_vec(), &ood.to_vec())?;
        let bootstrap = intervals
            .bootstrap
            .map(|bootstrap| bootstrap.intervals_of(&ranking));
        Ok(Comparison {
            score: score.clone(),
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

/// How well one score orders the network's own mistakes on the in-distribution test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskCoverage {
    /// The score.
    pub score: ScoreId,
    /// Area under the risk–coverage curve, see [`aurc`].
    pub aurc: f64,
    /// Area under the generalised risk–coverage curve, see [`augrc`].
    pub augrc: f64,
}

/// Both areas of every score on the in-distribution test set.
///
/// # Errors
/// As [`aurc`].
pub fn risk_coverage(id: &Scored, correct: &[bool]) -> Result<Vec<RiskCoverage>> {
    let areas = |(score, values): &(ScoreId, Array1<f64>)| {
        let confidences = values.to_vec();
        Ok(RiskCoverage {
            score: score.clone(),
            aurc: aurc(&confidences, correct)?,
            augrc: augrc(&confidences, correct)?,
        })
    };
    id.scores.iter().map(areas).collect()
}
