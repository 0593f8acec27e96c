//! Counts of one score over a range common to all sets.

use collapse_ood::Scored;
use collapse_results::{Histogram, ScoreId, SetId, SymmetricLog};

/// Bins of a histogram.
const BINS: usize = 48;
/// Histograms of one score on the test set and every out-of-distribution set; none where it never varies.
pub(crate) fn histograms(score: &ScoreId, test: &Scored, ood: &[Scored]) -> Vec<Histogram> {
    let sets: Vec<(&str, Vec<f64>)> = [test]
        .into_iter()
        .chain(ood)
        .filter_map(|set| Some((set.set.as_str(), set.get(score)?.to_vec())))
        .collect();
    let Some(axis) = sets.first().and_then(|(_, values)| axis(values)) else {
        return Vec::new();
    };
    let positions = |values: &[f64]| values.iter().map(|&v| axis.position(v)).collect();
    let placed: Vec<Vec<f64>> = sets.iter().map(|(_, values)| positions(values)).collect();
    let ends = placed.iter().flatten().copied();
    let ends = ends.filter(|position| position.is_finite());
    let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| {
        (low.min(p), high.max(p))
    });
    if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
        return Vec::new();
    }
    // What is infinitely far lies in the last bin of its side.
    let bin = |position: f64| {
        let share = (position.clamp(low, high) - low) / (high - low);
        ((share * BINS as f64) as usize).min(BINS - 1)
    };
    let count = |((set, _), positions): (&(&str, Vec<f64>), &Vec<f64>)| {
        let mut counts = vec![0; BINS];
        positions.iter().for_each(|&p| counts[bin(p)] += 1);
        Histogram {
            score: score.clone(),
            set: SetId::from(*set),
            low: axis.value(low),
            high: axis.value(high),
            axis: Some(axis),
            counts,
        }
    };
    sets.iter().zip(&placed).map(count).collect()
}

/// The axis of a score: linear over the middle half of the test scores, logarithmic beyond, where a density's far
/// samples lie by orders of magnitude. `None` where the test scores do not vary, or are infinite for the most part.
fn axis(test: &[f64]) -> Option<SymmetricLog> {
    if test.is_empty() {
        return None;
    }
    let mut sorted = test.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize];
    let spread = |share: f64| quantile(1.0 - share) - quantile(share);
    let unit = [0.25, 0.1, 0.0].map(spread).into_iter();
    let unit = unit.filter(|unit| unit.is_finite()).find(|&u| u > 0.0);
    let centre = Some(quantile(0.5)).filter(|centre| centre.is_finite());
    Some(SymmetricLog {
        centre: centre?,
        unit: unit?,
    })
}
