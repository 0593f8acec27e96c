//! The notes and the files.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collapse_evaluate::{CompleteSplits, Evaluation, Figures, Standing};
use collapse_files::Replacement;
use collapse_page::{Made, Report, notes_on_detectors, notes_on_sets};
use serde::Serialize;

use super::Args;
use crate::CODE_VERSION;
use crate::command_line::typed;

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

/// The notes below the table.
pub fn notes(args: &Args, splits: &CompleteSplits, evaluation: &Evaluation) -> Vec<String> {
    let mut notes = notes_on_detectors(splits, evaluation, "--covariance");
    if args.save.is_some() && splits.validation().is_none() {
        notes.push(
            "without --validation the detectors are saved without thresholds, so that --load can score but not decide (--input)".to_owned(),
        );
    }
    notes.extend(notes_on_sets(splits));
    notes
}

/// Writes the files of `--out`, which appear together once all of them are on the disk.
pub fn write(args: &Args, out: &Path, report: &Report<'_>) -> Result<()> {
    let (evaluation, test) = (report.evaluation, report.splits.test());
    let path = |path: &Option<PathBuf>| Some(path.as_ref()?.display().to_string());
    let fitted = [
        ("Training split", path(&args.train)),
        ("Detectors", path(&args.load)),
    ];
    let page = report.page(&Made {
        fitted: fitted
            .into_iter()
            .filter_map(|(name, path)| Some((name, path?)))
            .collect(),
        code_version: CODE_VERSION,
        call: &typed(),
        numbers: "Every number of this page, unrounded, stands in scores.json; every score of every sample in samples.csv.",
    })?;
    let scores = Scores {
        schema: "collapse.scores/2",
        code_version: CODE_VERSION,
        train: path(&args.train),
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
        stage(&out.join("scores.csv"), |file| {
            write_openood(evaluation, file)
        })?,
        stage(&out.join("samples.csv"), |file| {
            write_samples(evaluation, file)
        })?,
        stage(&out.join("report.html"), |file| {
            file.write_all(page.as_bytes())
        })?,
    ];
    for file in files {
        file.finish()?;
    }
    Ok(())
}

/// The table under OpenOOD's column names and definitions, in percent: FPR@95 has OoD as the positive class, areas under
/// precision–recall curves are trapezoidal.
fn write_openood(evaluation: &Evaluation, file: &mut dyn Write) -> io::Result<()> {
    let percent = |share: f64| (100.0 * share).to_string();
    let accuracy = evaluation.calibrated.as_ref();
    let accuracy = accuracy.map_or_else(String::new, |found| percent(found.plain.accuracy));
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record([
        "score", "dataset", "FPR@95", "AUROC", "AUPR_IN", "AUPR_OUT", "ACC",
    ])?;
    for found in &evaluation.comparisons {
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
fn write_samples(evaluation: &Evaluation, file: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(["set", "score", "sample", "confidence"])?;
    for set in evaluation.scored() {
        for (score, values) in &set.scores {
            for (sample, value) in values.iter().enumerate() {
                let (sample, value) = (sample.to_string(), value.to_string());
                csv.write_record([set.set.as_str(), score.as_str(), &sample, &value])?;
            }
        }
    }
    csv.flush()
}

/// A file written beside its place.
fn stage(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Replacement> {
    let mut file = BufWriter::new(Replacement::begin(path)?);
    let written = write(&mut file);
    let whole = written.and_then(|()| file.into_inner().map_err(|error| error.into_error()));
    whole.with_context(|| format!("cannot write {}", path.display()))
}
