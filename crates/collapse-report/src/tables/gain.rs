//! What L2 normalisation gains, seed by seed, and how much training it needs for what the plain network reaches.

use collapse_results::{Cell, EpochRecord, Run, ScoreId, SetId};

use super::difference;
use super::draft::{Draft, SPREAD, count, missing, number, text};
use crate::lineup::{Lineup, MAIN_SCORE, Pair, Pairing};
use crate::statistics::summarize;

/// L2 minus none on finished schedules of equal length: accuracy and each set.
pub(super) fn at_equal_length(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "gain",
        "With L2 minus without, at equal training",
        &format!(
            "Percentage points, paired by seed, after finished schedules of equal length; AUROC by \
             Gaussians on the features. The intervals are Student's, each for its own row. {SPREAD}"
        ),
    );
    columns(&mut draft);
    for pair in lineup.equal_pairs() {
        for (figure, values) in difference::figures(lineup, pair.first, pair.second) {
            gain_row(&mut draft, &pair, &figure, &values);
        }
    }
    draft
}

/// The same by Gaussians on the normalised features of both: what is left is the training.
pub(super) fn on_normalised_features(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "gain-normalised",
        "With L2 minus without, on normalised features of both",
        &format!(
            "Percentage points of AUROC, paired by seed, after finished schedules of equal length. \
             Gaussians on normalised features of both networks, those of the one without L2 \
             normalised after its training. The intervals are Student's, each for its own row. \
             {SPREAD}"
        ),
    );
    columns(&mut draft);
    for pair in lineup.equal_pairs() {
        for set in &lineup.sets {
            let aurocs = pair.first.paired(pair.second, |run, e| {
                let normalised = run.group == pair.first.group.id;
                let score = match normalised {
                    true => MAIN_SCORE,
                    false => ScoreId::GMM_UNIT,
                };
                Some(100.0 * e.detection(&score, set)?.auroc)
            });
            gain_row(&mut draft, &pair, &format!("AUROC {set}"), &aurocs);
        }
    }
    draft
}

fn columns(draft: &mut Draft) {
    draft.text_column("network", "Network");
    draft.number_column("epochs", "Epochs");
    draft.text_column("figure", "Figure");
    difference::columns(draft);
}

fn gain_row(draft: &mut Draft, pair: &Pair<'_, '_>, figure: &str, values: &[(f64, f64)]) {
    let Some(cells) = difference::cells(values) else {
        return;
    };
    let key = format!("{}:{}:{figure}", pair.first.key, pair.second.key);
    let named = [text(pair.network), count(pair.first.epoch), text(figure)];
    draft.row(key, named.into_iter().chain(cells).collect());
}

/// The first measured epoch at which a run with L2 reaches what the plain run of its seed has at the end of the long
/// schedule.
pub(super) fn epochs_needed(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "epochs-needed",
        "Training that L2 needs for what the plain network reaches at its end",
        "For each seed the first measured epoch at which the run with L2 is at least where the run \
         without L2 of the same seed ends; AUROC by Gaussians on the features, accuracy on the \
         validation split. A seed that never gets there counts as infinite in the median. Epochs are \
         measured at a few places only, so each figure is an upper bound.",
    );
    draft.text_column("network", "Network");
    draft.text_column("schedule", "With L2");
    draft.text_column("figure", "Figure");
    draft.number_column("target", "Without L2, at the end (%)");
    draft.number_column("plain_epochs", "after epochs");
    draft.text_column("reached", "Seeds that reach it");
    draft.number_column("median", "Epochs with L2, median");
    draft.number_column("share", "Share of the training (%)");
    for pairing in [Pairing::ShortAgainstLong, Pairing::EqualLong] {
        for pair in lineup.pairs(pairing) {
            needed_row(&mut draft, &pair, "accuracy", &|r| r.validation_accuracy);
            for set in &lineup.averaged {
                needed_row(&mut draft, &pair, &format!("AUROC {set}"), &|r| {
                    auroc_on(r, set)
                });
            }
        }
    }
    draft
}

fn auroc_on(record: &EpochRecord, set: &SetId) -> Option<f64> {
    let found = record.auroc.iter().find(|(name, _)| name == set);
    found.map(|(_, value)| *value)
}

fn needed_row(
    draft: &mut Draft,
    pair: &Pair<'_, '_>,
    figure: &str,
    pick: &dyn Fn(&EpochRecord) -> Option<f64>,
) {
    let at_end = |run: &Run| run.history.iter().rev().find_map(pick);
    let (mut targets, mut epochs) = (Vec::new(), Vec::new());
    for (plain, _) in &pair.second.runs {
        let same = pair
            .first
            .runs
            .iter()
            .find(|(run, _)| run.seed == plain.seed);
        let (Some((run, _)), Some(target)) = (same, at_end(plain)) else {
            continue;
        };
        let mut measured = run.history.iter().filter(|record| record.epoch > 0);
        let first = measured.find(|record| pick(record).is_some_and(|value| value >= target));
        targets.push(100.0 * target);
        epochs.push(first.map_or(f64::INFINITY, |record| record.epoch as f64));
    }
    if targets.is_empty() {
        return;
    }
    let reached = epochs.iter().filter(|epoch| epoch.is_finite()).count();
    let median = median(&mut epochs);
    let or_never = |value: f64, decimals| match value.is_finite() {
        true => number(value, decimals),
        false => missing("most seeds do not reach it"),
    };
    let plain_epochs = pair.second.epoch;
    let cells: Vec<Cell> = vec![
        text(pair.network),
        text(crate::lineup::schedule_label(pair.first.group.schedule)),
        text(figure),
        summarize(&targets).map_or_else(|| missing("not measured"), |s| number(s.mean, 2)),
        count(plain_epochs),
        text(format!("{reached} of {}", epochs.len())),
        or_never(median, 0),
        or_never(100.0 * median / plain_epochs as f64, 0),
    ];
    draft.row(
        format!("{}:{}:{figure}", pair.first.key, pair.second.key),
        cells,
    );
}

/// The upper median, so that half of the seeds must be finite for it to be.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
