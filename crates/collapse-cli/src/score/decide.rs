//! `score --load --input`: which of new samples to trust.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result, bail};
use collapse_evaluate::{Decider, Decisions, Policy, Rule, SavedDetectors, Split};
use collapse_features::{FeatureSet, Rows};
use collapse_files::{Replacement, replace_json};
use collapse_ood::metrics::{Interval, Threshold, share_interval};
use collapse_results::ScoreId;
use serde::Serialize;

use super::Args;
use super::watch::watch;
use crate::output::note;

/// Share of in-distribution samples to accept where nothing is said.
const ACCEPT: f64 = 0.95;
/// Parts of a stream that wait to be scored.
const WAITING: usize = 8;
/// Rows that are scored together, where as many wait.
const SCORED_ROWS: usize = 4096;

/// Reads the detectors, decides of one part of the samples after the other, and tells at the end how many were rejected.
pub fn run(args: &Args, load: &Path, input: &Path) -> Result<ExitCode> {
    let detectors = SavedDetectors::read(load)?;
    let scores = match args.detectors.is_empty() {
        true => vec![main_score(&detectors)],
        false => args.detectors.clone(),
    };
    let scores: Vec<&str> = scores.iter().map(String::as_str).collect();
    let policy = Policy {
        accept: args.accept.unwrap_or(ACCEPT),
        level: args.level,
        per_class: args.per_class,
    };
    let decider = detectors.decider(&scores, &policy)?;
    let source = Source::open(args, input)?;
    let mut rejected = Rejected {
        n: 0,
        by_score: vec![0; decider.rules().len()],
    };
    // A stream may rest for hours, and lines on a terminal show by themselves how far it is.
    let told = input.as_os_str() != "-" && (args.out.is_some() || !io::stdout().is_terminal());
    let doing = told.then(|| format!("deciding of {}", source.name));
    let decide = |out: &mut dyn Write, rejected: &mut Rejected| {
        let decide = || decide(args, &decider, source, out, rejected);
        match &doing {
            Some(doing) => watch(doing, decide),
            None => decide(),
        }
    };
    let whole = match &args.out {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            decide(&mut out, &mut rejected)?
        }
        Some(out) => {
            let ending = if args.json { "jsonl" } else { "csv" };
            let path = out.join(format!("decisions.{ending}"));
            let mut file = BufWriter::new(Replacement::begin(&path)?);
            let decided = match decide(&mut file, &mut rejected) {
                Err(error) if rejected.n == 0 => return Err(error),
                decided => decided,
            };
            let file = file.into_inner().map_err(|error| error.into_error());
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            // What was decided before something went wrong is not lost.
            file.finish()?;
            if decided.is_err() {
                // The summary would be another input's.
                let _ = std::fs::remove_file(out.join("summary.json"));
            }
            let (n, path) = (rejected.n, path.display());
            decided
                .with_context(|| format!("{path} holds the decisions of the {n} samples before"))?
        }
    };
    // Whoever closed the output has seen enough.
    if !whole {
        return Ok(ExitCode::SUCCESS);
    }
    let summaries = decider.rules().iter().zip(&rejected.by_score);
    let summaries = summaries.map(|(rule, n)| Summary::of(rule, *n, rejected.n, args.level));
    let summaries: Vec<Summary<'_>> = summaries.collect::<Result<_>>()?;
    if let Some(out) = &args.out {
        replace_json(&out.join("summary.json"), &summaries)?;
    }
    for summary in &summaries {
        note!("note: {}", summary.text(args.level));
    }
    Ok(ExitCode::SUCCESS)
}

/// The threshold that a file of detectors gives where nothing else is asked for, and how sure it is; `None` without held-out samples.
///
/// # Errors
/// As [`HeldOut::threshold`](collapse_evaluate::HeldOut::threshold).
pub fn threshold_kept(detectors: &SavedDetectors, level: f64) -> Result<Option<String>> {
    let main = main_score(detectors);
    let mut held_out = detectors.held_out.iter();
    let Some(held_out) = held_out.find(|held| held.score.as_str() == main) else {
        return Ok(None);
    };
    let Threshold {
        value, n, share, ..
    } = held_out.threshold(ACCEPT, level)?;
    Ok(Some(format!(
        "{main} accepts from {value:.6} on at --accept {ACCEPT}, {:.2}–{:.2} % of in-distribution samples at level {level} \
         (from {n} held-out ones)",
        100.0 * share.low,
        100.0 * share.high,
    )))
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

/// Some of the samples, or what is wrong with the next.
type Part = Result<FeatureSet, collapse_features::Error>;

/// Where the samples come from.
struct Source {
    name: String,
    rows: Rows,
    l2: bool,
}

impl Source {
    fn open(args: &Args, input: &Path) -> Result<Self> {
        let stream = input.as_os_str() == "-";
        let name = match stream {
            true => "standard input".to_owned(),
            false => input.display().to_string(),
        };
        let rows = match stream {
            true => Rows::from_reader_unlabelled(&name, io::stdin()),
            false => Rows::open_unlabelled(input)?,
        };
        Ok(Self {
            name,
            rows,
            l2: args.l2,
        })
    }

    /// Sends the parts as they come, until one is wrong or nobody listens.
    fn send(self, parts: &SyncSender<Part>) {
        for part in self.rows {
            let part = part.map(|set| match self.l2 {
                true => set.with_l2(true),
                false => set,
            });
            let wrong = part.is_err();
            if parts.send(part).is_err() || wrong {
                return;
            }
        }
    }
}

/// Samples of a stream, and those of them that each detector rejected.
struct Rejected {
    n: usize,
    by_score: Vec<usize>,
}

/// Decides of all samples and counts them; false when the output was closed before the end.
fn decide(
    args: &Args,
    decider: &Decider,
    source: Source,
    out: &mut dyn Write,
    rejected: &mut Rejected,
) -> Result<bool> {
    let name = source.name.clone();
    let (sender, receiver) = sync_channel(WAITING);
    // Not joined: a reader that waits for a silent stream must not keep a command whose output is closed.
    std::thread::spawn(move || source.send(&sender));
    let mut lines = Lines::new(args.json, out);
    let mut wrong = None;
    while let Some(set) = next(&receiver, &mut wrong)? {
        let (first, n) = (rejected.n, set.n_samples());
        let decisions = decider.decide(Split::new("input", set).from_origin(&name), first)?;
        match lines.write(&decisions, first, n) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            written => written.context("cannot write the decisions")?,
        }
        rejected.n += n;
        for (sum, found) in rejected.by_score.iter_mut().zip(&decisions) {
            *sum += found.n_rejected();
        }
    }
    if rejected.n == 0 {
        bail!("{name} holds no samples");
    }
    Ok(true)
}

