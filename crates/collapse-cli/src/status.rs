//! `cargo xtask status`: where every run of a scale stands.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use collapse_experiment::launch::slurm;
use collapse_experiment::{RunState, RunStatus, RunStore, status};

use crate::output::{out, print};
use crate::progress::duration;
use crate::reproduce::ScaleArgs;

/// Show which runs of a scale are pending, running, stopped, stale, failed and done.
///
/// It reads the store only, so it can be run while other processes fill it, and needs no image sets.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scale: ScaleArgs,
    /// Print one JSON object a run.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let manifest = args.scale.manifest()?;
    let mut found = status(&manifest, &RunStore::at(args.scale.runs(&manifest)))?;
    let jobs = slurm::jobs(&args.scale.out(&manifest).join("slurm"))?;
    for run in found.iter_mut().filter(|run| run.state != RunState::Done) {
        if run.job.is_none() {
            run.job = jobs.get(&(run.group.clone(), run.seed)).cloned();
        }
    }
    if args.json {
        for run in &found {
            out!("{}", serde_json::to_string(run)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for run in &found {
        writeln!(text, "{:<20} seed {:<3} {}", run.group, run.seed, line(run))?;
    }
    let count = |state: RunState| found.iter().filter(|run| run.state == state).count();
    writeln!(
        text,
        "{} of {} done, {} running, {} stopped on the way, {} stale, {} failed, {} pending, {} damaged",
        count(RunState::Done),
        found.len(),
        count(RunState::Running),
        count(RunState::Stopped),
        count(RunState::Stale),
        count(RunState::Failed),
        count(RunState::Pending),
        count(RunState::Damaged),
    )?;
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn line(run: &RunStatus) -> String {
    let mut text = run.state.name().to_owned();
    if let Some(holder) = &run.holder {
        let _ = write!(text, " on {} (process {})", holder.host, holder.process);
    }
    if let Some(job) = &run.job {
        let _ = write!(text, ", job {job}");
    }
    if run.epoch > 0 || run.state == RunState::Running {
        let _ = write!(text, ", epoch {}/{}", run.epoch, run.epochs);
    }
    if let Some(loss) = run.loss {
        let _ = write!(text, ", loss {loss:.4}");
    }
    if let Some(seconds) = run.seconds_left {
        let _ = write!(text, ", about {} left", duration(seconds));
    }
    if let Some(remark) = &run.remark {
        let _ = write!(text, ": {remark}");
    }
    text
}
