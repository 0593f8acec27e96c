//! `cargo xtask score`: the evaluation of any network from its feature files.

mod decide;
mod input;
mod output;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use collapse_density::{Covariance, Jitter, Shrinkage};
use collapse_evaluate::{CompleteSplits, Evaluation, SavedDetectors, Split};
use collapse_files::Replacement;
use collapse_ood::metrics::Bootstrap;
use collapse_ood::{Detector, Intervals, ScoreId, Settings, Skipped, detectors};
use collapse_page::Report;
use collapse_report::{TerminalStyle, render};
use collapse_results::Table;

use self::watch::watch;
use crate::CODE_VERSION;
use crate::named_path::NamedPath;
use crate::output::{note, out};

/// Score feature files of any framework by every detector; no training, no images.
///
/// A set is a .safetensors or .npz file with features, logits, labels, head.weight and head.bias (metadata or array l2), a
/// folder of .npy files of these names, one .npy file of features alone, or lines of text (.csv, .jsonl). Detectors are fitted on --train, the temperature on
/// --validation; everything is measured on --test and --ood. Only features are needed, and labels for --train: what a
/// detector lacks leaves that detector out.
#[derive(clap::Args)]
pub struct Args {
    /// Features of the training split, with labels; not needed with --load.
    #[arg(long, required_unless_present = "load")]
    train: Option<PathBuf>,
    /// Features of the in-distribution test split; accuracy and calibration need its labels.
    #[arg(long, required_unless_present = "input")]
    test: Option<PathBuf>,
    /// Features of a validation split with labels, for temperature scaling and, with --save, for thresholds.
    #[arg(long)]
    validation: Option<PathBuf>,
    /// Features of an OoD set (repeatable).
    #[arg(long = "ood", value_name = "NAME=FILE", required_unless_present_any = ["near", "far", "input", "save"])]
    ood: Vec<NamedPath>,
    /// An OoD set that is like the in-distribution one (repeatable); the near sets have a mean of their own.
    #[arg(long, value_name = "NAME=FILE")]
    near: Vec<NamedPath>,
    /// An OoD set that is far from the in-distribution one (repeatable); the far sets have a mean of their own.
    #[arg(long, value_name = "NAME=FILE")]
    far: Vec<NamedPath>,
    /// Features of another network, for the scores of an ensemble (repeatable): a folder with files of the same names as the
    /// test and OoD sets, of the same samples in the same order.
    #[arg(long, value_name = "FOLDER")]
    ensemble: Vec<PathBuf>,
    /// Show every figure of every score on every set, not the summary alone.
    #[arg(long)]
    all: bool,
    /// The head saw L2-normalised features; overrides the files' own word.
    #[arg(long)]
    l2: bool,
    /// Only these detectors (repeatable) [default: all; with --input gmm_features].
    #[arg(long = "detector", value_name = "NAME")]
    detectors: Vec<String>,
    /// Class covariances of the Gaussians gmm_features and gmm_logits.
    #[arg(long, value_enum, default_value_t = Form::Full, conflicts_with = "load")]
    covariance: Form,
    /// Jitter on their diagonals instead of DDU's ladder; the ridge of the low-rank form (there 1e-6 by default).
    #[arg(long, value_name = "VARIANCE", conflicts_with = "load")]
    jitter: Option<f64>,
    /// Level of the intervals.
    #[arg(long, default_value_t = 0.95, value_parser = level)]
    level: f64,
    /// Bootstrap intervals of every figure from this many resamples.
    #[arg(long, value_name = "RESAMPLES", value_parser = resamples())]
    bootstrap: Option<usize>,
    /// Where scores.json, scores.csv and per-sample scores go, or the decisions of --input; nothing is written without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep the fitted detectors in this file (.json as text, any other ending as MessagePack).
    #[arg(long)]
    save: Option<PathBuf>,
    /// Use detectors kept by --save instead of fitting.
    #[arg(long, conflicts_with = "save")]
    load: Option<PathBuf>,
    /// Decide of every sample of this set, which needs no labels, whether to accept it as in-distribution; the thresholds
    /// come from the validation split that --save was given. Standard output gets a line for each sample. `-` reads a stream
    /// of npy arrays, JSON lines or CSV from standard input, in bounded memory.
    #[arg(long, requires = "load", conflicts_with_all = ["train", "test", "validation", "ood", "near", "far", "ensemble", "bootstrap"])]
    input: Option<PathBuf>,
    /// Share of in-distribution samples to accept in expectation, at least [default: 0.95].
    #[arg(long, value_name = "SHARE", value_parser = level, requires = "input")]
    accept: Option<f64>,
    /// A threshold for each class that the network predicts, so that --accept holds within each of them.
    #[arg(long, requires = "input")]
    per_class: bool,
    /// Decisions as JSON lines instead of CSV.
    #[arg(long, requires = "input")]
    json: bool,
}

