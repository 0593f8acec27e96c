//! Counts of one score over a range common to all sets.

use collapse_ood::Scored;
use collapse_results::{Histogram, ScoreId, SetId};

/// Bins of a histogram.
const BINS: usize = 48;
/// How far below the test scores a histogram begins, in ranges of the test scores.
const FAR: f64 = 2.0;
/// Share of samples that may fall outside a histogram's range at either end; they are counted in its outermost bins.
const TAIL: f64 = 0.005;

/// Histograms of one score on the test set and every out-of-distribution set; none where it never varies.
pub(crate) fn histograms(score: &ScoreId, test: &Scored, ood: &[Scored]) -> Vec<Histogram> {
    let sets: Vec<(&str, Vec<f64>)> = [test]
        .into_iter()
        .chain(ood)
        .filter_map(|set| Some((set.set.as_str(), set.get(score)?.to_vec())))
        .collect();
    let mut low = f64::INFINITY;
    let mut high = f64::NEG_INFINITY;
    let mut floor = f64::NEG_INFINITY;
    for (set, values) in &sets {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let cut = (TAIL * sorted.len() as f64) as usize;
        let (first, last) = (sorted[cut], sorted[sorted.len() - 1 - cut]);
        low = low.min(first);
        high = high.max(last);
        if *set == test.set {
            // Far samples of a density may lie arbitrarily low and would squeeze all else into one bin.
            floor = first - FAR * (last - first);
        }
    }
    low = low.max(floor);
    if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
        return Vec::new();
    }
    let bin = |value: f64| {
        let position = (value - low) / (high - low) * BINS as f64;
        (position.max(0.0) as usize).min(BINS - 1)
    };
    let count = |(set, values): &(&str, Vec<f64>)| {
        let mut counts = vec![0; BINS];
        values.iter().for_each(|&value| counts[bin(value)] += 1);
        Histogram {
            score: score.clone(),
            set: SetId::from(*set),
            low,
            high,
            counts,
        }
    };
    sets.iter().map(count).collect()
}
