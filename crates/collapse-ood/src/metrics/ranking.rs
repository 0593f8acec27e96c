//! Scores of the two sets in order, and everything that follows from the order alone.

use rayon::join;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which set counts as the positive class of a precision, recall or true-positive rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Positive {
    /// In-distribution samples are positive; a high score predicts them.
    Id,
    /// Out-of-distribution samples are positive; a low score predicts them.
    Ood,
}

/// A number of tied scores: how many in-distribution, how many out-of-distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ties {
    pub(crate) id: u64,
    pub(crate) ood: u64,
}

impl Ties {
    /// The counts of (positive, negative) samples.
    fn split(self, positive: Positive) -> (u64, u64) {
        match positive {
            Positive::Id => (self.id, self.ood),
            Positive::Ood => (self.ood, self.id),
        }
    }
}

/// In-distribution and out-of-distribution scores, sorted once for all metrics.
///
/// −0.0 ties with 0.0; infinities are ordinary scores.
#[derive(Debug, Clone)]
pub struct Ranking {
    id: Vec<u64>,
    ood: Vec<u64>,
}

impl Ranking {
    /// Sorts the scores, in O(N) by radix.
    ///
    /// # Errors
    /// [`Error::Undefined`] when a set is empty, [`Error::NotANumber`] with the index of a NaN.
    pub fn new(id: &[f64], ood: &[f64]) -> Result<Self> {
        let (id, ood) = join(
            || sorted_keys("id scores", id),
            || sorted_keys("ood scores", ood),
        );
        Ok(Self { id: id?, ood: ood? })
    }

    /// Numbers of in-distribution and out-of-distribution scores.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.id.len(), self.ood.len())
    }

    /// Groups of tied scores, from the largest score down.
    pub(crate) fn descending(&self) -> impl Iterator<Item = Ties> {
        merge(
            &self.id,
            &self.ood,
            |keys, position| keys[keys.len() - 1 - position],
            |a, b| a > b,
        )
    }

    /// Groups of tied scores, from the smallest score up.
    pub(crate) fn ascending(&self) -> impl Iterator<Item = Ties> {
        merge(
            &self.id,
            &self.ood,
            |keys, position| keys[position],
            |a, b| a < b,
        )
    }

    /// The groups in the order in which `positive` comes first.
    pub(crate) fn towards(&self, positive: Positive) -> Box<dyn Iterator<Item = Ties> + '_> {
        match positive {
            Positive::Id => Box::new(self.descending()),
            Positive::Ood => Box::new(self.ascending()),
        }
    }
}

fn merge<'a>(
    id: &'a [u64],
    ood: &'a [u64],
    at: impl Fn(&[u64], usize) -> u64 + 'a,
    before: impl Fn(u64, u64) -> bool + 'a,
) -> impl Iterator<Item = Ties> + 'a {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let key = match (i < id.len(), j < ood.len()) {
            (true, true) => {
                let (a, b) = (at(id, i), at(ood, j));
                if before(a, b) { a } else { b }
            }
            (true, false) => at(id, i),
            (false, true) => at(ood, j),
            (false, false) => return None,
        };
        let (first_id, first_ood) = (i, j);
        while i < id.len() && at(id, i) == key {
            i += 1;
        }
        while j < ood.len() && at(ood, j) == key {
            j += 1;
        }
        Some(Ties {
            id: (i - first_id) as u64,
            ood: (j - first_ood) as u64,
        })
    })
}

/// Maps scores to integers of the same order and sorts them.
fn sorted_keys(what: &'static str, scores: &[f64]) -> Result<Vec<u64>> {
    if scores.is_empty() {
        return Err(Error::undefined(
            "a detection metric",
            format!("there are no {what}; give at least one of each set"),
        ));
    }
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(Error::NotANumber { what, index });
    }
    let key = |score: &f64| {
        // Adding zero turns −0.0 into 0.0.
        let bits = (score + 0.0).to_bits();
        if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        }
    };
    let mut keys: Vec<u64> = scores.iter().map(key).collect();
    if keys.len() < 4096 {
        keys.sort_unstable();
    } else {
        radix_sort(&mut keys);
    }
    Ok(keys)
}

