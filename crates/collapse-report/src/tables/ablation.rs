//! The architecture with parts of it left out.

use collapse_results::Cell;

use super::difference;
use super::draft::{Draft, SPREAD, count, magnitude, spread, switch, text};
use crate::lineup::{Lineup, MAIN_SCORE, Member};

/// Whole networks and their variants.
pub(super) fn compared(lineup: &Lineup<'_>) -> Draft {
    let note = format!(
        "Spectral normalisation (SN) and LeakyReLU with average-pool shortcuts (mod); Gaussians \
         on the features after the last epoch. {SPREAD}"
    );
    let title = "Ablation of the architecture (section A.1)";
    let mut draft = Draft::of_sets(lineup, "ablation", title, &note);
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.text_column("l2", "L2");
    draft.text_column("sn", "SN");
    draft.text_column("mod", "mod");
    draft.number_column("accuracy", "Accuracy (%)");
    for set in &lineup.sets {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    draft.number_column("nc1", "NC1");
    let variants: Vec<&Member<'_>> = lineup.all().filter(|one| lacks_a_part(one)).collect();
    let varied = |member: &&Member<'_>| variants.iter().any(|variant| is_of(variant, member));
    let whole = lineup.main_and_nc().filter(varied);
    for member in whole.chain(variants.iter().copied()) {
        draft.row(member.key.clone(), row(lineup, member));
    }
    draft
}

/// Every variant minus its whole network: accuracy and each set.
pub(super) fn differences(lineup: &Lineup<'_>) -> Draft {
    let note = format!(
        "Percentage points, variant minus the whole network, paired by seed, after the last epoch; \
         AUROC by Gaussians on the features. The intervals are Student's, each for its own row. {SPREAD}"
    );
    let title = "What each part of the architecture makes";
    let mut draft = Draft::of_sets(lineup, "ablation-differences", title, &note);
    draft.text_column("group", "Group");
    draft.text_column("figure", "Figure");
    difference::columns(&mut draft);
    for variant in lineup.all().filter(|member| lacks_a_part(member)) {
        let mut others = lineup.main_and_nc();
        let Some(whole) = others.find(|member| is_of(variant, member)) else {
            continue;
        };
        for (figure, pairs) in difference::figures(lineup, variant, whole) {
            let Some(cells) = difference::cells(&pairs) else {
                continue;
            };
            let key = format!("{}:{}:{figure}", variant.key, whole.key);
            let named = [text(variant.label.clone()), text(figure)];
            draft.row(key, named.into_iter().chain(cells).collect());
        }
    }
    draft
}

/// Whether it is a variant in its architecture; others differ in their precision.
fn lacks_a_part(member: &Member<'_>) -> bool {
    let group = member.group;
    group.ablation && (group.spectral_norm.is_none() || !group.modified)
}

/// Whether both answer the same question, the parts of the architecture aside.
fn is_of(variant: &Member<'_>, whole: &Member<'_>) -> bool {
    let question = |member: &Member<'_>| {
        let group = member.group;
        (group.net.clone(), group.l2, group.schedule, group.loss)
    };
    question(variant) == question(whole)
}

fn row(lineup: &Lineup<'_>, member: &Member<'_>) -> Vec<Cell> {
    let nc1: Vec<f64> = member
        .evaluations()
        .filter_map(|e| Some(e.geometry.value()?.nc1))
        .collect();
    let mut cells = vec![
        text(member.label.clone()),
        count(member.epoch),
        switch(member.group.l2),
        switch(member.group.spectral_norm.is_some()),
        switch(member.group.modified),
        spread(&member.percent(|e| Some(e.accuracy)), 2),
    ];
    let aurocs = lineup.sets.iter().map(|set| member.auroc(&MAIN_SCORE, set));
    cells.extend(aurocs.map(|values| spread(&values, 2)));
    cells.push(spread(&nc1, magnitude(&nc1)));
    cells
}
