//! `cargo xtask status`: where every run of a scale stands.

mod live;
mod watched;

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use collapse_experiment::{RunState, RunStatus};
use console::Term;

use crate::output::{out, print};
use crate::progress::duration;
use crate::reproduce::ScaleArgs;
use watched::{Watched, count};

/// Show which runs of a scale are pending, running, stopped, stale, failed, damaged, made with other settings, or done.
///
/// It reads the store only, so it can be run while other processes fill it, and needs no image sets. On a terminal it
/// goes on showing them until all are done or Ctrl-C; elsewhere it tells once.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    scale: ScaleArgs,
    /// Tell once, every run in a line, also on a terminal.
    #[arg(long)]
    once: bool,
    /// Print one JSON object a run, once.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let mut watched = Watched::new(&args.scale)?;
    let terminal = Term::buffered_stdout();
    if terminal.is_term() && !args.once && !args.json {
        live::watch(&mut watched, &terminal)?;
        return Ok(ExitCode::SUCCESS);
    }
    watched.look()?;
    if args.json {
        for run in &watched.runs {
            out!("{}", serde_json::to_string(run)?)?;
        }
    } else {
        print(listed(&watched.runs))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every state but "done" and "other" with its words in a count.
const STATES: [(RunState, &str); 6] = [
    (RunState::Running, "running"),
    (RunState::Stopped, "stopped on the way"),
    (RunState::Stale, "stale"),
    (RunState::Failed, "failed"),
    (RunState::Pending, "pending"),
    (RunState::Damaged, "damaged"),
];

/// Every run in a line, and how many there are of each state.
fn listed(runs: &[RunStatus]) -> String {
    let mut text = String::new();
    for run in runs {
        let _ = writeln!(text, "{:<20} seed {:<3} {}", run.group, run.seed, line(run));
    }
    let _ = write!(
        text,
        "{} of {} done",
        count(runs, RunState::Done),
        runs.len()
    );
    for (state, words) in STATES {
        let _ = write!(text, ", {} {words}", count(runs, state));
    }
    let other = count(runs, RunState::Other);
    if other > 0 {
        let _ = write!(text, ", {other} made with other settings");
    }
    text.push('\n');
    text
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
    if run.measuring {
        text.push_str(", measuring");
    }
    if let Some(seconds) = run.seconds_left {
        let _ = write!(text, ", about {} left", duration(seconds));
    }
    if let Some(remark) = &run.remark {
        let _ = write!(text, ": {remark}");
    }
    text
}
