//! From a confidence to a decision: where to accept a sample, and how sure that place is.

use collapse_numeric::rows_by_class;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use super::intervals::{Interval, check_level};
use crate::error::{Error, Result};

/// A threshold of one score: a sample is accepted as in-distribution where its confidence is at least
/// [`value`](Self::value).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The least confidence that is accepted; −∞ where the held-out samples are too few to reject anything.
    pub value: f64,
    /// Share of in-distribution samples that is accepted in expectation, at least; 0..=1.
    pub accept: f64,
    /// Held-out samples behind it.
    pub n: usize,
    /// Where the share accepted by this very threshold lies, for scores without ties: other held-out samples would have
    /// given another threshold.
    pub share: Interval,
}

impl Threshold {
    /// Chooses the threshold on the confidences of in-distribution samples that nothing was fitted on.
    ///
    /// Of a fresh in-distribution sample, exchangeable with the n held-out ones, the chance of acceptance is at least
    /// `accept` and, without ties, at most `accept + 1 / (n + 1)`: the threshold is the k-th smallest confidence with
    /// k = ⌊(1 − accept)(n + 1)⌋. The share accepted by that threshold is distributed as Beta(n + 1 − k, k); `share` is its
    /// central interval at `level`.
    ///
    /// Source: Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World* (2005); for the distribution, Vovk,
    /// *Conditional validity of inductive conformal predictors* (2012).
    ///
    /// # Errors
    /// [`Error::Undefined`] without samples, [`Error::NotANumber`], [`Error::Setting`] for an `accept` or a `level` that is
    /// not between 0 and 1.
    pub fn conformal(held_out: &[f64], accept: f64, level: f64) -> Result<Self> {
        if !(accept > 0.0 && accept < 1.0) {
            return Err(Error::Setting {
                name: "the share to accept",
                value: accept.to_string(),
                expected: "between 0 and 1".into(),
            });
        }
        check_level(level)?;
        let n = held_out.len();
        if n == 0 {
            return Err(Error::undefined("a threshold", "there are no samples"));
        }
        if let Some(index) = held_out.iter().position(|confidence| confidence.is_nan()) {
            return Err(Error::NotANumber {
                what: "held_out",
                index,
            });
        }
        // Rounding must not carry a whole product, 0.05 · 20 say, below itself.
        let rank = ((1.0 - accept) * (n as f64 + 1.0) * (1.0 + 4.0 * f64::EPSILON)).floor();
        let rank = (rank as usize).min(n);
        let mut sorted = held_out.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (value, share) = match rank.checked_sub(1) {
            None => (
                f64::NEG_INFINITY,
                Interval {
                    low: 1.0,
                    high: 1.0,
                },
            ),
            Some(index) => (
                sorted[index],
                central(n as f64 + 1.0 - rank as f64, rank as f64, level),
            ),
        };
        Ok(Self {
            value,
            accept,
            n,
            share,
        })
    }

    /// A threshold for every class that the network may predict, `[C]`, each chosen by [`conformal`](Self::conformal) on the
    /// held-out samples of that predicted class, `classes` `[N]`.
    ///
    /// Of a fresh in-distribution sample, exchangeable with the held-out ones, the chance of acceptance *given its predicted
    /// class* is at least `accept`, whatever the class. A class with too few samples, fewer than 19 at 0.95, rejects nothing.
    ///
    /// Source: Vovk, *Conditional validity of inductive conformal predictors* (2012), label-conditional there.
    ///
    /// # Errors
    /// As [`conformal`](Self::conformal); [`Error::Shape`] for another number of classes than of confidences;
    /// [`Error::Numeric`] for a class that is not below `n_classes`.
    pub fn conformal_by_class(
        held_out: &[f64],
        classes: &[usize],
        n_classes: usize,
        accept: f64,
        level: f64,
    ) -> Result<Vec<Self>> {
        if classes.len() != held_out.len() {
            return Err(Error::Shape {
                what: "classes",
                found: format!("{} entries", classes.len()),
                expected: format!("{}, one for each confidence", held_out.len()),
            });
        }
        // The whole set tells what is wrong with the confidences and the shares.
        Self::conformal(held_out, accept, level)?;
        let members = rows_by_class(classes, classes.len(), n_classes)?;
        let of_class = |rows: Vec<usize>| match rows.is_empty() {
            true => Ok(Self::accepting_all(accept)),
            false => {
                let own: Vec<f64> = rows.into_iter().map(|row| held_out[row]).collect();
                Self::conformal(&own, accept, level)
            }
        };
        members.into_iter().map(of_class).collect()
    }

    /// The threshold of no held-out samples, which rejects nothing.
    #[must_use]
    pub fn accepting_all(accept: f64) -> Self {
        Self {
            value: f64::NEG_INFINITY,
            accept,
            n: 0,
            share: Interval {
                low: 1.0,
                high: 1.0,
            },
        }
    }

    /// Whether a sample of this confidence is taken as in-distribution.
    #[must_use]
    pub fn accepts(&self, confidence: f64) -> bool {
        confidence >= self.value
    }
}

/// The interval of a share of which `hits` of `n` samples were seen, which covers it with probability `level` at least.
///
/// Source: Clopper and Pearson (1934).
///
/// # Errors
/// [`Error::Undefined`] without samples or with more hits than samples; [`Error::Setting`] when `level` is not between 0
/// and 1.
pub fn share_interval(hits: usize, n: usize, level: f64) -> Result<Interval> {
    check_level(level)?;
    if n == 0 || hits > n {
        let reason = format!("{hits} of {n} samples");
        return Err(Error::undefined("a share", reason));
    }
    let (k, n) = (hits as f64, n as f64);
    let low = if hits == 0 {
        0.0
    } else {
        central(k, n - k + 1.0, level).low
    };
    let high = if k == n {
        1.0
    } else {
        central(k + 1.0, n - k, level).high
    };
    Ok(Interval { low, high })
}

/// The central interval of Beta(a, b), a and b positive.
fn central(a: f64, b: f64, level: f64) -> Interval {
    let tail = 0.5 * (1.0 - level);
    match Beta::new(a, b) {
        Ok(beta) => Interval {
            low: beta.inverse_cdf(tail),
            high: beta.inverse_cdf(1.0 - tail),
        },
        // Positive parameters always make a distribution.
        Err(_) => Interval {
            low: 0.0,
            high: 1.0,
        },
    }
}
