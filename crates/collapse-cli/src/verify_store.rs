//! `cargo xtask verify-store`: whether every file of a run store is what was written.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use collapse_experiment::{Verdict, verify_store};

use crate::output::out;
use crate::stop;

/// Check the seals of every file below a folder of runs, and say what is damaged and what to do.
///
/// Fails when something is damaged. Files without a seal, of other makers or of older versions, are listed as such.
#[derive(clap::Args)]
pub struct Args {
    /// A store (--out of `reproduce`), or one run's folder (--out of `train`).
    folder: PathBuf,
    /// Name the sound files too.
    #[arg(long)]
    all: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let findings = verify_store(&args.folder, stop::requested())?;
    let (mut sound, mut unsealed, mut damaged) = (0, 0, 0);
    for finding in &findings {
        let path = finding.path.display();
        match &finding.verdict {
            Verdict::Sound => {
                sound += 1;
                if args.all {
                    out!("sound     {path}")?;
                }
            }
            Verdict::Unsealed => {
                unsealed += 1;
                out!("no seal   {path}")?;
            }
            Verdict::Damaged { reason, remedy } => {
                damaged += 1;
                out!("DAMAGED   {path}: {reason}\n          {remedy}")?;
            }
            Verdict::Leftover => out!("leftover  {path}: of a killed process; it can be deleted")?,
        }
    }
    out!("{sound} files sound, {unsealed} without a seal, {damaged} damaged")?;
    Ok(match damaged {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
