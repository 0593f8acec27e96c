//! One network's figures, without seeds: the table of `score` and `train`.

use collapse_results::{Align, Cell, Column, Defined, Evaluation, Table};

use super::draft::{number, text};
use crate::numbers::scientific;

/// What a reader of one network's figures should know; captions of tables over seeds say each where it stands.
pub const SCORES_NOTE: &str = "The AUPR of a detector that guesses is the share of its positive \
     class. NNGuide's bank holds every training feature (its authors take 1 %). The temperature is \
     that of least NLL on the validation split (DDU's other choice is least ECE).";

/// Every score against every OoD set, in percent, with accuracy, calibration and jitter below.
pub fn evaluation_table(evaluation: &Evaluation) -> Table {
    let column = |key: &str, heading: &str, align| Column {
        key: key.to_owned(),
        heading: heading.to_owned(),
        align,
    };
    let mut columns = vec![
        column("score", "Score", Align::Left),
        column("set", "OoD set", Align::Left),
    ];
    let figures = [
        ("auroc", "AUROC %"),
        ("aupr_in", "AUPR in %"),
        ("aupr_out", "AUPR out %"),
        ("fpr95_id_positive", "FPR95 (ID positive) %"),
        ("fpr95_ood_positive", "FPR95 (OoD positive) %"),
    ];
    columns.extend(figures.map(|(key, heading)| column(key, heading, Align::Right)));
    let percent = |value: f64| number(100.0 * value, 2);
    let rows = evaluation
        .ood
        .iter()
        .map(|result| {
            let found = &result.detection;
            vec![
                text(result.score.as_str()),
                text(result.set.as_str()),
                percent(found.auroc),
                percent(found.aupr_in),
                percent(found.aupr_out),
                percent(found.fpr95_id_positive),
                percent(found.fpr95_ood_positive),
            ]
        })
        .collect::<Vec<Vec<Cell>>>();
    let row_keys = evaluation
        .ood
        .iter()
        .map(|result| format!("{}:{}", result.score, result.set))
        .collect();
    Table {
        id: "scores".to_owned(),
        title: "Detection by every score".to_owned(),
        caption: caption(evaluation),
        columns,
        row_keys,
        rows,
    }
}

fn caption(evaluation: &Evaluation) -> String {
    let jitter = |value: Option<f64>| value.map_or("not fitted".to_owned(), scientific);
    let scaled = match &evaluation.scaling {
        Defined::Value(scaling) => format!(
            "{:.2} % at temperature {:.3}",
            100.0 * scaling.ece,
            scaling.temperature
        ),
        Defined::Undefined(reason) => format!("not scaled: {reason}"),
    };
    let geometry = match &evaluation.geometry {
        Defined::Value(found) => format!(
            "NC1 {:.4}, NC3 {:.4}, NC4 {:.4}",
            found.nc1, found.nc3, found.nc4
        ),
        Defined::Undefined(reason) => format!("no NC measures: {reason}"),
    };
    let mut caption = format!(
        "Test accuracy {:.2} %, ECE {:.2} % ({scaled}), NLL {:.4}; \
         jitter of the Gaussians on features {}, on logits {}; {geometry}.",
        100.0 * evaluation.accuracy,
        100.0 * evaluation.ece,
        evaluation.nll,
        jitter(evaluation.jitter_features),
        jitter(evaluation.jitter_logits),
    );
    caption.push_str(&format!(" {SCORES_NOTE}"));
    for skipped in &evaluation.skipped {
        caption.push_str(&format!(" Without {}: {}.", skipped.score, skipped.reason));
    }
    caption
}
