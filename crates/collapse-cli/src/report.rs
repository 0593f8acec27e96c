//! `cargo xtask report`: tables and figures from whatever is finished.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use collapse_experiment::{RunStore, gather_store};
use collapse_report::References;

use crate::output::note;
use crate::reproduce::{REFERENCE, ScaleArgs, publish};
use crate::{CODE_VERSION, command_line};

/// Draw the tables, figures and the report from the runs that are finished, without the image sets.
///
/// It can be run anywhere the store is, while other processes still fill it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scale: ScaleArgs,
    /// Draw these tables alone, e.g. main,nc-end [default: all].
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    tables: Vec<String>,
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
