//! Runs of the guard as files: the last one as JSON, all of them as lines, and a page.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::floors::Processor;
use super::outcome::{Outcome, Verdict};
use super::show;

/// Name and version of the form of `check.json`.
const SCHEMA: &str = "collapse.bench-check/1";

/// One run of the guard.
#[derive(Serialize)]
pub(super) struct Run {
    schema: &'static str,
    pub(super) time: String,
    pub(super) code_version: &'static str,
    pub(super) machine: String,
    pub(super) processor: Processor,
    pub(super) short: bool,
    pub(super) seconds: f64,
    pub(super) cases: Vec<Outcome>,
}

/// A run as a line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) time: String,
    pub(super) code_version: String,
    pub(super) processor: Processor,
    pub(super) short: bool,
    pub(super) verdict: Verdict,
    /// Name, ratio, and the ratio over the blessed one.
    pub(super) cases: Vec<(String, f64, Option<f64>)>,
}

impl Run {
    pub(super) fn now(
        processor: &Processor,
        short: bool,
        took: Duration,
        cases: Vec<Outcome>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            time: jiff::Timestamp::now().strftime("%F %H:%M UTC").to_string(),
            code_version: collapse_cli::CODE_VERSION,
            machine: super::super::measure::machine(),
            processor: processor.clone(),
            short,
            seconds: took.as_secs_f64(),
            cases,
        }
    }

    /// The worst of its cases; `NoFloor` only where no case has one.
    pub(super) fn verdict(&self) -> Verdict {
        let with_floor = self.cases.iter().map(|case| case.verdict);
        with_floor
            .filter(|verdict| *verdict != Verdict::NoFloor)
            .max()
            .unwrap_or(Verdict::NoFloor)
    }

    fn line(&self) -> Line {
        let case = |case: &Outcome| {
            let share = case.blessed.map(|blessed| case.ratio / blessed);
            (case.id.clone(), case.ratio, share)
        };
        Line {
            time: self.time.clone(),
            code_version: self.code_version.to_owned(),
            processor: self.processor.clone(),
            short: self.short,
            verdict: self.verdict(),
            cases: self.cases.iter().map(case).collect(),
        }
    }
}

/// Writes all three files into `folder` and returns the path of the page.
pub(super) fn write(folder: &Path, run: &Run) -> Result<PathBuf> {
    collapse_files::replace_json(&folder.join("check.json"), run)?;
    let path = folder.join("history.jsonl");
    append(&path, &format!("{}\n", serde_json::to_string(&run.line())?))?;
    let page = folder.join("history.html");
    let html = show::page(run, &read(&path, &run.processor)?)?;
    collapse_files::replace(&page, html.as_bytes())?;
    Ok(page)
}

/// Adds text to the end of a file, which is made where it is missing.
pub(super) fn append(path: &Path, text: &str) -> Result<()> {
    let open = OpenOptions::new().create(true).append(true).open(path);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot append to {}", path.display()))
}

/// The runs on this kind of processor, oldest first.
fn read(path: &Path, processor: &Processor) -> Result<Vec<Line>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(line).with_context(|| {
            format!(
                "line {} of {} is no run of the guard; remove it, or choose another --out",
                index + 1,
                path.display()
            )
        })?;
        if line.processor == *processor {
            lines.push(line);
        }
    }
    Ok(lines)
}
