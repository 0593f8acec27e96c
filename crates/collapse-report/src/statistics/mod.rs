//! Statistics over seeds: summaries, intervals, permutation tests, rank associations, equivalence.
//!
//! Formulas and the reasons for each choice stand in `docs/method.md`. Everything is
//! deterministic: random permutations draw from a named stream.

mod permutation;
mod rank;
mod student;

pub use permutation::{
    Permutation, RESAMPLES, WorstCase, holm, kolmogorov_smirnov, relabel, sign_flip,
    worst_case_difference,
};
pub use rank::{association_within_groups, spearman};
pub use student::{
    Difference, Equivalence, equivalence, paired_difference, stratified_difference, t_interval,
    unpaired_difference,
};

/// Mean, spread and extremes of one figure over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with divisor n−1; `None` for one value.
    pub std: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Median; the mean of the middle two for an even count.
    pub median: f64,
    /// Number of values.
    pub n: usize,
}

/// The summary of `values`; `None` when they are empty or one is not finite.
#[must_use]
pub fn summarize(values: &[f64]) -> Option<Summary> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let middle = n / 2;
    let median = if n % 2 == 1 {
        sorted[middle]
    } else {
        0.5 * (sorted[middle - 1] + sorted[middle])
    };
    Some(Summary {
        mean: mean(values),
        std: (n > 1).then(|| variance(values).sqrt()),
        min: sorted[0],
        max: sorted[n - 1],
        median,
        n,
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With divisor n−1.
fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}
