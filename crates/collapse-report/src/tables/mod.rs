//! Every table of the report, as pure functions of the results.

mod collapse;
mod detection;
mod draft;
mod evaluation;
mod precision;
mod setup;

use collapse_results::{Results, Table};

use crate::reference::References;
pub(crate) use draft::made_from;
pub use evaluation::evaluation_table;

/// All tables that the results have numbers for, in the order of the report.
///
/// The paper's sections in miniature: main (4.1), worst seed, softmax, entropy and energy (A.2),
/// logit Gaussians (A.3), over-training (A.4), neural collapse at the end and over epochs
/// (4.2, A.5, A.6), ablation, precisions and training details and loss over epochs (A.1); then all scores, all detection figures,
/// calibration and published neighbours. AUROC, accuracy and their like are in percent.
pub fn tables(results: &Results, references: &References) -> Vec<Table> {
    let mut drafts = vec![detection::main(results), detection::worst_seed(results)];
    drafts.extend(detection::output_scores(results));
    drafts.push(detection::logit_gaussians(results));
    drafts.push(detection::over_training(results));
    drafts.push(collapse::at_the_end(results));
    drafts.push(collapse::over_epochs(results));
    drafts.push(setup::history(results));
    drafts.push(setup::ablation(results));
    drafts.push(precision::compared(results));
    drafts.push(setup::training(results));
    drafts.extend(detection::all_scores(results));
    drafts.push(detection::all_figures(results));
    drafts.push(setup::calibration(results));
    drafts.push(setup::neighbours(references));
    drafts
        .into_iter()
        .filter_map(|draft| draft.finish(references))
        .collect()
}
