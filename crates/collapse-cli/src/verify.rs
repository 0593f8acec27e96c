//! `cargo xtask verify`: agreement with independent reference numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_verify::{Extent, Options, PUBLIC, known_files, verify_dir};

use crate::output::out;

/// Check this implementation against folders of independent reference numbers.
///
/// One line a quantity: file, case, quantity, largest error, tolerance, ok or FAIL; fails when one does.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of reference numbers [default: those that come with the project].
    folders: Vec<PathBuf>,
    /// Only these files, by name without ending (repeatable): gmm, metrics, misc, nc, ood, model_resnet18, ….
    #[arg(long)]
    only: Vec<String>,
    /// Of the networks only forward, backward and statistics, not the optimiser's steps.
    #[arg(long)]
    no_steps: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let folders = match args.folders.is_empty() {
        true => vec![PathBuf::from(PUBLIC)],
        false => args.folders,
    };
    let extent = if args.no_steps {
        Extent::Pass
    } else {
        Extent::Steps
    };
    let (mut quantities, mut failed) = (0, 0);
    for folder in &folders {
        let mut names: Vec<String> = known_files(folder).into_iter().map(str::to_owned).collect();
        if !args.only.is_empty() || names.is_empty() {
            names.clone_from(&args.only);
        }
        // File by file, so that what is known already can be read while the networks are computed.
        for only in names.into_iter().map(|name| vec![name]) {
            let report = verify_dir(folder, &Options { only, extent })
                .with_context(|| format!("checking {}", folder.display()))?;
            for row in &report.rows {
                out!("{row}")?;
            }
            quantities += report.rows.len();
            failed += report.failed().count();
        }
    }
    if quantities == 0 {
        bail!(
            "nothing to check; name a folder with gmm.json, metrics.json, misc.json, nc.json, ood.json or model_*.json"
        );
    }
    out!("{quantities} quantities, {failed} outside their tolerances")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
