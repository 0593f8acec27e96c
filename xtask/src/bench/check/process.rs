//! Measurements in a process of their own.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::measure::Measured;

/// The cases of these names, measured by a fresh copy of this program.
pub(super) fn measure(ids: &[&str], short: bool) -> Result<Vec<Measured>> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["bench", "--measure-only"]);
    if short {
        command.arg("--short");
    }
    for id in ids {
        command.args(["--only", id]);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("starting a process that measures")?;
    ensure!(
        output.status.success(),
        "a process that measures ended with {}",
        output.status
    );
    let measured: Vec<Measured> =
        serde_json::from_slice(&output.stdout).context("reading what a process measured")?;
    ensure!(
        measured.len() == ids.len(),
        "a process measured {} hot paths of {}",
        measured.len(),
        ids.len()
    );
    Ok(measured)
}
