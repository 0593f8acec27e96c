//! `cargo xtask bench detectors`: one detector after the other on feature files.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_evaluate::{FeatureSplits, Split};
use collapse_experiment::peak_memory;
use collapse_features::read;
use collapse_ood::{Inputs, Settings};
use serde::Serialize;

use super::measure::{seconds, use_threads};

/// Time fitting and scoring of detectors on feature files.
#[derive(clap::Args)]
pub struct Args {
    /// Training features, with labels, logits and head.
    #[arg(long)]
    train: PathBuf,
    /// Features to score.
    #[arg(long)]
    test: PathBuf,
    /// A detector (repeatable). Peak memory is the process's, so one detector a process tells its own.
    #[arg(long = "detector", value_name = "NAME", required = true)]
    detectors: Vec<String>,
    /// Threads [default: all cores, or RAYON_NUM_THREADS].
    #[arg(long)]
    threads: Option<usize>,
    /// Print JSON objects, one a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures<'a> {
    detector: &'a str,
    threads: usize,
    fit_s: f64,
    score_s: f64,
    /// Both together, under the name that benches/peers/alternate.py looks for.
    median_s: f64,
    peak_rss_bytes: Option<u64>,
    /// The mean of all confidences, to be held against another program's.
    mean: f64,
}

pub fn run(args: Args) -> Result<ExitCode> {
    use_threads(args.threads)?;
    let splits = FeatureSplits {
        train: Some(Split::new("train", read(&args.train)?)),
        validation: None,
        test: Split::new("test", read(&args.test)?),
        ood: Vec::new(),
    };
    let splits = splits.complete(None)?;
    let test = &splits.test().features;
    for name in &args.detectors {
        let mut fitted = None;
        let fit_s = seconds(|| {
            fitted = Some(splits.fit_named(&Settings::default(), [name.as_str()])?);
            Ok(())
        })?;
        let fitted = fitted.context("nothing was fitted")?;
        let mut mean = f64::NAN;
        let score_s = seconds(|| {
            let logits = test.logits.as_ref().map(|logits| logits.view());
            let inputs = Inputs::of_checked(test.features.view(), logits, test.l2());
            let scores = fitted.score_all(&inputs).pop();
            let (_, scores) = scores.context("nothing was scored")?;
            mean = scores?.mean().unwrap_or(f64::NAN);
            Ok(())
        })?;
        let figures = Figures {
            detector: name,
            threads: rayon::current_num_threads(),
            fit_s,
            score_s,
            median_s: fit_s + score_s,
            peak_rss_bytes: peak_memory(),
            mean,
        };
        if args.json {
            println!("{}", serde_json::to_string(&figures)?);
            continue;
        }
        let peak = figures.peak_rss_bytes.map_or(f64::NAN, |b| b as f64 / 1e6);
        println!(
            "{name}: fit {fit_s:.3} s, score {score_s:.3} s, peak memory {peak:.0} MB, mean {mean:.9}"
        );
    }
    Ok(ExitCode::SUCCESS)
}
