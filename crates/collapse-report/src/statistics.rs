//! Statistics over seeds: summaries, intervals, permutation tests and worst cases.
//!
//! Everything is deterministic: resampling draws from a ChaCha stream with a fixed seed.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Resamples of a bootstrap and of a random permutation test.
pub const RESAMPLES: usize = 10_000;

/// Largest number of arrangements that a permutation test enumerates exactly.
const EXACT_LIMIT: u64 = 20_000;

const STREAM_SEED: u64 = 0x636f_6c6c_6170_7365;

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

fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

fn t_quantile(probability: f64, degrees: f64) -> Option<f64> {
    Some(
        StudentsT::new(0.0, 1.0, degrees)
            .ok()?
            .inverse_cdf(probability),
    )
}

/// Student's t interval of the mean at `level` (e.g. 0.95); `None` for fewer than two values and for a level outside 0..1.
pub fn t_interval(values: &[f64], level: f64) -> Option<(f64, f64)> {
    (level > 0.0 && level < 1.0).then_some(())?;
    let summary = summarize(values)?;
    let half = t_quantile(0.5 + 0.5 * level, (summary.n as f64) - 1.0)? * summary.std?
        / (summary.n as f64).sqrt();
    Some((summary.mean - half, summary.mean + half))
}

/// Percentile bootstrap interval of `statistic` at `level`; `None` for fewer than two values and for a level outside 0..1.
pub fn bootstrap_interval(
    values: &[f64],
    level: f64,
    statistic: impl Fn(&[f64]) -> f64,
) -> Option<(f64, f64)> {
    (values.len() >= 2).then_some(())?;
    let indices: Vec<usize> = (0..values.len()).collect();
    bootstrap_items(&indices, level, |sample| {
        let drawn: Vec<f64> = sample.iter().map(|&i| values[i]).collect();
        statistic(&drawn)
    })
}

/// Percentile bootstrap over items (e.g. whole runs, so that figures of one run stay together).
/// Resamples on which the statistic is not finite are left out; `None` when none is left.
pub fn bootstrap_items<T: Copy>(
    items: &[T],
    level: f64,
    statistic: impl Fn(&[T]) -> f64,
) -> Option<(f64, f64)> {
    if items.is_empty() {
        return None;
    }
    let mut stream = ChaCha8Rng::seed_from_u64(STREAM_SEED);
    let mut sample = items.to_vec();
    let mut found = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for slot in &mut sample {
            *slot = items[below(&mut stream, items.len())];
        }
        let value = statistic(&sample);
        if value.is_finite() {
            found.push(value);
        }
    }
    percentile_interval(found, level)
}

fn percentile_interval(mut found: Vec<f64>, level: f64) -> Option<(f64, f64)> {
    if found.is_empty() || !(level > 0.0 && level < 1.0) {
        return None;
    }
    found.sort_by(f64::total_cmp);
    let at = |p: f64| quantile_sorted(&found, p);
    Some((at(0.5 - 0.5 * level), at(0.5 + 0.5 * level)))
}

/// Quantile by linear interpolation between order statistics (type 7).
fn quantile_sorted(sorted: &[f64], p: f64) -> f64 {
    let position = p * (sorted.len() - 1) as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (position - low as f64) * (sorted[high] - sorted[low])
}

fn below(stream: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(stream.next_u64()) * n as u128) >> 64) as usize
}

/// A difference of means with its interval and a permutation test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the first minus mean of the second.
    pub mean: f64,
    /// 95 % t interval (Welch for unpaired values).
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of the permutation test.
    pub p_value: f64,
    /// Whether every arrangement was enumerated.
    pub exact: bool,
    /// Number of pairs, or of values on both sides together.
    pub n: usize,
}

/// Paired difference: the t interval of the differences and a sign-flip test.
pub fn paired_difference(first: &[f64], second: &[f64]) -> Option<Difference> {
    if first.len() != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let summary = summarize(&differences)?;
    let (p_value, exact) = sign_flip(&differences);
    Some(Difference {
        mean: summary.mean,
        interval: t_interval(&differences, 0.95),
        p_value,
        exact,
        n: differences.len(),
    })
}

/// Unpaired difference: Welch's t interval and a permutation test of the labels.
pub fn unpaired_difference(first: &[f64], second: &[f64]) -> Option<Difference> {
    let (a, b) = (summarize(first)?, summarize(second)?);
    let interval = (|| {
        let (va, vb) = (a.std?.powi(2) / a.n as f64, b.std?.powi(2) / b.n as f64);
        if va + vb == 0.0 {
            return Some((a.mean - b.mean, a.mean - b.mean));
        }
        let degrees =
            (va + vb).powi(2) / (va.powi(2) / (a.n as f64 - 1.0) + vb.powi(2) / (b.n as f64 - 1.0));
        let half = t_quantile(0.975, degrees)? * (va + vb).sqrt();
        Some((a.mean - b.mean - half, a.mean - b.mean + half))
    })();
    let (p_value, exact) = relabel(first, second);
    Some(Difference {
        mean: a.mean - b.mean,
        interval,
        p_value,
        exact,
        n: a.n + b.n,
    })
}

