//! `cargo xtask reproduce`: every table and figure of one scale.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use collapse_experiment::{Manifest, RunStore, Setting};
use collapse_report::{References, TerminalStyle, render, verdict_label};
use collapse_results::Results;

use crate::data::{OodSet, open_benchmark};
use crate::progress::Board;
use crate::{CODE_VERSION, stop};

/// The published numbers, as TOML files that a reader may complete.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../reference");

/// Make every table and figure of the paper at one scale.
///
/// Finished runs are kept: the same command goes on where it was interrupted.
#[derive(clap::Args)]
pub struct Args {
    /// quick, precision, small, paper, or a manifest file (experiments/*.toml show how one looks).
    #[arg(long, default_value = "quick")]
    scale: String,
    /// Where runs, tables and the report go [default: target/reproduce/SCALE].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Folder with the image sets [default: the hub's cache]; not needed by the quick scale.
    #[arg(long)]
    data: Option<PathBuf>,
    /// A further OoD set, shown in every table: a folder of images or any readable file, or the name of a
    /// registered set or generated control.
    #[arg(long = "ood", value_name = "NAME[=PATH]")]
    ood: Vec<OodSet>,
    /// Only these groups (repeatable).
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,
    /// Only the first so many seeds.
    #[arg(long)]
    seeds: Option<usize>,
    /// Cut every schedule to so many epochs; for a quick check of the whole way.
    #[arg(long)]
    epochs_at_most: Option<usize>,
    /// Runs at a time [default: as the scale says].
    #[arg(long)]
    jobs: Option<usize>,
    /// Leave out OoD images whose pixels occur in the in-distribution set.
    #[arg(long)]
    drop_duplicates: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let began = Instant::now();
    let mut manifest = Manifest::scale(&args.scale)?;
    manifest.select_groups(&args.groups)?;
    manifest.shorten(args.seeds, args.epochs_at_most)?;
    manifest.data.drop_duplicates |= args.drop_duplicates;

    let out = args
        .out
        .unwrap_or_else(|| PathBuf::from("target/reproduce").join(&manifest.scale));
    let store = RunStore::open(out.join("runs").join(&manifest.scale))?;
    let references = References::load(Path::new(REFERENCE))?;
    let benchmark = open_benchmark(&manifest.data, args.data.as_deref(), &args.ood)?;

    let command = format!("cargo xtask reproduce --scale {}", args.scale);
    let stop = stop::flag();
    let mut results = {
        let board = Board::new();
        collapse_experiment::reproduce(
            &manifest,
            &Setting {
                benchmark: &benchmark,
                store: &store,
                observer: &board,
                stop: &stop,
                code_version: CODE_VERSION,
                command: &command,
                jobs: args.jobs,
            },
        )?
    };
    results
        .times
        .insert("total".to_owned(), began.elapsed().as_secs_f64());
    let report = collapse_report::write_report(&results, &references, &out)
        .with_context(|| format!("writing the report to {}", out.display()))?;
    print_summary(&collapse_report::complete(&results, &references));
    println!("\nReport: {}", report.display());
    println!("Numbers: {}", out.join("results.json").display());
    Ok(ExitCode::SUCCESS)
}

fn print_summary(results: &Results) {
    let style = TerminalStyle::detect();
    for table in &results.tables {
        println!("{}\n", render::terminal(table, style));
    }
    println!("The paper's claims at this scale ({}):", results.scale);
    for claim in &results.claims {
        println!(
            "  {} {}: {}",
            claim.id,
            verdict_label(claim.verdict),
            claim.statement
        );
        println!("     {}", claim.evidence);
    }
}