/// A level of confidence, or another share that is neither nothing nor all.
fn level(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(level) if 0.0 < level && level < 1.0 => Ok(level),
        _ => Err(format!(
            "{text:?} is not a number between 0 and 1, e.g. 0.95"
        )),
    }
}

/// Resamples that a bootstrap can hold in memory.
fn resamples() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=1_000_000)
}

/// Form of the class covariances, as on the command line.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Form {
    /// One matrix a class.
    Full,
    /// One matrix for all classes.
    Tied,
    /// Variances alone.
    Diagonal,
    /// Full, shrunk by the rule of Ledoit and Wolf.
    LedoitWolf,
    /// Full, shrunk by the oracle-approximating rule.
    Oas,
    /// The directions that a class's samples span, and a ridge in all others.
    LowRank,
}

/// Ridge of the low-rank form where none is given.
const RIDGE: f64 = 1e-6;

impl Args {
    /// All OoD sets, near and far ones too.
    fn ood_sets(&self) -> impl Iterator<Item = &NamedPath> {
        self.ood.iter().chain(&self.near).chain(&self.far)
    }

    /// Fails for options that mean nothing here or would cost a file.
    fn check(&self) -> Result<()> {
        let of_input = [
            ("--accept", self.accept.is_some()),
            ("--per-class", self.per_class),
            ("--json", self.json),
        ];
        if let Some((option, _)) = of_input.into_iter().find(|(_, given)| *given) {
            bail!(
                "{option} is about decisions, which --input asks for; give --input, or leave {option} out"
            );
        }
        if let Some(save) = &self.save {
            if save.is_dir() {
                bail!(
                    "cannot write {}: it is a folder; give --save a file",
                    save.display()
                );
            }
            if self.reads(save) {
                bail!(
                    "--save {} would replace the features that it is to be made of; choose another file",
                    save.display()
                );
            }
        }
        Ok(())
    }

    /// Whether the file is one of the sets or a part of one.
    fn reads(&self, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else {
            return false;
        };
        let sets = self.test.iter().chain(self.ood_sets().map(|set| &set.path));
        let sets: Vec<&PathBuf> = sets.collect();
        let member = |folder: &PathBuf| {
            let names = sets.iter().filter_map(|set| set.file_name());
            names
                .map(|name| folder.join(name))
                .collect::<Vec<PathBuf>>()
        };
        let members = self.ensemble.iter().flat_map(member);
        let fitted = self.train.iter().chain(&self.validation).cloned();
        let mut all = fitted.chain(sets.iter().copied().cloned()).chain(members);
        all.any(|set| set.canonicalize().is_ok_and(|set| file.starts_with(set)))
    }

    /// Fails where nothing could be written in the end.
    fn check_places(&self) -> Result<()> {
        let scores = self.out.as_ref().map(|out| out.join("scores.json"));
        for place in self.save.iter().chain(&scores) {
            Replacement::begin(place)?;
        }
        Ok(())
    }