/// Least-significant-digit radix sort; digits in which all keys agree cost nothing.
fn radix_sort(keys: &mut Vec<u64>) {
    const BITS: usize = 11;
    const DIGITS: usize = 64usize.div_ceil(BITS);
    const SIZE: usize = 1 << BITS;
    let digit = |key: u64, place: usize| (key >> (place * BITS)) as usize & (SIZE - 1);

    let mut counts = vec![[0usize; SIZE]; DIGITS];
    for &key in keys.iter() {
        for (place, count) in counts.iter_mut().enumerate() {
            count[digit(key, place)] += 1;
        }
    }
    let mut sorted = vec![0u64; keys.len()];
    for (place, count) in counts.iter_mut().enumerate() {
        if count.contains(&keys.len()) {
            continue;
        }
        let mut start = 0;
        for slot in count.iter_mut() {
            start += std::mem::replace(slot, start);
        }
        for &key in keys.iter() {
            let slot = &mut count[digit(key, place)];
            sorted[*slot] = key;
            *slot += 1;
        }
        std::mem::swap(keys, &mut sorted);
    }
}

/// P(id > ood) + ½ P(id = ood).
pub(crate) fn area(groups: impl Iterator<Item = Ties>, n_id: u64, n_ood: u64) -> f64 {
    let mut below = u128::from(n_ood);
    let mut doubled = 0u128;
    for ties in groups {
        below -= u128::from(ties.ood);
        doubled += u128::from(ties.id) * (2 * below + u128::from(ties.ood));
    }
    doubled as f64 / (2.0 * n_id as f64 * n_ood as f64)
}

/// Step-wise and trapezoidal areas under the precision–recall curve.
pub(crate) struct PrecisionRecall {
    pub(crate) step: f64,
    pub(crate) trapezoid: f64,
}

/// `groups` come with the positive end first.
pub(crate) fn precision_recall(
    groups: impl Iterator<Item = Ties>,
    positive: Positive,
    n_positive: u64,
) -> PrecisionRecall {
    let mut area = PrecisionRecall {
        step: 0.0,
        trapezoid: 0.0,
    };
    let (mut true_positives, mut all) = (0u64, 0u64);
    let mut last = 1.0;
    for ties in groups {
        let (hits, misses) = ties.split(positive);
        true_positives += hits;
        all += hits + misses;
        let precision = true_positives as f64 / all as f64;
        // In whole samples, so that a perfect ranking sums to exactly 1.
        area.step += hits as f64 * precision;
        area.trapezoid += hits as f64 * 0.5 * (precision + last);
        last = precision;
        if true_positives == n_positive {
            break;
        }
    }
    area.step /= n_positive as f64;
    area.trapezoid /= n_positive as f64;
    area
}

/// False-positive rate at the first threshold whose true-positive rate reaches `level`.
pub(crate) fn fpr_at(
    groups: impl Iterator<Item = Ties>,
    positive: Positive,
    (n_positive, n_negative): (u64, u64),
    level: f64,
) -> f64 {
    let (mut true_positives, mut false_positives) = (0u64, 0u64);
    for ties in groups {
        let (hits, misses) = ties.split(positive);
        true_positives += hits;
        false_positives += misses;
        if true_positives as f64 / n_positive as f64 >= level {
            break;
        }
    }
    false_positives as f64 / n_negative as f64
}

/// The least ½ (share of ID rejected + share of OoD accepted) over all thresholds.
pub(crate) fn least_error(groups: impl Iterator<Item = Ties>, n_id: u64, n_ood: u64) -> f64 {
    let (mut accepted_id, mut accepted_ood) = (0u64, 0u64);
    let mut least = 0.5;
    for ties in groups {
        accepted_id += ties.id;
        accepted_ood += ties.ood;
        let rejected = (n_id - accepted_id) as f64 / n_id as f64;
        least = f64::min(least, 0.5 * (rejected + accepted_ood as f64 / n_ood as f64));
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radix_sort_agrees_with_the_standard_sort() {
        for bits in [1, 8, 17, 40, 64] {
            let mut state = 1u64;
            let mut keys: Vec<u64> = (0..10_000)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    state >> (64 - bits)
                })
                .collect();
            let mut expected = keys.clone();
            expected.sort_unstable();
            radix_sort(&mut keys);
            assert_eq!(keys, expected);
        }
    }

    #[test]
    fn groups_run_both_ways() {
        let ranking = Ranking::new(&[1.0, 0.0, f64::INFINITY], &[-0.0, 1.0, 1.0]).unwrap();
        let down: Vec<Ties> = ranking.descending().collect();
        let expected = [(1, 0), (1, 2), (1, 1)].map(|(id, ood)| Ties { id, ood });
        assert_eq!(down, expected);
        let mut up: Vec<Ties> = ranking.ascending().collect();
        up.reverse();
        assert_eq!(up, expected);
    }
}
