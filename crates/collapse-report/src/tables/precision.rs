//! What another arithmetic of training does, bf16 or direct convolutions: groups that differ in nothing else, seed by seed, and
//! whether the difference is equivalent to none.

use std::collections::BTreeMap;

use collapse_results::{Cell, Evaluation, Group, Results, SetId, Table};

use super::draft::{Draft, count, missing, number, spread, text};
use crate::lineup::{Lineup, MAIN_SCORE, Member, group_label};
use crate::reference::References;
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

/// A group and its twin in another arithmetic.
type Twins<'l, 'a> = Vec<(&'l Member<'a>, &'l Member<'a>)>;

/// Groups in f32, each with its twin among `others` of that precision.
fn twins<'l, 'a>(lineup: &'l Lineup<'a>, others: &'l Lineup<'a>, of_twin: &str) -> Twins<'l, 'a> {
    lineup
        .all()
        .filter(|single| precision(lineup, single.group) == "f32")
        .filter_map(|single| {
            let twin = others.all().find(|other| {
                precision(others, other.group) == of_twin
                    && question(other.group) == question(single.group)
            })?;
            Some((single, twin))
        })
        .collect()
}

pub(super) fn compared(lineup: &Lineup<'_>) -> Draft {
    let title = "bf16 against f32 from the same seeds";
    let mut draft = Draft::new(lineup, "precision", title, &note("bf16", "f32"));
    let columns = [("f32", "f32 (%)"), ("bf16", "bf16 (%)")];
    let twins = twins(lineup, lineup, "bf16");
    fill(&mut draft, columns, &twins, &figures(lineup));
    draft
}

/// The same networks from the same seeds trained in f32 with Winograd's convolutions and with direct ones; `None` where no group is
/// in both.
#[must_use]
pub fn algorithm_table(winograd: &Results, direct: &Results) -> Option<Table> {
    let (ours, other) = (Lineup::of(winograd), Lineup::of(direct));
    let title = "Winograd's convolutions against direct ones from the same seeds";
    let note = format!(
        "{} Direct: {} Winograd:",
        note("Winograd", "direct"),
        other.made_from
    );
    let mut draft = Draft::new(&ours, "algorithm", title, &note);
    let twins = twins(&other, &ours, "f32");
    let columns = [("direct", "direct (%)"), ("winograd", "Winograd (%)")];
    fill(&mut draft, columns, &twins, &figures(&ours));
    draft.finish(&References::default())
}

/// What a caption says of the comparison of `one` with `reference`.
fn note(one: &str, reference: &str) -> String {
    format!(
        "AUROC by Gaussians on the features after the last epoch. Difference: mean over seeds of \
         {one} − {reference} and its 95 % t interval; the standard deviation beside {reference} is what another \
         seed changes. Equivalence: the larger p of two one-sided t tests of a difference within \
         ±{ACCURACY_MARGIN} points of accuracy or ±{AUROC_MARGIN} point of AUROC, margins declared \
         beforehand; equivalent where it is at most 0.05. All groups: each seed's differences \
         averaged over the groups."
    )
}

/// A row for every figure of every pair of groups, then of all together.
fn fill(
    draft: &mut Draft,
    sides: [(&str, &str); 2],
    twins: &Twins<'_, '_>,
    figures: &[Compared<'_>],
) {
    draft.text_column("group", "Group");
    draft.text_column("figure", "Figure");
    draft.number_column("seeds", "Seeds");
    for (key, heading) in sides {
        draft.number_column(key, heading);
    }
    draft.number_column("difference", "Difference (points)");
    draft.number_column("low", "95 % from");
    draft.number_column("high", "to");
    draft.number_column("share", "|Difference| / seed's deviation");
    draft.number_column("equivalence", "p, equivalence");
    for (single, mixed) in twins {
        for figure in figures {
            let pairs = single.paired(mixed, |_, e| figure.pick(e));
            let label = group_label(&question(single.group));
            if let Some(cells) = row(&label, figure, &pairs) {
                draft.row(format!("{}:{}", single.group.id, figure.name), cells);
            }
        }
    }
    if twins.len() > 1 {
        for figure in figures {
            if let Some(cells) = row("All groups", figure, &averaged(twins, figure)) {
                draft.row(format!("all:{}", figure.name), cells);
            }
        }
    }
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

/// (reference, other) of every seed that all groups have, averaged over the groups: groups of one seed
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
    let (reference, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let found = paired_difference(&other, &reference)?;
    let differences: Vec<f64> = pairs.iter().map(|(a, b)| b - a).collect();
    let two_seeds = |value: Option<f64>, decimals| {
        value.map_or_else(
            || missing("needs two seeds"),
            |value| number(value, decimals),
        )
    };
    let interval = found.interval(0.95);
    let deviation = summarize(&reference)?.std;
    let equivalent = equivalence(&differences, figure.margin);
    Some(vec![
        text(label),
        text(figure.name.clone()),
        count(reference.len()),
        spread(&reference, 2),
        spread(&other, 2),
        number(found.mean, 2),
        two_seeds(interval.map(|i| i.0), 2),
        two_seeds(interval.map(|i| i.1), 2),
        two_seeds(deviation.map(|s| found.mean.abs() / s), 2),
        two_seeds(equivalent.map(|e| e.p_value), 3),
    ])
}