    fn settings(&self) -> Settings {
        let ridge = self.jitter.unwrap_or(RIDGE);
        Settings {
            gmm_covariance: match self.covariance {
                Form::Full => Covariance::Full,
                Form::Tied => Covariance::Tied,
                Form::Diagonal => Covariance::Diagonal,
                Form::LedoitWolf => Covariance::Shrinkage(Shrinkage::LedoitWolf),
                Form::Oas => Covariance::Shrinkage(Shrinkage::Oas),
                Form::LowRank => Covariance::LowRank { rank: None, ridge },
            },
            gmm_jitter: self.jitter.map_or(Jitter::Ladder, Jitter::Fixed),
            ..Settings::default()
        }
    }

    fn intervals(&self) -> Intervals {
        let bootstrap = |resamples| Bootstrap {
            resamples,
            level: self.level,
            ..Bootstrap::default()
        };
        Intervals {
            level: self.level,
            bootstrap: self.bootstrap.map(bootstrap),
        }
    }
}

pub fn run(mut args: Args) -> Result<ExitCode> {
    let mut named = BTreeSet::new();
    args.detectors.retain(|name| named.insert(name.clone()));
    if let (Some(load), Some(input)) = (&args.load, &args.input) {
        return decide::run(&args, load, input);
    }
    args.check()?;
    let loaded = match &args.load {
        Some(path) => Some(watch("reading the detectors", || load(&args, path))?),
        None => None,
    };
    let head = loaded.as_ref().and_then(SavedDetectors::features_head);
    let splits = watch("reading the feature sets", || {
        input::read_splits(&args, head)
    })?;
    args.check_places()?;
    let detectors = match (loaded, &args.load) {
        (Some(detectors), Some(path)) => {
            detectors.check_fits(&path.display().to_string(), splits.test())?;
            detectors
        }
        _ => watch("fitting the detectors", || fit(&args, &splits))?,
    };
    let mut kept = None;
    if let Some(path) = &args.save {
        watch("saving the detectors", || detectors.write(path))?;
        kept = decide::threshold_kept(&detectors, args.level)?;
    }
    let evaluation = watch("scoring and measuring", || {
        splits.evaluate(detectors.fitted, &args.intervals())
    })?;
    let report = Report {
        splits: &splits,
        notes: output::notes(&args, &splits, &evaluation),
        standings: evaluation.standings(&names(&args.near), &names(&args.far)),
        evaluation: &evaluation,
        held_out: &detectors.held_out,
    };
    // Files first: a table that cannot be shown costs none of them.
    if let Some(out) = &args.out {
        watch("writing the report", || output::write(&args, out, &report))?;
    }
    let measured = !splits.ood().is_empty();
    if measured || args.all {
        out!("{}", shown(&report.summary()))?;
    } else {
        let kept = evaluation.fitted.detectors.iter();
        let kept: Vec<String> = kept.map(|detector| detector.id().to_string()).collect();
        let lines = [report.caption(), format!("Detectors: {}", kept.join(", "))];
        let lines = lines.iter().filter(|line| !line.is_empty());
        out!("{}", lines.cloned().collect::<Vec<String>>().join("\n"))?;
    }
    if measured && args.all {
        out!("{}", shown(&report.scores()))?;
    }
    if let Some(path) = &args.save {
        out!("Saved: {}", path.display())?;
        if let Some(kept) = kept {
            out!("Threshold: {kept}")?;
        }
    }
    if let Some(out) = &args.out {
        out!("Numbers: {}", out.join("scores.json").display())?;
        out!("Report: {}", out.join("report.html").display())?;
    }
    for note in &report.notes {
        note!("note: {note}");
    }
    outcome(&args, &splits, &evaluation)
}

/// A table as the terminal at hand shows it.
fn shown(table: &Table) -> String {
    render::terminal(table, TerminalStyle::detect())
}

fn names(sets: &[NamedPath]) -> Vec<&str> {
    sets.iter().map(|set| set.name.as_str()).collect()
}

