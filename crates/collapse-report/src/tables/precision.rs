//! What mixed precision does: groups that differ in nothing but the arithmetic of training, seed by seed.

use collapse_results::{Evaluation, Group, Results};

use super::draft::{Draft, count, missing, number, spread, text};
use crate::cast::{MAIN_SCORE, View, group_label, last_views, ood_sets};
use crate::statistics::{paired_difference, summarize};

fn precision<'a>(results: &'a Results, group: &'a Group) -> &'a str {
    group
        .precision
        .as_deref()
        .unwrap_or(&results.provenance.precision)
}

/// What a group has in common with its twin in another precision.
fn rest(group: &Group) -> Group {
    Group {
        id: String::new(),
        precision: None,
        ablation: false,
        ..group.clone()
    }
}

/// The same figure of both groups at the seeds that both have, in percent.
fn paired(
    first: &View<'_>,
    second: &View<'_>,
    pick: &dyn Fn(&Evaluation) -> Option<f64>,
) -> (Vec<f64>, Vec<f64>) {
    first
        .runs()
        .filter_map(|(run, a)| {
            let (_, b) = second.runs().find(|(other, _)| other.seed == run.seed)?;
            Some((100.0 * pick(a)?, 100.0 * pick(b)?))
        })
        .unzip()
}

pub(super) fn compared(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "precision",
        "bf16 against f32 from the same seeds",
        "AUROC by Gaussians on the features after the last epoch. Difference: mean over seeds of \
         bf16 − f32 and its 95 % t interval; the standard deviation beside f32 is what another \
         seed changes.",
    );
    draft.text_column("group", "Group");
    draft.text_column("figure", "Figure");
    draft.number_column("seeds", "Seeds");
    draft.number_column("f32", "f32 (%)");
    draft.number_column("bf16", "bf16 (%)");
    draft.number_column("difference", "Difference (points)");
    draft.number_column("low", "95 % from");
    draft.number_column("high", "to");
    draft.number_column("share", "|Difference| / seed's deviation");
    let views = last_views(results);
    for single in &views {
        let Some(mixed) = views.iter().find(|other| {
            precision(results, single.group) == "f32"
                && precision(results, other.group) == "bf16"
                && rest(single.group) == rest(other.group)
        }) else {
            continue;
        };
        let sets = ood_sets(results);
        let figures = std::iter::once(("accuracy".to_owned(), None))
            .chain(sets.iter().map(|set| (format!("AUROC {set}"), Some(set))));
        for (name, set) in figures {
            let pick = |e: &Evaluation| match set {
                None => Some(e.accuracy),
                Some(set) => e.detection(&MAIN_SCORE, set).map(|d| d.auroc),
            };
            let (f32s, bf16s) = paired(single, mixed, &pick);
            let Some(difference) = paired_difference(&bf16s, &f32s) else {
                continue;
            };
            let bound = |value: Option<f64>| {
                value.map_or_else(|| missing("needs two seeds"), |v| number(v, 2))
            };
            let deviation = summarize(&f32s).and_then(|s| s.std);
            draft.row(
                format!("{}:{name}", single.group.id),
                vec![
                    text(group_label(&rest(single.group))),
                    text(name.clone()),
                    count(f32s.len()),
                    spread(&f32s, 2),
                    spread(&bf16s, 2),
                    number(difference.mean, 2),
                    bound(difference.interval.map(|i| i.0)),
                    bound(difference.interval.map(|i| i.1)),
                    bound(deviation.map(|s| difference.mean.abs() / s)),
                ],
            );
        }
    }
    draft
}
