//! Where every run of a manifest stands, from the store alone.

use std::path::Path;
use std::time::SystemTime;

use collapse_train::{Event, read_events};
use serde::Serialize;

use crate::error::Error;
use crate::gather::{other_settings, settled_auto};
use crate::manifest::{GroupSpec, Manifest};
use crate::plan::measured_epochs;
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
    /// What is in its folder was made with other settings than the manifest's; the next process sets it aside.
    Other,
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
            Self::Other => "other",
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
    /// Whether a running run is measured, not trained, at the moment.
    #[serde(skip_serializing_if = "is_false")]
    pub measuring: bool,
    /// Seconds that a running run still needs, at the speed of its epochs and measurements so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Who is at it, or was when it died or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The scheduler's job that makes it or waits to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What is wrong with it: the error of a failed run, the silence of a stale one, the damage of a damaged one, that one has other
    /// settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

impl RunStatus {
    fn pending(group: &GroupSpec, seed: u64) -> Self {
        Self {
            group: group.id.clone(),
            seed,
            state: RunState::Pending,
            epoch: 0,
            epochs: group.epochs,
            loss: None,
            measuring: false,
            seconds_left: None,
            holder: None,
            job: None,
            remark: None,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Every run of `manifest` in `store`, group by group, seed by seed.
///
/// # Errors
/// [`Error::Read`] when a file cannot be read.
pub fn status(manifest: &Manifest, store: &RunStore) -> Result<Vec<RunStatus>, Error> {
    let mut found = Vec::new();
    refresh_status(&mut found, manifest, store)?;
    Ok(found)
}

/// Looks again at the runs that [`status`] found, but for those that were done; at all of them where `found` is empty.
///
/// # Errors
/// As [`status`].
pub fn refresh_status(
    found: &mut Vec<RunStatus>,
    manifest: &Manifest,
    store: &RunStore,
) -> Result<(), Error> {
    let auto = settled_auto(store)?;
    let groups = manifest.groups().iter();
    let wanted = groups.flat_map(|group| manifest.seeds().iter().map(move |&seed| (group, seed)));
    for (index, (group, seed)) in wanted.enumerate() {
        match found.get(index) {
            Some(run) if run.state == RunState::Done => continue,
            Some(_) => {}
            None => found.push(RunStatus::pending(group, seed)),
        }
        let mut run = RunStatus::pending(group, seed);
        let measured = measured_epochs(manifest, group);
        let other = |found: &RunManifest| other_settings(manifest, group, seed, auto, found);
        match look(&store.folder(&group.id, seed), &measured, &other, &mut run) {
            Err(Error::Damaged { path, message }) => {
                run.state = RunState::Damaged;
                run.remark = Some(format!("{}: {message}", path.display()));
            }
            outcome => outcome?,
        }
        found[index] = run;
    }
    Ok(())
}

/// Looks at the run in `folder`; `other` says why it is none of the manifest's.
fn look(
    folder: &Path,
    measured: &[usize],
    other: &dyn Fn(&RunManifest) -> Result<Option<&'static str>, Error>,
    run: &mut RunStatus,
) -> Result<(), Error> {
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
    if let Some(reason) = other(&manifest)? {
        if !held {
            run.state = RunState::Other;
        }
        run.remark = Some(reason.to_owned());
        return Ok(());
    }
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
    let history = History::of(&events);
    (run.epoch, run.loss) = (history.epoch, history.loss);
    if held {
        let unmeasured = history.unmeasured(measured);
        run.measuring = unmeasured.contains(&history.epoch);
        let quiet = silence(&folder.join(EVENTS)).unwrap_or_default();
        run.seconds_left = history.seconds_left(run.epochs, &unmeasured, quiet);
    }
    Ok(())
}

/// Seconds since a file was written.
fn silence(path: &Path) -> Option<f64> {
    let written = std::fs::metadata(path).and_then(|found| found.modified());
    // Where another machine's clock is ahead, it was written just now.
    let since = SystemTime::now().duration_since(written.ok()?);
    Some(since.unwrap_or_default().as_secs_f64())
}

/// What the run's events tell of it.
#[derive(Default)]
struct History {
    epoch: usize,
    loss: Option<f64>,
    train_seconds: f64,
    evaluated: Vec<usize>,
    evaluate_seconds: f64,
}

impl History {
    fn of(events: &[Event]) -> Self {
        let mut history = Self::default();
        for event in events {
            match event {
                Event::Epoch(record) => {
                    history.epoch = history.epoch.max(record.epoch);
                    history.loss = Some(record.loss);
                    history.train_seconds += record.time;
                }
                Event::Evaluation { epoch, time, .. } => {
                    history.evaluated.push(*epoch);
                    history.evaluate_seconds += time;
                }
            }
        }
        history
    }

    /// Those of the epochs to be measured that were not yet.
    fn unmeasured(&self, measured: &[usize]) -> Vec<usize> {
        let open = measured
            .iter()
            .filter(|&epoch| !self.evaluated.contains(epoch));
        open.copied().collect()
    }

    /// Seconds to the end of a run of `epochs` epochs whose log has been quiet for so long; `None` where nothing was
    /// timed, or what is under way takes longer than it ever did and nothing comes after it.
    fn seconds_left(&self, epochs: usize, unmeasured: &[usize], quiet: f64) -> Option<f64> {
        if self.epoch == 0 {
            return None;
        }
        let epoch = self.train_seconds / self.epoch as f64;
        let measuring = match self.evaluated.len() {
            0 => 0.0,
            n => self.evaluate_seconds / n as f64,
        };
        let left =
            epochs.saturating_sub(self.epoch) as f64 * epoch + unmeasured.len() as f64 * measuring;
        let under_way = match unmeasured.contains(&self.epoch) {
            true => measuring,
            false => epoch,
        };
        let left = left - quiet.min(under_way);
        (left >= 1.0).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_counts_epochs_measurements_and_what_is_under_way() {
        // 4 of 10 epochs of 10 s, measured after epochs 1 and 4 in 3 s each; 7 and 10 are to come.
        let history = History {
            epoch: 4,
            train_seconds: 40.0,
            evaluated: vec![1, 4],
            evaluate_seconds: 6.0,
            ..History::default()
        };
        let unmeasured = history.unmeasured(&[1, 4, 7, 10]);
        assert_eq!(unmeasured, [7, 10]);
        let left = |history: &History, quiet| history.seconds_left(10, &unmeasured, quiet);
        assert_eq!(left(&history, 0.0), Some(66.0));
        assert_eq!(left(&history, 4.0), Some(62.0), "within an epoch");
        assert_eq!(
            left(&history, 1e6),
            Some(56.0),
            "at most one epoch is under way"
        );

        // The last measurement: never 0 s, never less.
        let end = History {
            epoch: 10,
            train_seconds: 100.0,
            evaluated: vec![1, 4, 7],
            evaluate_seconds: 9.0,
            ..History::default()
        };
        let unmeasured = end.unmeasured(&[1, 4, 7, 10]);
        assert_eq!(end.seconds_left(10, &unmeasured, 1.0), Some(2.0));
        assert_eq!(end.seconds_left(10, &unmeasured, 500.0), None);
        assert_eq!(History::default().seconds_left(10, &[10], 5.0), None);
    }
}