/// Fits the detectors asked for; one that was named must be possible.
fn fit(args: &Args, splits: &CompleteSplits) -> Result<SavedDetectors> {
    let names = args.detectors.iter().map(String::as_str);
    let fitted = match args.detectors.is_empty() {
        true => splits.fit_all(&args.settings())?,
        false => splits.fit_named(&args.settings(), names)?,
    };
    let detectors = SavedDetectors::of(splits, fitted, CODE_VERSION);
    match args.save {
        Some(_) => Ok(detectors.with_held_out(splits)?),
        None => Ok(detectors),
    }
}

/// The detectors of a file, or those of them that are asked for.
fn load(args: &Args, path: &Path) -> Result<SavedDetectors> {
    let mut detectors = SavedDetectors::read(path)?;
    let origin = path.display();
    if let Some(missing) = args.detectors.iter().find(|name| {
        detectors
            .fitted
            .get(&ScoreId::from(name.as_str()))
            .is_none()
    }) {
        bail!("{origin} holds no detector {missing}; save it with --detector {missing}");
    }
    if !args.detectors.is_empty() {
        let asked = |name: &str| args.detectors.iter().any(|asked| asked == name);
        let fitted = &mut detectors.fitted;
        fitted
            .detectors
            .retain(|detector| asked(detector.id().as_str()));
        fitted
            .skipped
            .retain(|skipped| asked(skipped.name.as_str()));
    }
    Ok(detectors)
}

/// Everything that can be computed has been shown by now; the exit code says whether that is all that was asked for.
///
/// A detector that lacks the head or the logits, or that is undefined for a sample, is left out with a word; one that cannot be
/// fitted, or that was named, is the user's to decide.
fn outcome(args: &Args, splits: &CompleteSplits, evaluation: &Evaluation) -> Result<ExitCode> {
    let head = splits
        .train()
        .is_some_and(|set| set.features.head.is_some());
    let logits = |set: &Split| set.features.logits.is_some();
    let mut all = splits.train().into_iter().chain([splits.test()]);
    let logits = all.all(logits) && splits.ood().iter().all(logits);
    let lacking = |skipped: &&Skipped| {
        let entry = detectors().iter().find(|entry| entry.id() == skipped.name);
        entry
            .is_some_and(|entry| (entry.needs_head() && !head) || (entry.needs_logits() && !logits))
    };
    let unscored = evaluation.unscored();
    let (without, unfitted): (Vec<&Skipped>, Vec<&Skipped>) =
        evaluation.fitted.skipped.iter().partition(lacking);
    let (without_logits, unscored): (Vec<&Skipped>, Vec<&Skipped>) =
        unscored.iter().partition(lacking);
    let lacking: BTreeSet<&str> = without
        .iter()
        .chain(&without_logits)
        .map(|skipped| skipped.name.as_str())
        .collect();
    if !lacking.is_empty() {
        let names: Vec<&str> = lacking.into_iter().collect();
        note!(
            "note: without {}, which need {}",
            names.join(", "),
            if logits {
                "the head"
            } else {
                "logits or the head"
            }
        );
    }
    let lines = |skipped: &[&Skipped]| -> Vec<String> {
        let line = |skipped: &&Skipped| format!("{}: {}", skipped.name, skipped.reason);
        skipped.iter().map(line).collect()
    };
    let (mut failed, mut told) = (Vec::new(), Vec::new());
    // What a file does not hold was said when it was saved.
    match args.load.is_some() && args.detectors.is_empty() {
        true => told.extend(lines(&unfitted)),
        false => failed.extend(lines(&unfitted)),
    }
    match args.detectors.is_empty() {
        true => told.extend(lines(&unscored)),
        false => failed.extend(lines(&unscored)),
    }
    for line in told {
        note!("note: without {line}");
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let place = args.train.as_ref().or(args.load.as_ref());
    bail!(
        "{}: these detectors cannot be used and are left out above:\n  {}\nname the others with --detector, or choose another --covariance",
        place.map_or_else(String::new, |path| path.display().to_string()),
        failed.join("\n  ")
    )
}
