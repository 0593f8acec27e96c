//! Deep ensembles beside the single networks they are made of.

use collapse_results::{Cell, Ensemble, ScoreId, SetId};

use super::draft::{Draft, SPREAD, count, spread, text};
use crate::lineup::{Lineup, Member};

pub(super) fn compared(lineup: &Lineup<'_>) -> Draft {
    let note = format!(
        "Networks of a group that differ in the seed alone, deciding by the mean of their softmax; \
         no seed is in two ensembles of a group. Softmax entropy: of that mean. Mutual \
         information: how much larger it is than the networks' own entropies on average. Single \
         networks stand first, by their softmax entropy. {SPREAD} Over ensembles \
         where the row is of ensembles."
    );
    let title = "Deep ensembles";
    let mut draft = Draft::of_sets(lineup, "ensembles", title, &note);
    draft.text_column("group", "Group");
    draft.text_column("score", "Score");
    draft.number_column("networks", "Networks each");
    draft.number_column("number", "Number");
    draft.number_column("accuracy", "Accuracy (%)");
    for set in &lineup.sets {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    for member in lineup.main_and_nc().filter(|member| !member.is_midway()) {
        let own: Vec<&Ensemble> = lineup
            .results
            .ensembles
            .iter()
            .filter(|ensemble| ensemble.group == member.group.id)
            .collect();
        let Some(first) = own.first() else { continue };
        draft.row(format!("{}:single", member.key), single(lineup, member));
        for (score, words) in [
            (ScoreId::ENSEMBLE_ENTROPY, "softmax entropy"),
            (ScoreId::ENSEMBLE_MUTUAL_INFORMATION, "mutual information"),
        ] {
            let accuracy: Vec<f64> = own.iter().map(|e| 100.0 * e.accuracy).collect();
            let mut cells = vec![
                text(member.label.clone()),
                text(words),
                count(first.seeds.len()),
                count(own.len()),
                spread(&accuracy, 2),
            ];
            let sets = lineup.sets.iter();
            cells.extend(sets.map(|set| spread(&aurocs(&own, &score, set), 2)));
            draft.row(format!("{}:{score}", member.key), cells);
        }
    }
    draft
}

fn single(lineup: &Lineup<'_>, member: &Member<'_>) -> Vec<Cell> {
    let mut cells = vec![
        text(member.label.clone()),
        text("softmax entropy"),
        count(1),
        count(member.runs.len()),
        spread(&member.percent(|e| Some(e.accuracy)), 2),
    ];
    let sets = lineup.sets.iter();
    cells.extend(sets.map(|set| spread(&member.auroc(&ScoreId::SOFTMAX_ENTROPY, set), 2)));
    cells
}

/// AUROC of every ensemble in percent.
fn aurocs(ensembles: &[&Ensemble], score: &ScoreId, set: &SetId) -> Vec<f64> {
    let results = ensembles.iter().flat_map(|ensemble| &ensemble.ood);
    results
        .filter(|result| result.score == *score && result.set == *set)
        .map(|result| 100.0 * result.detection.auroc)
        .collect()
}
