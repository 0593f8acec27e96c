//! `cargo xtask report`: tables and figures from whatever is finished.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_experiment::{RunStore, gather_store, merge};
use collapse_report::References;
use collapse_results::Results;

use crate::output::note;
use crate::reproduce::{REFERENCE, ScaleArgs, publish};
use crate::{CODE_VERSION, command_line};

/// Draw the tables, figures and the report from the runs that are finished, without the image sets.
///
/// It can be run anywhere the store is, while other processes still fill it. Runs that were made on machines without
/// the same file system join by the `results.json` that was drawn there.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scale: ScaleArgs,
    /// Draw these tables alone, e.g. main,nc-end [default: all].
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    tables: Vec<String>,
    /// Take in the runs of this results.json, of the same scale from another store, that are missing here (repeatable).
    #[arg(long = "with", value_name = "FILE")]
    others: Vec<PathBuf>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let manifest = args.scale.manifest()?;
    let runs = args.scale.runs(&manifest);
    let references = References::load(Path::new(REFERENCE))?;
    let gathered = gather_store(&manifest, &RunStore::at(&runs))?;
    for line in &gathered.left_out {
        note!("note: {line}");
    }
    let mut results = gathered.results;
    for path in &args.others {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let other = Results::from_json(&text).with_context(|| path.display().to_string())?;
        merge(&mut results, other, &path.display().to_string())?;
    }
    if results.runs.is_empty() {
        bail!(
            "{} holds no finished run of scale {}; `reproduce` with the same --scale and --out makes them",
            runs.display(),
            manifest.scale()
        );
    }
    results.provenance.code_version = CODE_VERSION.to_owned();
    results.provenance.command = command_line::typed();
    publish(
        &results,
        &references,
        &args.tables,
        &args.scale.out(&manifest),
    )
}
