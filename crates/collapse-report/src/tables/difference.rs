//! Differences of two groups, seed by seed.

use collapse_results::Cell;

use super::draft::{Draft, count, missing, spread, text};
use crate::lineup::{Lineup, MAIN_SCORE, Member};
use crate::numbers::fixed;
use crate::statistics::paired_difference;

/// Accuracy and the AUROC of each set by name, in percent, of the seeds that both share.
pub(super) fn figures(
    lineup: &Lineup<'_>,
    first: &Member<'_>,
    second: &Member<'_>,
) -> Vec<(String, Vec<(f64, f64)>)> {
    let accuracy = first.paired(second, |_, e| Some(100.0 * e.accuracy));
    let mut figures = vec![("accuracy".to_owned(), accuracy)];
    figures.extend(lineup.sets.iter().map(|set| {
        let aurocs = first.paired(second, |_, e| {
            Some(100.0 * e.detection(&MAIN_SCORE, set)?.auroc)
        });
        (format!("AUROC {set}"), aurocs)
    }));
    figures
}

/// The columns of [`cells`].
pub(super) fn columns(draft: &mut Draft) {
    draft.number_column("n", "Seeds");
    draft.number_column("difference", "Difference (points)");
    draft.text_column("interval", "95 % interval");
    draft.text_column("seeds", "By seed");
}

/// Number of pairs, first minus second with Student's interval, and each pair's; `None` without a pair.
pub(super) fn cells(pairs: &[(f64, f64)]) -> Option<[Cell; 4]> {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let found = paired_difference(&first, &second)?;
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).collect();
    let by_seed: Vec<String> = differences.iter().map(|d| fixed(*d, 2)).collect();
    Some([
        count(found.n),
        spread(&differences, 2),
        found.interval(0.95).map_or_else(
            || missing("no interval from one seed"),
            |(low, high)| text(format!("{} to {}", fixed(low, 2), fixed(high, 2))),
        ),
        text(by_seed.join(", ")),
    ])
}
