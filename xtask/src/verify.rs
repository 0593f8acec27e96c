//! `cargo xtask verify`: agreement with independent reference numbers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_verify::{Options, verify_dir};

/// The reference numbers that come with the project.
const PUBLIC: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/collapse-verify/fixtures/public"
);

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
}

pub fn run(args: Args) -> Result<ExitCode> {
    let options = Options { only: args.only };
    let folders = match args.folders.is_empty() {
        true => vec![PathBuf::from(PUBLIC)],
        false => args.folders,
    };
    let mut sound = true;
    for folder in &folders {
        sound &= verify_folder(folder, &options)?;
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn verify_folder(folder: &Path, options: &Options) -> Result<bool> {
    let report =
        verify_dir(folder, options).with_context(|| format!("checking {}", folder.display()))?;
    println!("{report}");
    Ok(report.failed().next().is_none())
}
