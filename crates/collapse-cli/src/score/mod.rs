//! `cargo xtask score`: the evaluation of any network from its feature files.

mod input;
mod output;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_density::{Covariance, Jitter, Shrinkage};
use collapse_ood::metrics::{Bootstrap, calibration, correct, temperature_optimum};
use collapse_ood::{
    AnyDetector, Error, Fitted, Intervals, Settings, Skipped, compare, detectors, fit_all,
    fit_named, risk_coverage,
};

use self::input::{Sets, Split};
use self::output::{Calibrated, Report};
use crate::named_path::NamedPath;

/// Score feature files of any framework by every detector; no training, no images.
///
/// A set is a .safetensors or .npz file with features, logits, labels, head.weight and head.bias (metadata or array l2), a
/// folder of .npy files of these names, or one .npy file of features alone. Detectors are fitted on --train, the temperature on
/// --validation; everything is measured on --test and --ood. Only features are needed, and labels for --train: what a
/// detector lacks leaves that detector out.
#[derive(clap::Args)]
pub struct Args {
    /// Features of the training split, with labels; not needed with --load.
    #[arg(long, required_unless_present = "load")]
    train: Option<PathBuf>,
    /// Features of the in-distribution test split; accuracy and calibration need its labels.
    #[arg(long)]
    test: PathBuf,
    /// Features of a validation split with labels, for temperature scaling.
    #[arg(long)]
    validation: Option<PathBuf>,
    /// Features of an OoD set (repeatable).
    #[arg(long = "ood", value_name = "NAME=FILE", required = true)]
    ood: Vec<NamedPath>,
    /// The head saw L2-normalised features; overrides the files' own word.
    #[arg(long)]
    l2: bool,
    /// Only these detectors (repeatable) [default: all].
    #[arg(long = "detector", value_name = "NAME")]
    detectors: Vec<String>,
    /// Class covariances of the Gaussians gmm_features and gmm_logits.
    #[arg(long, value_enum, default_value_t = Form::Full, conflicts_with = "load")]
    covariance: Form,
    /// Jitter on their diagonals instead of DDU's ladder; the ridge of the low-rank form (there 1e-6 by default).
    #[arg(long, value_name = "VARIANCE", conflicts_with = "load")]
    jitter: Option<f64>,
    /// Level of the intervals.
    #[arg(long, default_value_t = 0.95)]
    level: f64,
    /// Bootstrap intervals of every figure from this many resamples.
    #[arg(long, value_name = "RESAMPLES")]
    bootstrap: Option<usize>,
    /// Where scores.json, scores.csv and per-sample scores go; nothing is written without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep the fitted detectors in this file (.json as text, any other ending as MessagePack).
    #[arg(long)]
    save: Option<PathBuf>,
    /// Use detectors kept by --save instead of fitting.
    #[arg(long, conflicts_with_all = ["save", "detectors"])]
    load: Option<PathBuf>,
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

pub fn run(args: Args) -> Result<ExitCode> {
    let sets = input::read_sets(&args)?;
    let fitted = match &args.load {
        Some(path) => input::load(path, &sets)?,
        None => fit(&args, &sets)?,
    };
    if let Some(path) = &args.save {
        output::save(path, &sets, &fitted)?;
    }
    let test = fitted.score_set("test", &sets.test.inputs()?);
    let mut ood = Vec::new();
    for set in &sets.ood {
        ood.push(fitted.score_set(&set.name, &set.inputs()?));
    }
    let calibrated = calibrate(&sets)?;
    let mut report = Report {
        comparisons: compare(&test, &ood, &args.intervals())?,
        risk_coverage: match &calibrated {
            Some(found) => risk_coverage(&test, &found.correct)?,
            None => Vec::new(),
        },
        notes: notes(&sets, &fitted, calibrated.as_ref()),
        calibrated,
        geometry: sets.train.as_ref().and_then(input::geometry),
        agreement: input::agreement(&fitted, &sets.test),
        skipped: fitted.skipped.clone(),
    };
    let scored: Vec<_> = [&test].into_iter().chain(&ood).collect();
    let unscored: Vec<Skipped> = scored.iter().flat_map(|set| set.failed.clone()).collect();
    report.skipped.extend(unscored.iter().cloned());
    println!("{}", report.table());
    if let Some(out) = &args.out {
        output::write(&args, out, &sets, &report, &scored)?;
        println!("Numbers: {}", out.join("scores.json").display());
    }
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    outcome(&args, &sets, &fitted.skipped, &unscored)
}

/// Fits the detectors asked for; one that was named must be possible.
fn fit(args: &Args, sets: &Sets) -> Result<Fitted> {
    let Some(train) = &sets.train else {
        bail!("no training features; give --train, or --load with detectors kept by --save");
    };
    let logits_and_head = train.train_inputs()?;
    if args.detectors.is_empty() {
        return Ok(fit_all(&logits_and_head, &args.settings()));
    }
    let names = args.detectors.iter().map(String::as_str);
    fit_named(&logits_and_head, &args.settings(), names)
        .with_context(|| format!("fitting on {}", train.path.display()))
}

/// Everything that can be computed has been shown by now; the exit code says whether that is all that was asked for.
///
/// A detector that lacks the head or the logits, or that is undefined for a sample, is left out with a word; one that cannot be
/// fitted, or that was named, is the user's to decide.
fn outcome(
    args: &Args,
    sets: &Sets,
    unfitted: &[Skipped],
    unscored: &[Skipped],
) -> Result<ExitCode> {
    let head = sets
        .train
        .as_ref()
        .is_some_and(|set| set.features.head.is_some());
    let logits = |set: &Split| set.features.logits.is_some();
    let mut all = sets.train.iter().chain([&sets.test]).chain(&sets.ood);
    let logits = all.all(logits);
    let lacking = |skipped: &&Skipped| {
        let entry = detectors().iter().find(|entry| entry.name == skipped.name);
        entry.is_some_and(|entry| (entry.needs_head && !head) || (entry.needs_logits && !logits))
    };
    let (without, unfitted): (Vec<&Skipped>, Vec<&Skipped>) = unfitted.iter().partition(lacking);
    let (without_logits, unscored): (Vec<&Skipped>, Vec<&Skipped>) =
        unscored.iter().partition(lacking);
    let lacking: BTreeSet<&str> = without
        .iter()
        .chain(&without_logits)
        .map(|skipped| skipped.name.as_str())
        .collect();
    if !lacking.is_empty() {
        let names: Vec<&str> = lacking.into_iter().collect();
        eprintln!(
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
    let mut failed = lines(&unfitted);
    match args.detectors.is_empty() {
        true => lines(&unscored)
            .iter()
            .for_each(|line| eprintln!("note: without {line}")),
        false => failed.extend(lines(&unscored)),
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

/// Accuracy and calibration of the test logits, where there are labels for them.
fn calibrate(sets: &Sets) -> Result<Option<Calibrated>> {
    let test = &sets.test.features;
    let (Some(logits), Some(_)) = (&test.logits, &test.labels) else {
        return Ok(None);
    };
    let labels = test
        .labels_below(logits.ncols())
        .with_context(|| format!("in {}", sets.test.path.display()))?;
    let mut undefined = None;
    let temperature = match &sets.validation {
        None => None,
        Some(validation) => {
            let Some(logits) = &validation.features.logits else {
                bail!(
                    "{} has neither logits nor a head; export one of them to choose a temperature",
                    validation.path.display()
                );
            };
            let context = || format!("in {}", validation.path.display());
            let labels = validation.features.labels_below(logits.ncols());
            match temperature_optimum(logits.view(), labels.with_context(context)?) {
                Ok(temperature) => Some(temperature),
                Err(error @ Error::Undefined { .. }) => {
                    undefined = Some(format!("{}: {error}", validation.path.display()));
                    None
                }
                Err(error) => return Err(error).with_context(context),
            }
        }
    };
    Ok(Some(Calibrated {
        plain: calibration(logits.view(), labels, 1.0)?,
        temperature,
        temperature_undefined: undefined,
        scaled: match temperature {
            Some(temperature) => Some(calibration(logits.view(), labels, temperature)?),
            None => None,
        },
        correct: correct(logits.view(), labels)?,
    }))
}

/// What a reader of the table has to know to trust it.
fn notes(sets: &Sets, fitted: &Fitted, calibrated: Option<&Calibrated>) -> Vec<String> {
    let mut notes = Vec::new();
    for name in ["gmm_features", "gmm_logits"] {
        let Some(AnyDetector::Gmm(gmm)) = fitted.get(name) else {
            continue;
        };
        let mixture = gmm.mixture();
        let least = mixture.counts().iter().enumerate().min_by_key(|(_, n)| **n);
        let (class, samples) = least.map_or((0, 0), |(class, n)| (class, *n));
        let d = mixture.n_features();
        let full = matches!(mixture.parameters().covariance(), Covariance::Full);
        if full && samples <= d {
            notes.push(format!(
                "{name}: class {class} has {samples} samples for {d} dimensions, so the jitter {:e} decides its \
                 density; --covariance ledoit-wolf or low-rank does not depend on it",
                mixture.jitter()
            ));
        } else if full && mixture.jitter() > 0.0 {
            notes.push(format!(
                "{name}: the class covariances are singular without the jitter {:e}, as with features that never vary; \
                 --covariance ledoit-wolf does not depend on it",
                mixture.jitter()
            ));
        }
    }
    if let Some(reason) = calibrated.and_then(|found| found.temperature_undefined.as_ref()) {
        notes.push(reason.clone());
    }
    if sets.test.features.labels.is_none() {
        notes.push(format!(
            "{} has no labels, so accuracy, calibration and risk–coverage are left out",
            sets.test.path.display()
        ));
    }
    notes
}