/// What waits, together; `None` at the end. An error comes after what waits before it, from `wrong`.
fn next(
    parts: &Receiver<Part>,
    wrong: &mut Option<collapse_features::Error>,
) -> Result<Option<FeatureSet>> {
    if let Some(error) = wrong.take() {
        return Err(error.into());
    }
    let Ok(first) = parts.recv() else {
        return Ok(None);
    };
    let mut together = vec![first?];
    let mut n = together[0].n_samples();
    while n < SCORED_ROWS
        && let Ok(part) = parts.try_recv()
    {
        match part {
            Ok(part) => {
                n += part.n_samples();
                together.push(part);
            }
            Err(error) => {
                *wrong = Some(error);
                break;
            }
        }
    }
    Ok(FeatureSet::stacked(together))
}

/// The decisions as text.
enum Lines<'a> {
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    Json(&'a mut dyn Write),
}

/// One of them.
#[derive(Serialize)]
struct Line<'a> {
    sample: usize,
    score: &'a str,
    confidence: f64,
    threshold: f64,
    accept: bool,
    /// The predicted class, where each class has a threshold of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<usize>,
}

impl<'a> Lines<'a> {
    fn new(json: bool, out: &'a mut dyn Write) -> Self {
        match json {
            true => Self::Json(out),
            false => Self::Csv(Box::new(csv::Writer::from_writer(out))),
        }
    }

    /// Writes the decisions of `n` samples, sample by sample, so that each is known once its line is.
    fn write(&mut self, decisions: &[Decisions], first: usize, n: usize) -> io::Result<()> {
        for row in 0..n {
            for found in decisions {
                let (confidence, threshold) = (found.confidences[row], found.threshold_of(row));
                let classes = found.by_class.as_ref();
                let line = Line {
                    sample: first + row,
                    score: &found.score,
                    confidence,
                    threshold: threshold.value,
                    accept: threshold.accepts(confidence),
                    class: classes.map(|classes| classes[row].0),
                };
                match self {
                    Self::Csv(csv) => csv.serialize(line).map_err(io_error)?,
                    // JSON has no infinity; where a threshold or a confidence is one, `null` stands.
                    Self::Json(out) => {
                        serde_json::to_writer(&mut *out, &line)?;
                        out.write_all(b"\n")?;
                    }
                }
            }
        }
        match self {
            Self::Csv(csv) => csv.flush(),
            Self::Json(out) => out.flush(),
        }
    }
}

/// The error below one of the crate `csv`, whose own conversion hides its kind.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// What one detector made of a whole stream.
#[derive(Serialize)]
struct Summary<'a> {
    score: &'a str,
    n: usize,
    rejected: usize,
    share_rejected: f64,
    /// Clopper and Pearson's, at the level of the command.
    share_rejected_interval: Interval,
    threshold: &'a Threshold,
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds_by_class: Option<&'a [Threshold]>,
}

impl<'a> Summary<'a> {
    fn of(rule: &'a Rule, rejected: usize, n: usize, level: f64) -> Result<Self> {
        Ok(Self {
            score: &rule.score,
            n,
            rejected,
            share_rejected: rejected as f64 / n as f64,
            share_rejected_interval: share_interval(rejected, n, level)?,
            threshold: &rule.threshold,
            thresholds_by_class: rule.by_class.as_deref(),
        })
    }

    /// How the rejected share compares with what in-distribution samples would give.
    fn text(&self, level: f64) -> String {
        let (share, threshold) = (self.share_rejected_interval, self.threshold);
        let found = format!(
            "{}: {} of {} rejected, {:.2} % ({:.2}–{:.2} % at level {level}); of in-distribution samples at most {:.2} % are in expectation",
            self.score,
            self.rejected,
            self.n,
            100.0 * self.share_rejected,
            100.0 * share.low,
            100.0 * share.high,
            100.0 * (1.0 - threshold.accept),
        );
        match self.thresholds_by_class {
            None => format!(
                "{found}, {:.2}–{:.2} % by this threshold from {} held-out samples",
                100.0 * (1.0 - threshold.share.high),
                100.0 * (1.0 - threshold.share.low),
                threshold.n,
            ),
            Some(classes) => {
                let mute = classes.iter().filter(|own| own.value == f64::NEG_INFINITY);
                let mute = match mute.count() {
                    0 => String::new(),
                    n => format!("; {n} of these have too few to reject anything"),
                };
                format!(
                    "{found} within each of {} predicted classes, by thresholds from {} held-out samples{mute}",
                    classes.len(),
                    threshold.n
                )
            }
        }
    }
}
