//! `score --load --input`: which of new samples to trust.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use collapse_evaluate::{Decisions, SavedDetectors, Split};
use collapse_features::read;
use collapse_files::replace_with;
use collapse_ood::metrics::share_interval;
use collapse_results::ScoreId;
use serde::Serialize;

use super::Args;
use crate::output::{note, print};

/// Share of in-distribution samples to accept where nothing is said.
const ACCEPT: f64 = 0.95;

/// One line of the decisions.
#[derive(Serialize)]
struct Line<'a> {
    sample: usize,
    score: &'a str,
    confidence: f64,
    threshold: f64,
    accept: bool,
}

/// Reads the detectors and the samples, decides, and tells the decisions and how many were rejected.
pub fn run(args: &Args, load: &Path, input: &Path) -> Result<ExitCode> {
    let detectors = SavedDetectors::read(load)?;
    let mut set = read(input)?;
    if args.l2 {
        set = set.with_l2(true);
    }
    let set = Split::new("input", set).from_origin(input.display());
    let scores = match args.detectors.is_empty() {
        true => vec![main_score(&detectors)],
        false => args.detectors.clone(),
    };
    let scores: Vec<&str> = scores.iter().map(String::as_str).collect();
    let accept = args.accept.unwrap_or(ACCEPT);
    let decisions = detectors.decide(set, &scores, accept, args.level)?;
    let write = |file: &mut dyn Write| match args.json {
        true => write_json(&decisions, file),
        false => write_csv(&decisions, file),
    };
    match &args.out {
        Some(out) => {
            let ending = if args.json { "jsonl" } else { "csv" };
            replace_with(&out.join(format!("decisions.{ending}")), write)?;
        }
        None => {
            let mut text = Vec::new();
            write(&mut text)?;
            print(String::from_utf8_lossy(&text))?;
        }
    }
    for found in &decisions {
        note!("note: {}", drift(found, args.level)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The density of the method where it has a threshold, else the first detector that has one.
fn main_score(detectors: &SavedDetectors) -> String {
    let main = ScoreId::GMM_FEATURES;
    let mut held_out = detectors.held_out.iter();
    let first = held_out.next().map(|held| held.score.as_str());
    let has_main = first == Some(main.as_str()) || held_out.any(|held| held.score == main);
    match first {
        Some(first) if !has_main => first.to_owned(),
        _ => main.as_str().to_owned(),
    }
}

/// How the rejected share compares with what in-distribution samples would give.
fn drift(found: &Decisions, level: f64) -> Result<String> {
    let (n, rejected) = (found.confidences.len(), found.n_rejected());
    let share = share_interval(rejected, n, level)?;
    let threshold = &found.threshold;
    Ok(format!(
        "{}: {rejected} of {n} rejected, {:.2} % ({:.2}–{:.2} % at level {level}); of in-distribution samples at most {:.2} % \
         are in expectation, {:.2}–{:.2} % by this threshold from {} held-out samples",
        found.score,
        100.0 * rejected as f64 / n as f64,
        100.0 * share.low,
        100.0 * share.high,
        100.0 * (1.0 - threshold.accept),
        100.0 * (1.0 - threshold.share.high),
        100.0 * (1.0 - threshold.share.low),
        threshold.n,
    ))
}

fn lines(decisions: &[Decisions]) -> impl Iterator<Item = Line<'_>> {
    decisions.iter().flat_map(|found| {
        let samples = found.confidences.iter().zip(found.accepted()).enumerate();
        samples.map(|(sample, (&confidence, accept))| Line {
            sample,
            score: &found.score,
            confidence,
            threshold: found.threshold.value,
            accept,
        })
    })
}

fn write_csv(decisions: &[Decisions], file: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    for line in lines(decisions) {
        csv.serialize(line)?;
    }
    csv.flush()
}

/// JSON has no infinity; where a threshold or a confidence is one, `null` stands.
fn write_json(decisions: &[Decisions], file: &mut dyn Write) -> io::Result<()> {
    for line in lines(decisions) {
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}
