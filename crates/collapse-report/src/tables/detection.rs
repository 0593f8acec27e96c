//! Tables of detection figures: the main one and its variations by score.

use collapse_results::{Cell, Detection, Results, ScoreId, SetId};

use super::draft::{Draft, missing, number, spread, text};
use crate::cast::{Cast, MAIN_SCORE, View, casts, last_views, ood_sets, scores};
use crate::statistics::worst_case_difference;

/// Columns "Group" and "Epoch", then the accuracy, then the AUROC of each set.
fn auroc_draft(results: &Results, id: &str, title: &str, note: &str) -> Draft {
    let mut draft = Draft::new(results, id, title, note);
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.number_column("accuracy", "Accuracy (%)");
    for set in ood_sets(results) {
        draft.number_column(&format!("auroc:{set}"), &format!("AUROC {set} (%)"));
    }
    draft
}

fn auroc_row(results: &Results, view: &View<'_>, score: &ScoreId) -> Vec<Cell> {
    let mut cells = vec![
        text(view.label()),
        super::draft::count(view.epoch),
        spread(&view.percent(|e| Some(e.accuracy)), 2),
    ];
    cells.extend(
        ood_sets(results)
            .iter()
            .map(|set| spread(&auroc(view, score, set), 2)),
    );
    cells
}

fn auroc(view: &View<'_>, score: &ScoreId, set: &SetId) -> Vec<f64> {
    view.percent(|e| e.detection(score, set).map(|d| d.auroc))
}

fn fill(mut draft: Draft, results: &Results, views: &[View<'_>], score: &ScoreId) -> Draft {
    for view in views {
        draft.row(view.key(), auroc_row(results, view, score));
    }
    draft
}

fn main_views(results: &Results) -> Vec<View<'_>> {
    casts(results).iter().flat_map(Cast::main_rows).collect()
}

pub(super) fn main(results: &Results) -> Draft {
    let draft = auroc_draft(
        results,
        "main",
        "OoD detection and accuracy (section 4.1)",
        "Score: class-wise Gaussians on the features. Mean ± standard deviation over seeds, \
         smallest to largest below.",
    );
    fill(draft, results, &main_views(results), &MAIN_SCORE)
}

pub(super) fn output_scores(results: &Results) -> Vec<Draft> {
    [
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
    ]
    .into_iter()
    .filter(|(_, score, _)| scores(results).iter().any(|known| known == score))
    .map(|(id, score, words)| {
        let draft = auroc_draft(
            results,
            id,
            &format!("The same networks scored by {id} (section A.2)"),
            &format!("Score: {words}."),
        );
        fill(draft, results, &main_views(results), &score)
    })
    .collect()
}

pub(super) fn logit_gaussians(results: &Results) -> Draft {
    let draft = auroc_draft(
        results,
        "logit-gaussians",
        "Gaussians on logits instead of features (section A.3)",
        "Score: class-wise Gaussians on the logits.",
    );
    if !scores(results).contains(&ScoreId::GMM_LOGITS) {
        return draft;
    }
    fill(draft, results, &main_views(results), &ScoreId::GMM_LOGITS)
}

pub(super) fn over_training(results: &Results) -> Draft {
    let draft = auroc_draft(
        results,
        "over-training",
        "Training on with L2 normalisation (section A.4)",
        "Score: class-wise Gaussians on the features.",
    );
    let views: Vec<View<'_>> = casts(results)
        .iter()
        .filter_map(|cast| Some([cast.l2_short?, cast.l2_long?]))
        .flatten()
        .collect();
    fill(draft, results, &views, &MAIN_SCORE)
}

pub(super) fn worst_seed(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "worst-seed",
        "The worst seed (claim C3)",
        "Smallest AUROC over seeds by Gaussians on the features; the interval of the difference \
         is a bootstrap over seeds, rough for few of them.",
    );
    draft.text_column("comparison", "L2 against no L2");
    draft.text_column("set", "OoD set");
    draft.number_column("l2", "L2, worst (%)");
    draft.number_column("base", "No L2, worst (%)");
    draft.number_column("difference", "Difference (points)");
    draft.number_column("low", "95 % from");
    draft.number_column("high", "to");
    for cast in casts(results) {
        let comparisons = [
            (cast.l2_short, cast.base_long),
            (cast.l2_short, cast.base_at_short()),
            (cast.l2_long, cast.base_long),
        ];
        for (l2, base) in comparisons
            .iter()
            .filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)))
        {
            for set in ood_sets(results) {
                let (a, b) = (auroc(l2, &MAIN_SCORE, &set), auroc(base, &MAIN_SCORE, &set));
                let Some((gap, interval)) = worst_case_difference(&a, &b) else {
                    continue;
                };
                let least = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
                let bound = |pick: fn((f64, f64)) -> f64| {
                    interval.map_or_else(|| missing("one seed"), |i| number(pick(i), 2))
                };
                draft.row(
                    format!("{}:{}:{set}", l2.key(), base.key()),
                    vec![
                        text(format!(
                            "{} epochs against {} ({} / {})",
                            l2.epoch, base.epoch, l2.group.id, base.group.id
                        )),
                        text(set.as_str()),
                        number(least(&a), 2),
                        number(least(&b), 2),
                        number(gap, 2),
                        bound(|i| i.0),
                        bound(|i| i.1),
                    ],
                );
            }
        }
    }
    draft
}

/// One table an OoD set: scores down, groups across.
pub(super) fn all_scores(results: &Results) -> Vec<Draft> {
    let views: Vec<View<'_>> = last_views(results)
        .into_iter()
        .filter(|view| !view.group.ablation)
        .collect();
    ood_sets(results)
        .into_iter()
        .map(|set| {
            let mut draft = Draft::new(
                results,
                &format!("scores-{set}"),
                &format!("Every score against {set}"),
                "AUROC in percent after the last epoch.",
            );
            draft.text_column("score", "Score");
            for view in &views {
                draft.number_column(&view.key(), &format!("{} ({})", view.label(), view.epoch));
            }
            for score in scores(results) {
                let mut cells = vec![text(score.as_str())];
                cells.extend(
                    views
                        .iter()
                        .map(|view| spread(&auroc(view, &score, &set), 2)),
                );
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

pub(super) fn all_figures(results: &Results) -> Draft {
    let mut draft = Draft::new(
        results,
        "detection",
        "Every detection figure",
        "Gaussians on the features. FPR95, ID positive: share of OoD accepted where 95 % of ID \
         is; OoD positive: share of ID rejected where 95 % of OoD is.",
    );
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    draft.text_column("set", "OoD set");
    for (key, heading, _) in FIGURES {
        draft.number_column(key, heading);
    }
    for view in casts(results).iter().flat_map(Cast::all_rows) {
        for set in ood_sets(results) {
            let mut cells = vec![
                text(view.label()),
                super::draft::count(view.epoch),
                text(set.as_str()),
            ];
            cells.extend(FIGURES.iter().map(|(_, _, pick)| {
                spread(
                    &view.percent(|e| e.detection(&MAIN_SCORE, &set).map(pick)),
                    2,
                )
            }));
            draft.row(format!("{}:{set}", view.key()), cells);
        }
    }
    draft
}
