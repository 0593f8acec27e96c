//! The table and the files.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use collapse_evaluate::{CompleteSplits, Figures, Geometry, Standing};
use collapse_files::Replacement;
use collapse_ood::Comparison;
use collapse_report::{SCORES_NOTE, TerminalStyle, render};
use collapse_results::{Align, ScoreId, Table};
use serde::Serialize;

use super::Args;
use super::page;
use super::report::Report;
use super::summary::{column, percent, text};
use crate::CODE_VERSION;

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
    /// One line a score, the best first.
    standings: &'a [Standing],
    #[serde(flatten)]
    figures: Figures<'a>,
    notes: &'a [String],
}

impl Report<'_> {
    /// Every score against every set, as text for the terminal.
    pub fn table(&self) -> String {
        render::terminal(&self.long_table(), TerminalStyle::detect())
    }

    /// Every score against every set, in percent.
    pub fn long_table(&self) -> Table {
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

    /// The table under OpenOOD's column names and definitions, in percent: FPR@95 has OoD as the positive class, areas under
    /// precision–recall curves are trapezoidal.
    fn write_openood(&self, file: &mut dyn Write) -> io::Result<()> {
        let percent = |share: f64| (100.0 * share).to_string();
        let accuracy = self.evaluation.calibrated.as_ref();
        let accuracy = accuracy.map_or_else(String::new, |found| percent(found.plain.accuracy));
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record([
            "score", "dataset", "FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC",
        ])?;
        for found in &self.evaluation.comparisons {
            csv.write_record([
                found.score.as_str(),
                &found.set,
                &percent(found.detection.fpr95_ood_positive),
                &percent(found.detection.auroc),
                &percent(found.aupr_in_trapezoid),
                &percent(found.aupr_out_trapezoid),
                &accuracy,
            ])?;
        }
        csv.flush()
    }

    /// Every score of every sample.
    fn write_samples(&self, file: &mut dyn Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(["set", "score", "sample", "confidence"])?;
        for set in self.evaluation.scored() {
            for (score, values) in &set.scores {
                for (sample, value) in values.iter().enumerate() {
                    let (sample, value) = (sample.to_string(), value.to_string());
                    csv.write_record([set.set.as_str(), score.as_str(), &sample, &value])?;
                }
            }
        }
        csv.flush()
    }
}

/// Writes the files of `--out`, which appear together once all of them are on the disk.
pub fn write(args: &Args, out: &Path, splits: &CompleteSplits, report: &Report<'_>) -> Result<()> {
    let (evaluation, test) = (report.evaluation, splits.test());
    let page = page::html(args, splits, report)?;
    let scores = Scores {
        schema: "collapse.scores/2",
        code_version: CODE_VERSION,
        train: args.train.as_ref().map(|path| path.display().to_string()),
        test: test.origin.clone(),
        l2: test.features.l2(),
        n_features: test.features.n_features(),
        level: args.level,
        standings: &report.standings,
        figures: evaluation.figures(),
        notes: &report.notes,
    };
    let files = [
        stage(&out.join("scores.json"), |file| {
            serde_json::to_writer_pretty(&mut *file, &scores)?;
            file.write_all(b"\n")
        })?,
        stage(&out.join("scores.csv"), |file| report.write_openood(file))?,
        stage(&out.join("samples.csv"), |file| report.write_samples(file))?,
        stage(&out.join("report.html"), |file| {
            file.write_all(page.as_bytes())
        })?,
    ];
    for file in files {
        file.finish()?;
    }
    Ok(())
}

/// A file written beside its place.
fn stage(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Replacement> {
    let mut file = BufWriter::new(Replacement::begin(path)?);
    let written = write(&mut file);
    let whole = written.and_then(|()| file.into_inner().map_err(|error| error.into_error()));
    whole.with_context(|| format!("cannot write {}", path.display()))
}
