//! Every table of the report, as pure functions of the results.

mod ablation;
mod claims;
mod collapse;
mod detection;
mod difference;
mod draft;
mod ensembles;
mod evaluation;
mod gain;
mod peers;
mod precision;
mod setup;
mod training;

use collapse_results::{Claim, Results, Table};

use crate::Error;
use crate::lineup::Lineup;
use crate::reference::References;
pub use evaluation::{SCORES_NOTE, evaluation_table};
pub use peers::{PeerRun, peer_table};
pub use precision::algorithm_table;

/// The tables that results can make, besides one of all scores for each OoD set.
const IDS: [&str; 23] = [
    "main",
    "gain",
    "gain-normalised",
    "epochs-needed",
    "worst-seed",
    "softmax",
    "entropy",
    "energy",
    "ensembles",
    "logit-gaussians",
    "raw-normalised",
    "over-training",
    "nc-end",
    "nc-epochs",
    "history",
    "ablation",
    "ablation-differences",
    "precision",
    "training",
    "detection",
    "calibration",
    "claims",
    "neighbours",
];

/// Fails for a table that no results with these OoD sets make; which of the others they make, the runs decide.
///
/// # Errors
/// [`Error::UnknownTable`].
pub fn check_tables<'a>(
    ids: &[String],
    ood_sets: impl IntoIterator<Item = &'a str>,
) -> Result<(), Error> {
    let of_sets = ood_sets.into_iter().map(detection::scores_of);
    let known: Vec<String> = IDS.map(str::to_owned).into_iter().chain(of_sets).collect();
    match ids.iter().find(|id| !known.contains(id)) {
        None => Ok(()),
        Some(unknown) => Err(Error::UnknownTable {
            table: unknown.clone(),
            known: known.join(", "),
        }),
    }
}

/// All tables that the results have numbers for, in the order of the report.
///
/// The paper's sections in miniature: main (4.1), gain at equal training and on normalised features, epochs needed, worst seed, softmax, entropy and energy (A.2),
/// ensembles, logit Gaussians (A.3), Gaussians on raw and normalised features, over-training (A.4), neural
/// collapse at the end and over epochs (4.2, A.5, A.6), loss over epochs, ablation and what each part makes, precisions and
/// training details (A.1); then all scores, all detection figures, calibration, the claims with
/// their tests, and published neighbours. AUROC, accuracy and their like are in percent.
#[must_use]
pub fn tables(results: &Results, references: &References) -> Vec<Table> {
    let lineup = Lineup::of(results);
    of_lineup(&lineup, &crate::claims::judge(&lineup), references)
}

pub(crate) fn of_lineup(
    lineup: &Lineup<'_>,
    judged: &[Claim],
    references: &References,
) -> Vec<Table> {
    let references = &references.beside(lineup.results);
    let mut drafts = vec![
        detection::main(lineup),
        gain::at_equal_length(lineup),
        gain::on_normalised_features(lineup),
        gain::epochs_needed(lineup),
        detection::worst_seed(lineup),
    ];
    drafts.extend(detection::output_scores(lineup));
    drafts.push(ensembles::compared(lineup));
    drafts.push(detection::logit_gaussians(lineup));
    drafts.push(detection::raw_and_normalised(lineup));
    drafts.push(detection::over_training(lineup));
    drafts.push(collapse::at_the_end(lineup));
    drafts.push(collapse::over_epochs(lineup));
    drafts.push(training::history(lineup));
    drafts.push(ablation::compared(lineup));
    drafts.push(ablation::differences(lineup));
    drafts.push(precision::compared(lineup));
    drafts.push(training::details(lineup));
    drafts.extend(detection::all_scores(lineup));
    drafts.push(detection::all_figures(lineup));
    drafts.push(setup::calibration(lineup));
    drafts.push(claims::tests(lineup, judged));
    drafts.push(setup::neighbours(references));
    drafts
        .into_iter()
        .filter_map(|draft| draft.finish(references))
        .collect()
}
