//! One line for each detector.

use collapse_evaluate::Standing;
use collapse_report::{TerminalStyle, render};
use collapse_results::{Align, Cell, Column, Table};

use super::report::Report;

impl Report<'_> {
    /// The detectors, the best first, as text for the terminal.
    pub fn summary(&self) -> String {
        render::terminal(&self.summary_table(), TerminalStyle::detect())
    }

    /// The detectors by their mean AUROC.
    pub fn summary_table(&self) -> Table {
        let standings = &self.standings;
        let has =
            |pick: fn(&Standing) -> Option<f64>| standings.iter().any(|one| pick(one).is_some());
        let (near, far) = (has(|one| one.near), has(|one| one.far));
        let optional = |shown: bool, key: &str, heading: &str| {
            shown.then(|| column(key, heading, Align::Right))
        };
        let columns = [
            Some(column("score", "Score", Align::Left)),
            optional(true, "auroc", "mean AUROC %"),
            optional(near, "near", "near %"),
            optional(far, "far", "far %"),
            optional(true, "fpr95_id_positive", "mean FPR95 %"),
            optional(true, "worst_auroc", "worst AUROC %"),
            Some(column("worst_set", "on", Align::Left)),
        ];
        let row = |one: &Standing| {
            let cells = [
                Some(text(one.score.as_str())),
                Some(percent(one.auroc)),
                near.then(|| one.near.map_or_else(|| text("–"), percent)),
                far.then(|| one.far.map_or_else(|| text("–"), percent)),
                Some(percent(one.fpr95_id_positive)),
                Some(percent(one.worst_auroc)),
                Some(text(&one.worst_set)),
            ];
            cells.into_iter().flatten().collect()
        };
        Table {
            id: "summary".to_owned(),
            title: "Detectors by mean AUROC over the OoD sets".to_owned(),
            caption: self.caption(),
            columns: columns.into_iter().flatten().collect(),
            row_keys: standings.iter().map(|one| one.score.to_string()).collect(),
            rows: standings.iter().map(row).collect(),
        }
    }
}

pub fn column(key: &str, heading: &str, align: Align) -> Column {
    Column {
        key: key.to_owned(),
        heading: heading.to_owned(),
        align,
    }
}

pub fn text(text: &str) -> Cell {
    Cell::Text {
        text: text.to_owned(),
    }
}

/// A share as percent.
pub fn percent(value: f64) -> Cell {
    Cell::Number {
        value: 100.0 * value,
        decimals: 2,
    }
}
