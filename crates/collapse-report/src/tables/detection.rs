//! Tables of detection figures: the main one and its variations by score.

use collapse_results::{Cell, DataSet, Detection, Evaluation, Role, ScoreId, SetId};

use super::draft::{Draft, SPREAD, count, number, spread, text};
use crate::lineup::{Lineup, MAIN_SCORE, Member, Pairing, mean_auroc};
use crate::statistics::{WorstCase, worst_case_difference};

/// A row a member: accuracy, then the AUROC of each set by `score`.
fn auroc_table<'l, 'a: 'l>(
    lineup: &'l Lineup<'a>,
    (id, title, note): (&str, &str, &str),
    members: impl Iterator<Item = &'l Member<'a>>,
    score: &ScoreId,
) -> Draft {
    let note = format!("{note} {SPREAD}");
    let mut draft = Draft::of_sets(lineup, id, title, &note);
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.number_column("accuracy", "Accuracy (%)");
    for set in &lineup.sets {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    if !lineup.scores.contains(score) {
        return draft;
    }
    for member in members {
        draft.row(member.key.clone(), auroc_row(lineup, member, score));
    }
    draft
}

fn auroc_row(lineup: &Lineup<'_>, member: &Member<'_>, score: &ScoreId) -> Vec<Cell> {
    let mut cells = vec![
        text(member.label.clone()),
        count(member.epoch),
        spread(&member.percent(|e| Some(e.accuracy)), 2),
    ];
    let aurocs = lineup.sets.iter().map(|set| member.auroc(score, set));
    cells.extend(aurocs.map(|values| spread(&values, 2)));
    cells
}

pub(super) fn main(lineup: &Lineup<'_>) -> Draft {
    auroc_table(
        lineup,
        (
            "main",
            "OoD detection and accuracy (section 4.1)",
            "Score: class-wise Gaussians on the features.",
        ),
        lineup.main(),
        &MAIN_SCORE,
    )
}

pub(super) fn output_scores(lineup: &Lineup<'_>) -> Vec<Draft> {
    let scores = [
        (
            "softmax",
            ScoreId::MAX_SOFTMAX,
            "largest softmax probability",
        ),
        (
            "entropy",
            ScoreId::SOFTMAX_ENTROPY,
            "negative entropy of the softmax",
        ),
        ("energy", ScoreId::ENERGY, "log-sum-exp of the logits"),
    ];
    scores
        .into_iter()
        .map(|(id, score, words)| {
            let title = format!("The same networks scored by {id} (section A.2)");
            let note = format!("Score: {words}.");
            auroc_table(lineup, (id, &title, &note), lineup.main(), &score)
        })
        .collect()
}

pub(super) fn logit_gaussians(lineup: &Lineup<'_>) -> Draft {
    auroc_table(
        lineup,
        (
            "logit-gaussians",
            "Gaussians on logits instead of features (section A.3)",
            "Score: class-wise Gaussians on the logits.",
        ),
        lineup.main(),
        &ScoreId::GMM_LOGITS,
    )
}

pub(super) fn over_training(lineup: &Lineup<'_>) -> Draft {
    let members = lineup
        .pairs(Pairing::OverTraining)
        .flat_map(|pair| [pair.first, pair.second]);
    auroc_table(
        lineup,
        (
            "over-training",
            "Training on with L2 normalisation (section A.4)",
            "Score: class-wise Gaussians on the features.",
        ),
        members,
        &MAIN_SCORE,
    )
}

/// Densities on the form of the features that the head does not see; they have a table of their own.
const OF_COUNTERPART: [ScoreId; 2] = [ScoreId::GMM_RAW, ScoreId::GMM_UNIT];

/// Training with L2 and normalising afterwards are two things: each density on every network.
pub(super) fn raw_and_normalised(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "raw-normalised",
        "Gaussians on raw and on normalised features",
        &format!(
            "AUROC in percent of class-wise Gaussians on raw features z and on normalised ẑ of the \
             same networks; training with L2 and normalising afterwards are two things. {SPREAD}"
        ),
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    for set in &lineup.sets {
        draft.number_column(&format!("raw:{set}"), &format!("{set}, z (%)"));
        draft.number_column(&format!("unit:{set}"), &format!("{set}, ẑ (%)"));
    }
    if !OF_COUNTERPART
        .iter()
        .any(|score| lineup.scores.contains(score))
    {
        return draft;
    }
    for member in lineup.main_and_nc() {
        // The main score is on what the head sees.
        let (raw, unit) = match member.group.l2 {
            true => (ScoreId::GMM_RAW, MAIN_SCORE),
            false => (MAIN_SCORE, ScoreId::GMM_UNIT),
        };
        let mut cells = vec![text(member.label.clone()), count(member.epoch)];
        for set in &lineup.sets {
            cells.push(spread(&member.auroc(&raw, set), 2));
            cells.push(spread(&member.auroc(&unit, set), 2));
        }
        draft.row(member.key.clone(), cells);
    }
    draft
}

/// The row of what C3 judges.
const MEAN: &str = "mean of the sets without controls";

pub(super) fn worst_seed(lineup: &Lineup<'_>) -> Draft {
    let mut draft = Draft::of_sets(
        lineup,
        "worst-seed",
        "The worst seed (claim C3)",
        "Smallest AUROC over the seeds that both sides have, by Gaussians on the features. p: the \
         two runs of each seed are swapped, not corrected for the number of rows; smallest p: what \
         so many seeds can give at best. A bootstrap of a minimum gives no interval that holds, so \
         there is none.",
    );
    draft.text_column("comparison", "L2 against no L2");
    draft.text_column("set", "OoD set");
    draft.number_column("pairs", "Seeds");
    draft.number_column("l2", "L2, worst (%)");
    draft.number_column("base", "No L2, worst (%)");
    draft.number_column("difference", "Difference (points)");
    draft.number_column("p", "p");
    draft.number_column("smallest", "Smallest p");
    let pairings = [
        Pairing::ShortAgainstLong,
        Pairing::EqualShort,
        Pairing::EqualLong,
    ];
    let of_set = |e: &Evaluation, set: &SetId| Some(100.0 * e.detection(&MAIN_SCORE, set)?.auroc);
    for pair in pairings.into_iter().flat_map(|p| lineup.pairs(p)) {
        let mean = pair.first.paired(pair.second, |_, e| {
            mean_auroc(e, &MAIN_SCORE, &lineup.averaged)
        });
        let sets = lineup.sets.iter().map(|set| {
            let values = pair.first.paired(pair.second, |_, e| of_set(e, set));
            (set.to_string(), values)
        });
        for (set, values) in sets.chain([(MEAN.to_owned(), mean)]) {
            let Some(found) = worst_case_difference(std::slice::from_ref(&values)) else {
                continue;
            };
            let mut cells = vec![
                text(format!(
                    "{} epochs against {} ({} / {})",
                    pair.first.epoch, pair.second.epoch, pair.first.key, pair.second.key
                )),
                text(set.clone()),
            ];
            cells.extend(worst_cells(&values, &found));
            let key = format!("{}:{}:{set}", pair.first.key, pair.second.key);
            draft.row(key, cells);
        }
    }
    draft
}

fn worst_cells(values: &[(f64, f64)], found: &WorstCase) -> [Cell; 6] {
    let least =
        |side: fn(&(f64, f64)) -> f64| values.iter().map(side).fold(f64::INFINITY, f64::min);
    [
        count(found.n),
        number(least(|v| v.0), 2),
        number(least(|v| v.1), 2),
        number(found.difference, 2),
        number(found.permutation.p_value, 3),
        number(found.permutation.smallest, 3),
    ]
}

/// The table of every score against an OoD set.
pub(super) fn scores_of(set: impl std::fmt::Display) -> String {
    format!("scores-{set}")
}

/// One table an OoD set: scores down, groups across.
pub(super) fn all_scores(lineup: &Lineup<'_>) -> Vec<Draft> {
    lineup
        .sets
        .iter()
        .map(|set| {
            let mut draft = Draft::of_sets(
                lineup,
                &scores_of(set),
                &format!("Every score against {set}"),
                &format!(
                    "AUROC in percent after the last epoch. {SPREAD} NNGuide's bank holds every \
                     training feature (its authors take 1 %)."
                ),
            );
            draft.text_column("score", "Score");
            for member in lineup.finished() {
                let heading = format!("{} ({})", member.label, member.epoch);
                draft.number_column(&member.key, &heading);
            }
            let scores = lineup.scores.iter();
            for score in scores.filter(|score| !OF_COUNTERPART.contains(score)) {
                let mut cells = vec![text(score.as_str())];
                let aurocs = lineup.finished().map(|member| member.auroc(score, set));
                cells.extend(aurocs.map(|values| spread(&values, 2)));
                draft.row(score.as_str(), cells);
            }
            draft
        })
        .collect()
}

type Figure = (&'static str, &'static str, fn(&Detection) -> f64);

const FIGURES: [Figure; 6] = [
    ("auroc", "AUROC (%)", |d| d.auroc),
    ("aupr_in", "AUPR, ID positive (%)", |d| d.aupr_in),
    ("aupr_out", "AUPR, OoD positive (%)", |d| d.aupr_out),
    ("fpr95_id_positive", "FPR95, ID positive (%)", |d| {
        d.fpr95_id_positive
    }),
    ("fpr95_ood_positive", "FPR95, OoD positive (%)", |d| {
        d.fpr95_ood_positive
    }),
    ("detection_error", "Least error (%)", |d| d.detection_error),
];

pub(super) fn all_figures(lineup: &Lineup<'_>) -> Draft {
    let note = format!(
        "Gaussians on the features. FPR95, ID positive: share of OoD accepted where 95 % of ID is; \
         OoD positive: share of ID rejected where 95 % of OoD is. AUPR depends on the share of OoD \
         images{}: a detector that guesses has an AUPR of its positive class's share.",
        prevalence(&lineup.results.data)
    );
    let mut draft = Draft::of_sets(lineup, "detection", "Every detection figure", &note);
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.text_column("set", "OoD set");
    for (key, heading, _) in FIGURES {
        draft.number_column(key, heading);
    }
    for member in lineup.main_and_nc() {
        for set in &lineup.sets {
            let mut cells = vec![
                text(member.label.clone()),
                count(member.epoch),
                text(set.as_str()),
            ];
            cells.extend(FIGURES.iter().map(|(_, _, pick)| {
                let values = member.percent(|e| e.detection(&MAIN_SCORE, set).map(pick));
                spread(&values, 2)
            }));
            draft.row(format!("{}:{set}", member.key), cells);
        }
    }
    draft
}

/// Share of OoD images in each comparison, in brackets; empty where the sizes are not known.
fn prevalence(data: &[DataSet]) -> String {
    let test: usize = sizes(data, Role::Test).map(|set| set.images).sum();
    let shares: Vec<String> = [Role::Ood, Role::Control]
        .into_iter()
        .flat_map(|role| sizes(data, role))
        .filter(|set| test + set.images > 0)
        .map(|set| {
            let share = 100.0 * set.images as f64 / (test + set.images) as f64;
            format!("{} {share:.1} %", set.name)
        })
        .collect();
    match test == 0 || shares.is_empty() {
        true => String::new(),
        false => format!(" ({})", shares.join(", ")),
    }
}

fn sizes(data: &[DataSet], role: Role) -> impl Iterator<Item = &DataSet> {
    data.iter().filter(move |set| set.role == role)
}
