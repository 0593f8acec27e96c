//! `cargo xtask verify`: agreement with independent reference numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use collapse_verify::{Extent, NAMES, Options, PUBLIC, known_files, verify_dir};

use crate::output::out;

/// Check this implementation against folders of independent reference numbers.
///
/// One line a quantity: file, case, quantity, largest error, tolerance, ok or FAIL; fails when one does.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of reference numbers [default: those that come with the project].
    folders: Vec<PathBuf>,
    /// Only these files, by name without ending (repeatable).
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(NAMES))]
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
        // File by file, so that what is known already can be read while the networks are computed.
        let known = known_files(folder);
        let parts: Vec<Vec<String>> = match (args.only.is_empty(), known.is_empty()) {
            (false, _) => args.only.iter().map(|name| vec![name.clone()]).collect(),
            (true, false) => known.iter().map(|&name| vec![name.to_owned()]).collect(),
            (true, true) => vec![Vec::new()],
        };
        for only in parts {
            let report = verify_dir(folder, &Options { only, extent })
                .with_context(|| format!("checking {}", folder.display()))?;
            for row in &report.rows {
                out!("{row}")?;
            }
            quantities += report.rows.len();
            failed += report.failed().count();
        }
    }
    out!("{quantities} quantities, {failed} outside their tolerances")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
