//! What mixed precision does: groups that differ in nothing but the arithmetic of training, seed
//! by seed, and whether the difference is equivalent to none.

use std::collections::BTreeMap;

use collapse_results::{Cell, Evaluation, Group, SetId};

use super::draft::{Draft, count, missing, number, spread, text};
use crate::lineup::{Lineup, MAIN_SCORE, Member, group_label};
use crate::statistics::{equivalence, paired_difference, summarize};

/// Points of accuracy within which two precisions count as equivalent. Declared beforehand.
pub(super) const ACCURACY_MARGIN: f64 = 0.5;

/// Points of AUROC within which two precisions count as equivalent. Declared beforehand.
pub(super) const AUROC_MARGIN: f64 = 1.0;

/// A figure that is compared: accuracy, or the AUROC against a set.
struct Compared<'l> {
    name: String,
    set: Option<&'l SetId>,
    margin: f64,
}

impl Compared<'_> {
    fn pick(&self, evaluation: &Evaluation) -> Option<f64> {
        Some(
            100.0
                * match self.set {
                    None => evaluation.accuracy,
                    Some(set) => evaluation.detection(&MAIN_SCORE, set)?.auroc,
                },
        )
    }
}

pub(super) fn precision<'a>(lineup: &Lineup<'a>, group: &'a Group) -> &'a str {
    let otherwise = &lineup.results.provenance.precision;
    group.precision.as_deref().unwrap_or(otherwise)
}

/// What a group has in common with its twin in another precision.
fn question(group: &Group) -> Group {
    Group {
        id: String::new(),
        precision: None,
        ablation: false,
        ..group.clone()
    }
}

/// Groups in f32, each with its twin in bf16.
fn twins<'l, 'a>(lineup: &'l Lineup<'a>) -> Vec<(&'l Member<'a>, &'l Member<'a>)> {
    lineup
        .all()
        .filter(|single| precision(lineup, single.group) == "f32")
        .filter_map(|single| {
            let mixed = lineup.all().find(|other| {
                precision(lineup, other.group) == "bf16"
                    && question(other.group) == question(single.group)
            })?;
            Some((single, mixed))
        })
        .collect()
}

pub(super) fn compared(lineup: &Lineup<'_>) -> Draft {
    let note = format!(
        "AUROC by Gaussians on the features after the last epoch. Difference: mean over seeds of \
         bf16 − f32 and its 95 % t interval; the standard deviation beside f32 is what another \
         seed changes. Equivalence: the larger p of two one-sided t tests of a difference within \
         ±{ACCURACY_MARGIN} points of accuracy or ±{AUROC_MARGIN} point of AUROC, margins declared \
         beforehand; equivalent where it is at most 0.05. All groups: each seed's differences \
         averaged over the groups."
    );
    let title = "bf16 against f32 from the same seeds";
    let mut draft = Draft::new(lineup, "precision", title, &note);
    draft.text_column("group", "Group");
    draft.text_column("figure", "Figure");
    draft.number_column("seeds", "Seeds");
    draft.number_column("f32", "f32 (%)");
    draft.number_column("bf16", "bf16 (%)");
    draft.number_column("difference", "Difference (points)");
    draft.number_column("low", "95 % from");
    draft.number_column("high", "to");
    draft.number_column("share", "|Difference| / seed's deviation");
    draft.number_column("equivalence", "p, equivalence");
    let twins = twins(lineup);
    let figures = figures(lineup);
    for (single, mixed) in &twins {
        for figure in &figures {
            let pairs = single.paired(mixed, |_, e| figure.pick(e));
            let label = group_label(&question(single.group));
            if let Some(cells) = row(&label, figure, &pairs) {
                draft.row(format!("{}:{}", single.group.id, figure.name), cells);
            }
        }
    }
    if twins.len() > 1 {
        for figure in &figures {
            if let Some(cells) = row("All groups", figure, &averaged(&twins, figure)) {
                draft.row(format!("all:{}", figure.name), cells);
            }
        }
    }
    draft
}

fn figures<'l>(lineup: &'l Lineup<'_>) -> Vec<Compared<'l>> {
    let accuracy = Compared {
        name: "accuracy".to_owned(),
        set: None,
        margin: ACCURACY_MARGIN,
    };
    let aurocs = lineup.sets.iter().map(|set| Compared {
        name: format!("AUROC {set}"),
        set: Some(set),
        margin: AUROC_MARGIN,
    });
    std::iter::once(accuracy).chain(aurocs).collect()
}

/// (f32, bf16) of every seed that all groups have, averaged over the groups: groups of one seed
/// share split and initialisation, so they are not independent.
fn averaged(twins: &[(&Member<'_>, &Member<'_>)], figure: &Compared<'_>) -> Vec<(f64, f64)> {
    let mut by_seed: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for (single, mixed) in twins {
        for (run, evaluation) in &single.runs {
            let twin = mixed.runs.iter().find(|(other, _)| other.seed == run.seed);
            let pair =
                twin.and_then(|(_, other)| Some((figure.pick(evaluation)?, figure.pick(other)?)));
            by_seed.entry(run.seed).or_default().extend(pair);
        }
    }
    let whole = by_seed
        .into_values()
        .filter(|found| found.len() == twins.len());
    whole
        .map(|found| {
            let mean = |side: fn(&(f64, f64)) -> f64| {
                found.iter().map(side).sum::<f64>() / found.len() as f64
            };
            (mean(|pair| pair.0), mean(|pair| pair.1))
        })
        .collect()
}

/// `None` without pairs.
fn row(label: &str, figure: &Compared<'_>, pairs: &[(f64, f64)]) -> Option<Vec<Cell>> {
    let (f32s, bf16s): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let found = paired_difference(&bf16s, &f32s)?;
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let two_seeds = |value: Option<f64>, decimals| {
        value.map_or_else(
            || missing("needs two seeds"),
            |value| number(value, decimals),
        )
    };
    let interval = found.interval(0.95);
    let deviation = summarize(&f32s)?.std;
    let equivalent = equivalence(&differences, figure.margin);
    Some(vec![
        text(label),
        text(figure.name.clone()),
        count(f32s.len()),
        spread(&f32s, 2),
        spread(&bf16s, 2),
        number(found.mean, 2),
        two_seeds(interval.map(|i| i.0), 2),
        two_seeds(interval.map(|i| i.1), 2),
        two_seeds(deviation.map(|s| found.mean.abs() / s), 2),
        two_seeds(equivalent.map(|e| e.p_value), 3),
    ])
}
