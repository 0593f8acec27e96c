//! What is said of an evaluation, as tables.

use collapse_evaluate::{Geometry, Standing};
use collapse_ood::Comparison;
use collapse_report::SCORES_NOTE;
use collapse_results::{Align, Cell, Column, ScoreId, Table};

use crate::Report;

impl Report<'_> {
    /// One line a detector, by its mean AUROC, the best first.
    #[must_use]
    pub fn summary(&self) -> Table {
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

    /// Every score against every set, in percent.
    #[must_use]
    pub fn scores(&self) -> Table {
        let mut columns = vec![
            column("score", "Score", Align::Left),
            column("set", "OoD set", Align::Left),
        ];
        columns.extend(
            [
                ("auroc", "AUROC %"),
                ("auroc_interval", "interval"),
                ("aupr_in", "AUPR in %"),
                ("aupr_out", "AUPR out %"),
                ("fpr95_id_positive", "FPR95 (ID positive) %"),
                ("fpr95_ood_positive", "FPR95 (OoD positive) %"),
                ("detection_error", "Error %"),
            ]
            .map(|(key, heading)| column(key, heading, Align::Right)),
        );
        let row = |found: &Comparison| {
            let figures = &found.detection;
            let interval = found.auroc_interval.map_or_else(
                || "undefined".to_owned(),
                |found| format!("{:.2}–{:.2}", 100.0 * found.low, 100.0 * found.high),
            );
            vec![
                text(found.score.as_str()),
                text(&found.set),
                percent(figures.auroc),
                text(&interval),
                percent(figures.aupr_in),
                percent(figures.aupr_out),
                percent(figures.fpr95_id_positive),
                percent(figures.fpr95_ood_positive),
                percent(figures.detection_error),
            ]
        };
        let keys = self.evaluation.comparisons.iter();
        Table {
            id: "scores".to_owned(),
            title: "Detection by every score".to_owned(),
            caption: SCORES_NOTE.to_owned(),
            columns,
            row_keys: keys
                .map(|found| format!("{}:{}", found.score, found.set))
                .collect(),
            rows: self.evaluation.comparisons.iter().map(row).collect(),
        }
    }

    /// What there is to say of the network beside detection.
    #[must_use]
    pub fn caption(&self) -> String {
        let mut parts = Vec::new();
        if let Some(found) = &self.evaluation.calibrated {
            let mut part = format!(
                "Test accuracy {:.2} %, ECE {:.2} %, NLL {:.4}",
                100.0 * found.plain.accuracy,
                100.0 * found.plain.ece,
                found.plain.nll
            );
            if let (Some(temperature), Some(scaled)) = (found.temperature, &found.scaled) {
                part.push_str(&format!(
                    " (ECE {:.2} %, NLL {:.4} at temperature {temperature:.3})",
                    100.0 * scaled.ece,
                    scaled.nll
                ));
            }
            parts.push(part);
        }
        match &self.evaluation.geometry {
            Some(Geometry::Whole(found)) => parts.push(format!(
                "NC1 {:.4}, NC3 {:.4}, NC4 {:.4} on the training split",
                found.variability.nc1, found.structure.nc3, found.nc4
            )),
            Some(Geometry::Variability(found)) => {
                parts.push(format!("NC1 {:.4} on the training split", found.nc1));
            }
            Some(Geometry::Undefined { undefined }) => {
                parts.push(format!("no NC measures: {undefined}"));
            }
            None => {}
        }
        // One score named beforehand: the least of all would be chosen on the test set.
        let named = ScoreId::MAX_SOFTMAX;
        let areas = &self.evaluation.risk_coverage;
        if let Some(found) = areas.iter().find(|found| found.score == named) {
            parts.push(format!(
                "Area under the risk–coverage curve {:.3} % (AURC), {:.3} % generalised (AUGRC), by {named}",
                100.0 * found.aurc,
                100.0 * found.augrc
            ));
        }
        if let Some(found) = &self.evaluation.agreement {
            parts.push(format!("Densities with and without labels: {found}"));
        }
        if !parts.is_empty() {
            // The last one ends like the others.
            parts.push(String::new());
        }
        parts.join(". ").trim_end().to_owned()
    }

    /// NC measures of the training split; `None` where they are undefined.
    #[must_use]
    pub fn neural_collapse(&self) -> Option<Table> {
        let measured = self.evaluation.measurement();
        let (seen, other) = (measured.geometry?, measured.geometry_counterpart);
        type Pick = fn(&collapse_results::Geometry) -> f64;
        let measures: [(&str, Pick); 8] = [
            ("NC1: tr(Σ_W Σ_B⁺), within-class scatter", |found| {
                found.nc1
            }),
            ("NC1 / C", |found| found.nc1_over_classes),
            ("NC2: norms of class means", |found| {
                found.nc2_equinorm_means
            }),
            ("NC2: norms of classifier rows", |found| {
                found.nc2_equinorm_classifier
            }),
            ("NC2: angles of class means", |found| {
                found.nc2_equiangular_means
            }),
            ("NC2: angles of classifier rows", |found| {
                found.nc2_equiangular_classifier
            }),
            ("NC3: self-duality", |found| found.nc3),
            ("NC4: nearest mean disagrees", |found| found.nc4),
        ];
        let number = |value: f64| Cell::Number { value, decimals: 4 };
        let mut columns = vec![
            column("measure", "Measure", Align::Left),
            column("seen", "what the head sees", Align::Right),
        ];
        if other.is_some() {
            columns.push(column("other", "the other form", Align::Right));
        }
        let row = |(name, pick): &(&str, Pick)| {
            let other = other.as_ref().map(|other| number(pick(other)));
            [text(name), number(pick(&seen))]
                .into_iter()
                .chain(other)
                .collect()
        };
        Some(Table {
            id: "neural-collapse".to_owned(),
            title: "Neural collapse of the training split".to_owned(),
            caption: "All tend to 0 under collapse. The other form of the features is the normalised one where the head sees raw \
                      features, and the raw one where it sees normalised ones."
                .to_owned(),
            columns,
            row_keys: measures.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: measures.iter().map(row).collect(),
        })
    }
}

fn column(key: &str, heading: &str, align: Align) -> Column {
    Column {
        key: key.to_owned(),
        heading: heading.to_owned(),
        align,
    }
}

fn text(text: &str) -> Cell {
    Cell::Text {
        text: text.to_owned(),
    }
}

/// A share as percent.
fn percent(value: f64) -> Cell {
    Cell::Number {
        value: 100.0 * value,
        decimals: 2,
    }
}
