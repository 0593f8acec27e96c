//! Rank correlation, and rank association within groups.

use super::mean;
use super::permutation::{EXACT_LIMIT, Permutation, as_extreme, at_random};

/// Longest group of which every order is walked: 7! = 5040.
const ORDER_LIMIT: usize = 7;

/// Spearman's rank correlation with average ranks; `None` for fewer than three pairs or when one
/// side is constant.
#[must_use]
pub fn spearman(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() || first.len() < 3 {
        return None;
    }
    correlation(&[(centred_ranks(first), centred_ranks(second))])
}

/// Correlation of ranks that are centred within groups, with a two-sided test that permutes one
/// side within each group.
///
/// What groups differ in, in both quantities, cancels: only the order of runs inside a group
/// counts (ranks as in van Elteren 1960). `None` when no group has two different values on both
/// sides.
#[must_use]
pub fn association_within_groups(groups: &[Vec<(f64, f64)>]) -> Option<(f64, Permutation)> {
    let ranked: Vec<(Vec<f64>, Vec<f64>)> = groups
        .iter()
        .filter(|pairs| pairs.len() > 1)
        .map(|pairs| {
            let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            (centred_ranks(&first), centred_ranks(&second))
        })
        .collect();
    let observed = correlation(&ranked)?;
    // The denominator is the same for every order, so the numerator is the statistic.
    let score = |pairs: &[(Vec<f64>, Vec<f64>)]| pairs.iter().map(inner).sum::<f64>();
    let numerator = score(&ranked);
    let arrangements = ranked.iter().try_fold(1u64, |product, (first, _)| {
        let orders =
            (first.len() <= ORDER_LIMIT).then(|| (1..=first.len() as u64).product::<u64>())?;
        product.checked_mul(orders).filter(|n| *n <= EXACT_LIMIT)
    });
    let test = match arrangements {
        Some(count) => exact(&ranked, numerator, count),
        None => {
            let mut shuffled = ranked.clone();
            at_random("report-association", numerator, |stream| {
                for (_, second) in &mut shuffled {
                    stream.shuffle(second);
                }
                score(&shuffled)
            })
        }
    };
    Some((observed, test))
}

/// Walks every order of every group.
fn exact(ranked: &[(Vec<f64>, Vec<f64>)], observed: f64, count: u64) -> Permutation {
    let mut sums = vec![0.0];
    for (first, second) in ranked {
        let mut order = second.clone();
        let mut found = Vec::new();
        each_order(&mut order, second.len(), &mut |order| {
            found.push(first.iter().zip(order).map(|(a, b)| a * b).sum::<f64>());
        });
        sums = sums
            .iter()
            .flat_map(|sum| found.iter().map(move |value| sum + value))
            .collect();
    }
    let largest = sums.iter().fold(0.0f64, |most, sum| most.max(sum.abs()));
    let share = |of: f64| {
        let extreme = sums.iter().filter(|sum| as_extreme(**sum, of)).count();
        extreme as f64 / count as f64
    };
    Permutation {
        p_value: share(observed),
        smallest: share(largest),
        exact: true,
    }
}

/// Every order of the first `n` items (Heap 1963).
fn each_order(items: &mut [f64], n: usize, visit: &mut dyn FnMut(&[f64])) {
    if n <= 1 {
        return visit(items);
    }
    for i in 0..n {
        each_order(items, n - 1, visit);
        let other = if n.is_multiple_of(2) { i } else { 0 };
        items.swap(other, n - 1);
    }
}

fn inner((first, second): &(Vec<f64>, Vec<f64>)) -> f64 {
    first.iter().zip(second).map(|(a, b)| a * b).sum()
}

fn correlation(ranked: &[(Vec<f64>, Vec<f64>)]) -> Option<f64> {
    let squares = |values: &Vec<f64>| values.iter().map(|v| v * v).sum::<f64>();
    let first: f64 = ranked.iter().map(|(a, _)| squares(a)).sum();
    let second: f64 = ranked.iter().map(|(_, b)| squares(b)).sum();
    let numerator: f64 = ranked.iter().map(inner).sum();
    (first > 0.0 && second > 0.0).then(|| numerator / (first * second).sqrt())
}

/// Average ranks minus their mean.
fn centred_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for tied in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let end = start + tied.len();
        for &i in tied {
            ranks[i] = 0.5 * (start + end - 1) as f64;
        }
        start = end;
    }
    let centre = mean(&ranks);
    ranks.iter().map(|rank| rank - centre).collect()
}