/// Values this close to the observed statistic count as equal to it.
fn as_extreme(value: f64, observed: f64) -> bool {
    value.abs() >= observed.abs() * (1.0 - 1e-12)
}

fn sign_flip(differences: &[f64]) -> (f64, bool) {
    let n = differences.len();
    let observed: f64 = differences.iter().sum();
    if n < 63 && (1u64 << n) <= EXACT_LIMIT {
        let arrangements = 1u64 << n;
        let extreme = (0..arrangements)
            .filter(|mask| {
                let sum: f64 = differences
                    .iter()
                    .enumerate()
                    .map(|(i, d)| if mask >> i & 1 == 1 { -d } else { *d })
                    .sum();
                as_extreme(sum, observed)
            })
            .count();
        return (extreme as f64 / arrangements as f64, true);
    }
    let mut stream = ChaCha8Rng::seed_from_u64(STREAM_SEED);
    let extreme = (0..RESAMPLES)
        .filter(|_| {
            let sum: f64 = differences
                .iter()
                .map(|d| if stream.next_u64() >> 63 == 1 { -d } else { *d })
                .sum();
            as_extreme(sum, observed)
        })
        .count();
    ((extreme + 1) as f64 / (RESAMPLES + 1) as f64, false)
}

fn relabel(first: &[f64], second: &[f64]) -> (f64, bool) {
    let pooled: Vec<f64> = first.iter().chain(second).copied().collect();
    let (n, k) = (pooled.len(), first.len());
    let total: f64 = pooled.iter().sum();
    let gap = |sum: f64| sum / k as f64 - (total - sum) / (n - k) as f64;
    let observed = gap(first.iter().sum());
    if choose(n as u64, k as u64).is_some_and(|count| count <= EXACT_LIMIT) && n < 63 {
        let (mut extreme, mut count) = (0u64, 0u64);
        for mask in 0u64..1 << n {
            if mask.count_ones() as usize != k {
                continue;
            }
            let sum: f64 = (0..n)
                .filter(|i| mask >> i & 1 == 1)
                .map(|i| pooled[i])
                .sum();
            count += 1;
            extreme += u64::from(as_extreme(gap(sum), observed));
        }
        return (extreme as f64 / count as f64, true);
    }
    let mut stream = ChaCha8Rng::seed_from_u64(STREAM_SEED);
    let mut shuffled = pooled;
    let extreme = (0..RESAMPLES)
        .filter(|_| {
            for i in 0..k {
                let j = i + below(&mut stream, n - i);
                shuffled.swap(i, j);
            }
            as_extreme(gap(shuffled[..k].iter().sum()), observed)
        })
        .count();
    ((extreme + 1) as f64 / (RESAMPLES + 1) as f64, false)
}

fn choose(n: u64, k: u64) -> Option<u64> {
    // A mask is walked for every subset, so the enumeration also stays below 2^16.
    if n > 16 {
        return None;
    }
    Some((1..=k.min(n - k)).fold(1, |acc, i| acc * (n + 1 - i) / i))
}

/// Difference of the worst cases, min(first) − min(second), with a percentile bootstrap interval
/// in which both sides are resampled separately.
///
/// The bootstrap of an extreme is rough for few seeds: below five the interval is too narrow.
pub fn worst_case_difference(first: &[f64], second: &[f64]) -> Option<(f64, Option<(f64, f64)>)> {
    let (a, b) = (summarize(first)?, summarize(second)?);
    let interval = (a.n > 1 && b.n > 1).then(|| {
        let mut stream = ChaCha8Rng::seed_from_u64(STREAM_SEED);
        let found = (0..RESAMPLES)
            .map(|_| drawn_minimum(first, &mut stream) - drawn_minimum(second, &mut stream))
            .collect();
        percentile_interval(found, 0.95)
    });
    Some((a.min - b.min, interval.flatten()))
}

fn drawn_minimum(values: &[f64], stream: &mut ChaCha8Rng) -> f64 {
    (0..values.len())
        .map(|_| values[below(stream, values.len())])
        .fold(f64::INFINITY, f64::min)
}

/// Spearman's rank correlation with average ranks; `None` for fewer than three pairs or when one
/// side is constant.
pub fn spearman(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() || first.len() < 3 {
        return None;
    }
    let (a, b) = (ranks(first), ranks(second));
    let (ma, mb) = (mean(&a), mean(&b));
    let (mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        saa += (x - ma).powi(2);
        sbb += (y - mb).powi(2);
        sab += (x - ma) * (y - mb);
    }
    (saa > 0.0 && sbb > 0.0).then(|| sab / (saa * sbb).sqrt())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        for &i in &order[start..end] {
            ranks[i] = 0.5 * (start + end - 1) as f64 + 1.0;
        }
        start = end;
    }
    ranks
}
