//! The table and the files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use collapse_density::Agreement;
use collapse_evaluate::{Calibrated, Evaluation, Geometry, Split};
use collapse_files::{replace, replace_json, replace_with};
use collapse_ood::{Comparison, Skipped};
use collapse_report::{TerminalStyle, render};
use collapse_results::{Align, Cell, Column, Table};
use serde::Serialize;

use super::Args;
use crate::CODE_VERSION;

/// Everything that is shown.
pub struct Report<'a> {
    pub evaluation: &'a Evaluation,
    pub notes: Vec<String>,
}

/// The content of `scores.json`.
#[derive(Serialize)]
struct Scores<'a> {
    schema: &'static str,
    code_version: &'static str,
    train: Option<String>,
    test: String,
    l2: bool,
    n_features: usize,
    /// Level of the intervals.
    level: f64,
    #[serde(flatten)]
    calibrated: Option<&'a Calibrated>,
    ood: &'a [Comparison],
    risk_coverage: BTreeMap<&'a str, f64>,
    geometry: Option<&'a Geometry>,
    density_agreement: Option<&'a Agreement>,
    skipped: &'a [Skipped],
    notes: &'a [String],
}

impl Report<'_> {
    /// Every score against every set, in percent.
    pub fn table(&self) -> String {
        let column = |key: &str, heading: &str, align| Column {
            key: key.to_owned(),
            heading: heading.to_owned(),
            align,
        };
        let text = |text: &str| Cell::Text {
            text: text.to_owned(),
        };
        let percent = |value: f64| Cell::Number {
            value: 100.0 * value,
            decimals: 2,
        };
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
        let table = Table {
            id: "scores".to_owned(),
            title: "Detection by every score".to_owned(),
            caption: self.caption(),
            columns,
            row_keys: keys
                .map(|found| format!("{}:{}", found.score, found.set))
                .collect(),
            rows: self.evaluation.comparisons.iter().map(row).collect(),
        };
        render::terminal(&table, TerminalStyle::detect())
    }

    fn caption(&self) -> String {
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
        let smallest = self
            .evaluation
            .risk_coverage
            .iter()
            .min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((score, aurc)) = smallest {
            parts.push(format!(
                "least area under the risk–coverage curve {:.3} % by {score}",
                100.0 * aurc
            ));
        }
        if let Some(found) = &self.evaluation.agreement {
            parts.push(format!("densities with and without labels: {found}"));
        }
        let text = parts.join(". ");
        if text.is_empty() { text } else { text + "." }
    }

    /// The table under OpenOOD's column names and definitions, in percent: FPR@95 has OoD as the positive class, areas under
    /// precision–recall curves are trapezoidal.
    fn openood_csv(&self) -> String {
        let accuracy = self.evaluation.calibrated.as_ref();
        let accuracy = accuracy.map_or_else(String::new, |found| {
            (100.0 * found.plain.accuracy).to_string()
        });
        let mut text = String::from("score,dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC\n");
        for found in &self.evaluation.comparisons {
            let cells = [
                found.detection.fpr95_ood_positive,
                found.detection.auroc,
                found.aupr_in_trapezoid,
                found.aupr_out_trapezoid,
            ];
            let cells = cells.map(|share| (100.0 * share).to_string()).join(",");
            text.push_str(&format!(
                "{},{},{cells},{accuracy}\n",
                found.score, found.set
            ));
        }
        text
    }
}

pub fn write(args: &Args, out: &Path, test: &Split, report: &Report<'_>) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| {
        format!(
            "cannot create {}; name a writable folder with --out",
            out.display()
        )
    })?;
    let evaluation = report.evaluation;
    let skipped = evaluation.skipped();
    replace_json(
        &out.join("scores.json"),
        &Scores {
            schema: "collapse.scores/2",
            code_version: CODE_VERSION,
            train: args.train.as_ref().map(|path| path.display().to_string()),
            test: args.test.display().to_string(),
            l2: test.features.l2(),
            n_features: test.features.n_features(),
            level: args.level,
            calibrated: evaluation.calibrated.as_ref(),
            ood: &evaluation.comparisons,
            risk_coverage: evaluation
                .risk_coverage
                .iter()
                .map(|(score, area)| (score.as_str(), *area))
                .collect(),
            geometry: evaluation.geometry.as_ref(),
            density_agreement: evaluation.agreement.as_ref(),
            skipped: &skipped,
            notes: &report.notes,
        },
    )?;
    let csv = report.openood_csv();
    replace(&out.join("scores.csv"), csv.as_bytes())?;
    let samples = replace_with(&out.join("samples.csv"), |file| {
        writeln!(file, "set,score,sample,confidence")?;
        for set in evaluation.scored() {
            for (score, values) in &set.scores {
                for (sample, value) in values.iter().enumerate() {
                    writeln!(file, "{},{score},{sample},{value}", set.set)?;
                }
            }
        }
        Ok(())
    });
    Ok(samples?)
}
