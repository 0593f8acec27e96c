//! Permutation tests: exact where all arrangements can be walked, else by random ones.

use collapse_random::Stream;

use super::summarize;

/// Random arrangements of a test that cannot enumerate all.
pub const RESAMPLES: usize = 10_000;

/// Largest number of arrangements that a test enumerates: fifteen pairs, the paper's seeds.
pub(super) const EXACT_LIMIT: u64 = 1 << 15;

/// Longest list of values of which every choice of labels is walked.
const LABEL_LIMIT: usize = 16;

/// A two-sided permutation test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Permutation {
    /// Share of arrangements at least as extreme as the observed one.
    pub p_value: f64,
    /// The smallest p-value that this number of values can give.
    pub smallest: f64,
    /// Whether every arrangement was enumerated.
    pub exact: bool,
}

/// Values this close to the observed statistic count as equal to it.
pub(super) fn as_extreme(value: f64, observed: f64) -> bool {
    value.abs() >= observed.abs() * (1.0 - 1e-12)
}

/// The test of an observed statistic against random arrangements of it.
///
/// The observed arrangement counts as one of them, so that p is never 0 (Phipson and Smyth 2010).
pub(super) fn at_random(
    purpose: &str,
    observed: f64,
    mut arranged: impl FnMut(&mut Stream) -> f64,
) -> Permutation {
    let mut stream = Stream::new(0, purpose, 0);
    let extreme = (0..RESAMPLES)
        .filter(|_| as_extreme(arranged(&mut stream), observed))
        .count();
    let total = (RESAMPLES + 1) as f64;
    Permutation {
        p_value: (extreme + 1) as f64 / total,
        smallest: 1.0 / total,
        exact: false,
    }
}

/// Flips the signs of all differences: the test of a symmetric difference around 0.
///
/// The statistic is the mean over strata of the strata's means. All 2ⁿ signs are walked up to
/// n = 15. p is 1 for no differences at all.
#[must_use]
pub fn sign_flip(strata: &[Vec<f64>]) -> Permutation {
    // A stratum's mean as a sum of weighted differences, so that one sum runs over all.
    let weighted: Vec<f64> = strata
        .iter()
        .flat_map(|values| values.iter().map(|v| v / values.len() as f64))
        .collect();
    let observed: f64 = weighted.iter().sum();
    by_signs("report-sign-flip", weighted.len(), observed, |flipped| {
        weighted
            .iter()
            .enumerate()
            .map(|(i, d)| if flipped(i) { -d } else { *d })
            .sum()
    })
}

/// Walks or draws arrangements of n switches.
fn by_signs(
    purpose: &str,
    n: usize,
    observed: f64,
    statistic: impl Fn(&dyn Fn(usize) -> bool) -> f64,
) -> Permutation {
    if n < 63 && 1u64 << n <= EXACT_LIMIT {
        let arrangements = 1u64 << n;
        let extreme = (0..arrangements)
            .filter(|mask| as_extreme(statistic(&|i| mask >> i & 1 == 1), observed))
            .count();
        return Permutation {
            p_value: extreme as f64 / arrangements as f64,
            smallest: (2.0 / arrangements as f64).min(1.0),
            exact: true,
        };
    }
    let mut switches = vec![false; n];
    at_random(purpose, observed, |stream| {
        switches.fill_with(|| stream.bits() >> 31 == 1);
        statistic(&|i| switches[i])
    })
}

/// Permutes the labels of two samples under `statistic`, e.g. a difference of means.
#[must_use]
pub fn relabel(
    first: &[f64],
    second: &[f64],
    statistic: impl Fn(&[f64], &[f64]) -> f64,
) -> Permutation {
    let pooled: Vec<f64> = first.iter().chain(second).copied().collect();
    let (n, k) = (pooled.len(), first.len());
    let observed = statistic(first, second);
    if n > LABEL_LIMIT {
        let mut shuffled = pooled;
        return at_random("report-relabel", observed, |stream| {
            stream.shuffle(&mut shuffled);
            statistic(&shuffled[..k], &shuffled[k..])
        });
    }
    let (mut extreme, mut count) = (0u64, 0u64);
    for mask in (0u64..1 << n).filter(|mask| mask.count_ones() as usize == k) {
        let side = |chosen: bool| -> Vec<f64> {
            (0..n)
                .filter(|i| (mask >> i & 1 == 1) == chosen)
                .map(|i| pooled[i])
                .collect()
        };
        count += 1;
        extreme += u64::from(as_extreme(statistic(&side(true), &side(false)), observed));
    }
    // Equal sides can be exchanged without a change of the size of a difference.
    let least = if 2 * k == n { 2.0 } else { 1.0 };
    Permutation {
        p_value: extreme as f64 / count as f64,
        smallest: (least / count as f64).min(1.0),
        exact: true,
    }
}

/// Largest distance between the empirical distributions of two samples, with a permutation test
/// of one common distribution; `None` without values on both sides and where one is not finite.
#[must_use]
pub fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> Option<(f64, Permutation)> {
    summarize(first).and(summarize(second))?;
    Some((distance(first, second), relabel(first, second, distance)))
}

fn distance(first: &[f64], second: &[f64]) -> f64 {
    let share = |values: &[f64], at: f64| {
        values.iter().filter(|v| **v <= at).count() as f64 / values.len() as f64
    };
    first
        .iter()
        .chain(second)
        .map(|&at| (share(first, at) - share(second, at)).abs())
        .fold(0.0, f64::max)
}

/// Difference of worst cases, min(first) − min(second).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorstCase {
    /// min(first) − min(second); over strata, the mean of the strata's.
    pub difference: f64,
    /// The swap permutation.
    pub permutation: Permutation,
    /// Number of pairs.
    pub n: usize,
}

/// Difference of the minima of paired values, in each stratum (first, second), with a test that
/// swaps the sides of pairs.
///
/// Under the null hypothesis the two values of a pair are exchangeable, so every pattern of swaps
/// is as likely. A bootstrap of a minimum is inconsistent (Bickel and Freedman 1981) and gives no
/// interval that holds, so there is none. `None` without strata, for an empty one and where a
/// value is not finite.
#[must_use]
pub fn worst_case_difference(strata: &[Vec<(f64, f64)>]) -> Option<WorstCase> {
    let pairs: usize = strata.iter().map(Vec::len).sum();
    let usable = |values: &Vec<(f64, f64)>| {
        !values.is_empty() && values.iter().all(|(a, b)| a.is_finite() && b.is_finite())
    };
    if strata.is_empty() || !strata.iter().all(usable) {
        return None;
    }
    let statistic = |swapped: &dyn Fn(usize) -> bool| {
        let mut start = 0;
        let mut sum = 0.0;
        for values in strata {
            let (mut first, mut second) = (f64::INFINITY, f64::INFINITY);
            for (i, &(a, b)) in values.iter().enumerate() {
                let (a, b) = if swapped(start + i) { (b, a) } else { (a, b) };
                first = first.min(a);
                second = second.min(b);
            }
            start += values.len();
            sum += first - second;
        }
        sum / strata.len() as f64
    };
    let difference = statistic(&|_| false);
    Some(WorstCase {
        difference,
        permutation: by_signs("report-worst-case", pairs, difference, statistic),
        n: pairs,
    })
}

/// Holm's correction: p-values that hold together at one level (Holm 1979), in the given order.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        let factor = (p_values.len() - rank) as f64;
        largest = largest.max((factor * p_values[index]).min(1.0));
        corrected[index] = largest;
    }
    corrected
}
