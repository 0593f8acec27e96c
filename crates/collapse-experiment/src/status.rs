//! Where every run of a manifest stands, from the store alone.

use std::path::Path;
use std::time::SystemTime;

use collapse_train::{Event, read_events};
use serde::Serialize;

use crate::error::Error;
use crate::manifest::Manifest;
use crate::store::{
    CHECKPOINT, EVENTS, Failure, Found, Holder, RunManifest, RunStore, read_result,
};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not begun.
    Pending,
    /// A process is at it.
    Running,
    /// Begun and stopped in order: the next process goes on.
    Stopped,
    /// A process was at it and died, or gives no sign of life: the next process takes it over.
    Stale,
    /// It ended in an error; the next process tries it again.
    Failed,
    /// Finished.
    Done,
    /// Something in its folder cannot be believed; the next process sets it aside.
    Damaged,
}

impl RunState {
    /// The state in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Damaged => "damaged",
        }
    }
}

/// One run as [`status`] found it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStatus {
    /// Group.
    pub group: String,
    /// Seed.
    pub seed: u64,
    /// Where it stands.
    pub state: RunState,
    /// Epochs trained.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean training loss of the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Seconds that a running run still needs, at the speed of its epochs so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Who is at it, or was when it died or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The scheduler's job that makes it or waits to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What is wrong with it: the error of a failed run, the silence of a stale one, the damage of a damaged one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Every run of `manifest` in `store`, group by group, seed by seed.
///
/// # Errors
/// [`Error::Read`] when a file cannot be read.
pub fn status(manifest: &Manifest, store: &RunStore) -> Result<Vec<RunStatus>, Error> {
    let mut found = Vec::new();
    for group in manifest.groups() {
        for &seed in manifest.seeds() {
            let mut run = RunStatus {
                group: group.id.clone(),
                seed,
                state: RunState::Pending,
                epoch: 0,
                epochs: group.epochs,
                loss: None,
                seconds_left: None,
                holder: None,
                job: None,
                remark: None,
            };
            match look(&store.folder(&group.id, seed), &mut run) {
                Err(Error::Damaged { path, message }) => {
                    run.state = RunState::Damaged;
                    run.remark = Some(format!("{}: {message}", path.display()));
                }
                outcome => outcome?,
            }
            found.push(run);
        }
    }
    Ok(found)
}

fn look(folder: &Path, run: &mut RunStatus) -> Result<(), Error> {
    let lease = Found::of(folder, SystemTime::now())?;
    let held = lease.as_ref().is_some_and(Found::is_alive);
    if held {
        run.state = RunState::Running;
    }
    if let Some(holder) = lease.as_ref().and_then(Found::holder) {
        run.job.clone_from(&holder.job);
        run.holder = Some(holder.clone());
    }
    let Some(manifest) = RunManifest::read(folder)? else {
        return Ok(());
    };
    if !held && read_result(folder, &manifest)?.is_some() {
        run.state = RunState::Done;
        run.epoch = run.epochs;
        run.holder = None;
        return Ok(());
    }
    if !held && folder.join(CHECKPOINT).exists() {
        run.state = RunState::Stopped;
    }
    if let Some(lease) = lease.filter(|_| !held) {
        run.state = RunState::Stale;
        run.remark = Some(match lease.is_of_a_dead_process() {
            true => "its process has died".to_owned(),
            false => format!(
                "no sign of life of its process for {} min",
                lease.silence.as_secs() / 60
            ),
        });
    } else if let Some(failure) = (!held).then(|| Failure::of(folder)).transpose()?.flatten() {
        run.state = RunState::Failed;
        run.holder = Some(failure.holder);
        run.remark = Some(failure.reason);
    }
    history(folder, held, run)
}

/// What the run's events tell of it.
fn history(folder: &Path, held: bool, run: &mut RunStatus) -> Result<(), Error> {
    let events = match read_events(&folder.join(EVENTS)) {
        Ok(events) => events,
        // A running process may be writing it.
        Err(_) if held => return Ok(()),
        Err(error) => {
            return Err(Error::Damaged {
                path: folder.join(EVENTS),
                message: error.to_string(),
            });
        }
    };
    let mut seconds = 0.0;
    for event in &events {
        match event {
            Event::Epoch(record) => {
                run.epoch = run.epoch.max(record.epoch);
                run.loss = Some(record.loss);
                seconds += record.time;
            }
            Event::Evaluation { time, .. } => seconds += time,
        }
    }
    if held && run.epoch > 0 {
        let left = run.epochs.saturating_sub(run.epoch);
        run.seconds_left = Some(seconds / run.epoch as f64 * left as f64);
    }
    Ok(())
}
