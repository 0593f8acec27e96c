//! Differences of means by Student's t: paired, over strata, unpaired, and tests of equivalence.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::permutation::{Permutation, relabel, sign_flip};
use super::{mean, summarize};

/// A difference of means with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the first minus mean of the second; over strata, the mean of the strata's means.
    pub mean: f64,
    /// Standard error of the mean; `None` where a side or stratum has one value.
    pub error: Option<f64>,
    /// Degrees of freedom of the standard error (Welch and Satterthwaite's where sides or strata
    /// differ in variance).
    pub degrees: f64,
    /// Two-sided permutation test of no difference: signs flipped for pairs, labels permuted else.
    pub permutation: Permutation,
    /// Number of pairs, or of values on both sides together.
    pub n: usize,
}

impl Difference {
    /// Student's t interval at `level` (e.g. 0.95); `None` without a standard error and for a
    /// level outside 0..1.
    #[must_use]
    pub fn interval(&self, level: f64) -> Option<(f64, f64)> {
        let half = half_width(self.error?, self.degrees, level)?;
        Some((self.mean - half, self.mean + half))
    }

    /// Two-sided p-value of the t test against a true difference of `threshold`.
    #[must_use]
    pub fn p_value(&self, threshold: f64) -> Option<f64> {
        let gap = (self.mean - threshold).abs();
        Some((2.0 * upper_tail(gap, self.error?, self.degrees)?).min(1.0))
    }

    /// The larger p-value of the two one-sided t tests of |true difference| < `margin` (Schuirmann 1987); `None`
    /// without a standard error and for a margin not above 0.
    #[must_use]
    pub fn equivalence(&self, margin: f64) -> Option<f64> {
        let tail = |gap: f64| upper_tail(gap, self.error?, self.degrees);
        (margin > 0.0).then_some(())?;
        Some(tail(margin - self.mean)?.max(tail(margin + self.mean)?))
    }
}

/// P(T · error > gap) for T of Student's distribution.
fn upper_tail(gap: f64, error: f64, degrees: f64) -> Option<f64> {
    if error == 0.0 {
        return Some(if gap > 0.0 {
            0.0
        } else if gap == 0.0 {
            0.5
        } else {
            1.0
        });
    }
    Some(StudentsT::new(0.0, 1.0, degrees).ok()?.sf(gap / error))
}

fn half_width(error: f64, degrees: f64, level: f64) -> Option<f64> {
    (level > 0.0 && level < 1.0).then_some(())?;
    if error == 0.0 {
        return Some(0.0);
    }
    let quantile = StudentsT::new(0.0, 1.0, degrees)
        .ok()?
        .inverse_cdf(0.5 + 0.5 * level);
    Some(quantile * error)
}

/// Student's t interval of the mean at `level`; `None` for fewer than two values and for a level
/// outside 0..1.
#[must_use]
pub fn t_interval(values: &[f64], level: f64) -> Option<(f64, f64)> {
    let summary = summarize(values)?;
    let n = summary.n as f64;
    let half = half_width(summary.std? / n.sqrt(), n - 1.0, level)?;
    Some((summary.mean - half, summary.mean + half))
}

/// Mean of first − second, pair by pair; `None` for different lengths, without pairs and where a
/// value is not finite.
#[must_use]
pub fn paired_difference(first: &[f64], second: &[f64]) -> Option<Difference> {
    if first.len() != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    stratified_difference(&[differences])
}

/// Mean over strata of each stratum's mean difference, so that every stratum weighs the same
/// however many pairs it has.
///
/// The standard error is √(Σ s²/n) / K over K strata, with Welch and Satterthwaite's degrees of
/// freedom; the permutation flips the signs of all pairs independently. `None` without strata,
/// for an empty one and where a value is not finite.
#[must_use]
pub fn stratified_difference(strata: &[Vec<f64>]) -> Option<Difference> {
    let summaries: Vec<_> = strata
        .iter()
        .map(|values| summarize(values))
        .collect::<Option<_>>()?;
    if summaries.is_empty() {
        return None;
    }
    let k = summaries.len() as f64;
    let parts: Option<Vec<(f64, f64)>> = summaries
        .iter()
        .map(|s| Some((s.std?.powi(2) / s.n as f64, s.n as f64 - 1.0)))
        .collect();
    let (error, degrees) = parts.map_or((None, f64::NAN), |parts| {
        let (variance, degrees) = combined(&parts);
        (Some(variance.sqrt() / k), degrees)
    });
    Some(Difference {
        mean: summaries.iter().map(|s| s.mean).sum::<f64>() / k,
        error,
        degrees,
        permutation: sign_flip(strata),
        n: strata.iter().map(Vec::len).sum(),
    })
}

/// Sum of independent variances (variance, degrees) and its degrees by Welch and Satterthwaite.
fn combined(parts: &[(f64, f64)]) -> (f64, f64) {
    let variance: f64 = parts.iter().map(|(v, _)| v).sum();
    if variance == 0.0 {
        return (0.0, parts.iter().map(|(_, d)| d).sum());
    }
    let denominator: f64 = parts.iter().map(|(v, d)| v.powi(2) / d).sum();
    (variance, variance.powi(2) / denominator)
}

/// Unpaired difference of means by Welch's t, with a permutation of the labels.
#[must_use]
pub fn unpaired_difference(first: &[f64], second: &[f64]) -> Option<Difference> {
    let (a, b) = (summarize(first)?, summarize(second)?);
    let parts = a.std.zip(b.std).map(|(sa, sb)| {
        let part = |s: f64, n: usize| (s.powi(2) / n as f64, n as f64 - 1.0);
        combined(&[part(sa, a.n), part(sb, b.n)])
    });
    Some(Difference {
        mean: a.mean - b.mean,
        error: parts.map(|(variance, _)| variance.sqrt()),
        degrees: parts.map_or(f64::NAN, |(_, degrees)| degrees),
        permutation: relabel(first, second, |a, b| mean(a) - mean(b)),
        n: a.n + b.n,
    })
}

/// Two one-sided tests of |true mean| < margin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equivalence {
    /// Mean difference.
    pub mean: f64,
    /// 90 % t interval: inside ±margin exactly where the 5 % test says "equivalent".
    pub interval: (f64, f64),
    /// The larger p-value of the two one-sided tests.
    pub p_value: f64,
}

/// Whether paired `differences` are equivalent to 0 within ±`margin` (Schuirmann 1987).
///
/// `None` for fewer than two differences, where one is not finite, and for a margin not above 0.
#[must_use]
pub fn equivalence(differences: &[f64], margin: f64) -> Option<Equivalence> {
    let found = stratified_difference(&[differences.to_vec()])?;
    Some(Equivalence {
        mean: found.mean,
        interval: found.interval(0.9)?,
        p_value: found.equivalence(margin)?,
    })
}
