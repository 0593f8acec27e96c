//! `cargo xtask score`: the evaluation of any network from its feature files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_experiment::{Splits, evaluate_with, fit_detectors, score_with, write_json};
use collapse_features::{FeatureSet, check_agreement, read};
use collapse_ood::{Fitted, Settings};
use collapse_report::{TerminalStyle, evaluation_table, render};
use collapse_results::Evaluation;
use serde::Serialize;

use crate::CODE_VERSION;
use crate::data::NamedPath;

/// Score feature files of any framework by every detector; no training, no images.
///
/// Files are safetensors (features, logits, labels, head.weight, head.bias; metadata l2) or .npz with
/// the same names. Detectors are fitted on --train, the temperature on --validation, everything is
/// measured on --test and --ood.
#[derive(clap::Args)]
pub struct Args {
    /// Features of the training split, with labels.
    #[arg(long)]
    train: PathBuf,
    /// Features of the in-distribution test split, with labels.
    #[arg(long)]
    test: PathBuf,
    /// Features of a validation split, for temperature scaling.
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
    /// Where scores.json, scores.csv and per-sample scores go; nothing is written without it.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep the fitted detectors in this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Use detectors kept by --save instead of fitting.
    #[arg(long, conflicts_with_all = ["save", "detectors"])]
    load: Option<PathBuf>,
}

/// The content of `scores.json`.
#[derive(Serialize)]
struct Scores<'a> {
    schema: &'static str,
    code_version: &'static str,
    train: String,
    test: String,
    l2: bool,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let splits = read_splits(&args)?;
    let fitted = match &args.load {
        Some(path) => load(path)?,
        None => fit_detectors(&splits, &Settings::default(), &args.detectors)?,
    };
    refuse_failures(&args, &splits, &fitted)?;
    if let Some(path) = &args.save {
        write_json(path, &fitted)?;
    }
    let epoch = splits
        .test
        .metadata
        .get("epoch")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let evaluation = evaluate_with(&splits, &fitted, epoch)?;
    println!(
        "{}",
        render::terminal(&evaluation_table(&evaluation), TerminalStyle::detect())
    );
    if let Some(out) = &args.out {
        write_all(&args, out, &splits, &fitted, &evaluation)?;
        println!("Numbers: {}", out.join("scores.json").display());
    }
    Ok(ExitCode::SUCCESS)
}

/// A detector that only lacks the head is left out with a word; any other failure is the user's to decide.
fn refuse_failures(args: &Args, splits: &Splits, fitted: &Fitted) -> Result<()> {
    let needs_head = |name: &str| {
        collapse_ood::detectors()
            .iter()
            .any(|entry| entry.name == name && entry.needs_head)
    };
    for skipped in &fitted.skipped {
        if splits.train.head.is_some() || !needs_head(&skipped.name) {
            bail!(
                "{}: {} cannot be fitted: {}. To go on without it, name the others with --detector",
                args.train.display(),
                skipped.name,
                skipped.reason
            );
        }
    }
    Ok(())
}

fn read_splits(args: &Args) -> Result<Splits> {
    let open = |path: &Path| -> Result<FeatureSet> {
        let mut set = read(path)?;
        if args.l2 {
            set = set.with_l2(true);
        }
        Ok(set)
    };
    let mut train = open(&args.train)?;
    let fill = |set: FeatureSet, path: &Path| -> Result<FeatureSet> {
        let mut set = set;
        if set.logits.is_none() && set.head.is_none() {
            set.head.clone_from(&train.head);
        }
        let logits = set
            .logits()
            .with_context(|| format!("in {}", path.display()))?
            .into_owned();
        Ok(set.with_logits(logits))
    };
    let test = fill(open(&args.test)?, &args.test)?;
    let validation = match &args.validation {
        Some(path) => Some(fill(open(path)?, path)?),
        None => None,
    };
    let mut ood: Vec<(String, FeatureSet)> = Vec::new();
    for NamedPath { name, path } in &args.ood {
        if ood.iter().any(|(known, _)| known == name) {
            bail!("two OoD sets are named {name}; give each --ood its own name");
        }
        ood.push((name.clone(), fill(open(path)?, path)?));
    }
    if train.head.is_none() {
        train.head.clone_from(&test.head);
    }
    let mut named = vec![("train", &train), ("test", &test)];
    named.extend(validation.iter().map(|set| ("validation", set)));
    named.extend(ood.iter().map(|(name, set)| (name.as_str(), set)));
    check_agreement(&named)?;
    Ok(Splits {
        train,
        validation,
        test,
        ood,
    })
}

fn load(path: &Path) -> Result<Fitted> {
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} holds no detectors; make it with --save", path.display()))
}

fn write_all(
    args: &Args,
    out: &Path,
    splits: &Splits,
    fitted: &Fitted,
    evaluation: &Evaluation,
) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| {
        format!(
            "cannot create {}; name a writable folder with --out",
            out.display()
        )
    })?;
    write_json(
        &out.join("scores.json"),
        &Scores {
            schema: "collapse.scores/1",
            code_version: CODE_VERSION,
            train: args.train.display().to_string(),
            test: args.test.display().to_string(),
            l2: splits.train.l2(),
            evaluation,
        },
    )?;
    write_text(&out.join("scores.csv"), &openood_csv(evaluation))?;
    let mut samples = String::from("set,score,sample,confidence\n");
    for (set, score, values) in score_with(splits, fitted)?.iter() {
        for (index, value) in values.iter().enumerate() {
            samples.push_str(&format!("{set},{score},{index},{value}\n"));
        }
    }
    write_text(&out.join("samples.csv"), &samples)
}

/// The table under OpenOOD's column names, in percent; its FPR@95 has OoD as the positive class.
fn openood_csv(evaluation: &Evaluation) -> String {
    let mut text = String::from("score,dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC\n");
    for result in &evaluation.ood {
        let found = &result.detection;
        text.push_str(&format!(
            "{},{},{},{},{},{},{}\n",
            result.score,
            result.set,
            100.0 * found.fpr95_ood_positive,
            100.0 * found.auroc,
            100.0 * found.aupr_in,
            100.0 * found.aupr_out,
            100.0 * evaluation.accuracy,
        ));
    }
    text
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = || {
        format!(
            "cannot write {}; name a writable folder with --out",
            path.display()
        )
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}
