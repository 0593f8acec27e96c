//! Tables of calibration and of published neighbours.

use collapse_results::{Cell, Evaluation};

use super::draft::{Draft, SPREAD, count, missing, number, spread, text};
use crate::lineup::Lineup;
use crate::numbers::scientific;
use crate::reference::References;

type Figure = (
    &'static str,
    &'static str,
    fn(&Evaluation) -> Option<f64>,
    usize,
);

const CALIBRATION: [Figure; 6] = [
    ("ece", "ECE (%)", |e| Some(100.0 * e.ece), 2),
    (
        "ece_scaled",
        "ECE, temperature-scaled (%)",
        |e| Some(100.0 * e.scaling.value()?.ece),
        2,
    ),
    (
        "temperature",
        "Temperature",
        |e| Some(e.scaling.value()?.temperature),
        2,
    ),
    ("nll", "NLL (nats)", |e| Some(e.nll), 3),
    (
        "aurc",
        "AURC (%)",
        |e| Some(100.0 * e.risk_coverage.as_ref()?.aurc),
        2,
    ),
    (
        "augrc",
        "AUGRC (%)",
        |e| Some(100.0 * e.risk_coverage.as_ref()?.augrc),
        2,
    ),
];

pub(super) fn calibration(lineup: &Lineup<'_>) -> Draft {
    let note = format!(
        "Expected calibration error (ECE) with 15 bins; the temperature is that of least negative \
         log-likelihood (NLL) on the validation split (DDU's other choice is least ECE). AURC and \
         AUGRC: area under the risk–coverage curve and its generalised form (Traub et al. 2024), by \
         the largest softmax probability, a score named beforehand. Jitter: what was added to the \
         diagonal of the covariances. {SPREAD}"
    );
    let title = "Calibration, selective prediction and the jitter of the Gaussians";
    let mut draft = Draft::new(lineup, "calibration", title, &note);
    draft.text_column("group", "Group");
    draft.number_column("epoch", "Epoch");
    for (key, heading, _, _) in CALIBRATION {
        draft.number_column(key, heading);
    }
    draft.number_column("jitter_features", "Jitter, features");
    draft.number_column("jitter_logits", "Jitter, logits");
    for member in lineup.main_and_nc() {
        let mut cells = vec![text(member.label.clone()), count(member.epoch)];
        cells.extend(CALIBRATION.iter().map(|(_, _, pick, decimals)| {
            let values: Vec<f64> = member.evaluations().filter_map(pick).collect();
            spread(&values, *decimals)
        }));
        cells.push(jitters(member.evaluations().map(|e| e.jitter_features)));
        cells.push(jitters(member.evaluations().map(|e| e.jitter_logits)));
        draft.row(member.key.clone(), cells);
    }
    draft
}

/// The jitters chosen, smallest to largest; they span hundreds of decades, so no mean.
fn jitters(found: impl Iterator<Item = Option<f64>>) -> Cell {
    let values: Vec<f64> = found.flatten().collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() {
        missing("the Gaussians could not be fitted")
    } else if low == high {
        text(scientific(low))
    } else {
        text(format!("{} to {}", scientific(low), scientific(high)))
    }
}

pub(super) fn neighbours(references: &References) -> Draft {
    let mut draft = Draft::bare(
        "neighbours",
        "Published neighbours",
        "Numbers of other publications, read from reference/*.toml; settings differ from ours, so \
         they are landmarks and no comparison. ±: as published.",
    );
    for (key, heading) in [
        ("source", "Source"),
        ("setting", "Setting"),
        ("method", "Method"),
        ("quantity", "Quantity"),
        ("set", "Set"),
    ] {
        draft.text_column(key, heading);
    }
    draft.number_column("mean", "Value (%)");
    draft.number_column("std", "±");
    for (index, value) in references.neighbours.iter().enumerate() {
        draft.row(
            format!("{index}"),
            vec![
                text(value.source.clone()),
                text(value.setting.clone()),
                text(value.method.clone()),
                text(value.quantity.clone()),
                text(value.set.clone()),
                number(value.mean, 2),
                value
                    .std
                    .map_or_else(|| missing("not published"), |std| number(std, 2)),
            ],
        );
    }
    draft
}
