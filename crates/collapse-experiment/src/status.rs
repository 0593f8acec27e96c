//! Where every run of a manifest stands, from the store alone.

use std::path::Path;

use collapse_files::{Lock, LockOutcome};
use collapse_train::{Event, read_events};
use serde::Serialize;

use crate::error::Error;
use crate::manifest::Manifest;
use crate::store::{CHECKPOINT, CLAIM, EVENTS, Holder, RunManifest, RunStore, read_result};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Not begun.
    Pending,
    /// A process is at it.
    Running,
    /// Begun, and nobody is at it: the next process goes on.
    Stopped,
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
    /// Who is at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Every run of `manifest` in `store`, group by group, seed by seed.
///
/// # Errors
/// [`Error::Read`] when a file cannot be read; [`Error::File`] when locks cannot be asked for.
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
    let held = is_held(folder)?;
    if held {
        run.state = RunState::Running;
        run.holder = Holder::of(folder);
    }
    let Some(manifest) = RunManifest::read(folder)? else {
        return Ok(());
    };
    if !held && read_result(folder, &manifest)?.is_some() {
        run.state = RunState::Done;
        run.epoch = run.epochs;
        return Ok(());
    }
    if !held && folder.join(CHECKPOINT).exists() {
        run.state = RunState::Stopped;
    }
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

/// Whether a process holds the claim of `folder`; asking takes it for a moment where none does.
fn is_held(folder: &Path) -> Result<bool, Error> {
    let claim = folder.join(CLAIM);
    Ok(claim.exists() && matches!(Lock::take(&claim)?, LockOutcome::Held))
}
