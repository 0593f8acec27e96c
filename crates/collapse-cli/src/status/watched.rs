//! The runs of a scale, looked at again and again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use collapse_experiment::launch::slurm;
use collapse_experiment::{Manifest, RunState, RunStatus, RunStore, refresh_status};

use crate::reproduce::ScaleArgs;

/// A scheduler is asked at most this often: it serves others too.
const ASK_SCHEDULER: Duration = Duration::from_secs(30);

/// The runs of a scale as they were last found.
pub(super) struct Watched {
    manifest: Manifest,
    store: RunStore,
    submissions: PathBuf,
    /// Jobs by group and seed, and when the scheduler was asked for them.
    jobs: BTreeMap<(String, u64), String>,
    asked: Option<Instant>,
    pub(super) runs: Vec<RunStatus>,
}

impl Watched {
    pub(super) fn new(scale: &ScaleArgs) -> Result<Self> {
        let manifest = scale.manifest()?;
        Ok(Self {
            store: RunStore::at(scale.runs(&manifest)),
            submissions: scale.out(&manifest).join("slurm"),
            jobs: BTreeMap::new(),
            asked: None,
            runs: Vec::new(),
            manifest,
        })
    }

    /// The scale that they are of.
    pub(super) fn scale(&self) -> &str {
        self.manifest.scale()
    }

    /// Looks at every run that was not done when last looked at.
    pub(super) fn look(&mut self) -> Result<()> {
        refresh_status(&mut self.runs, &self.manifest, &self.store)?;
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_SCHEDULER) {
            self.jobs = slurm::jobs(&self.submissions)?;
            self.asked = Some(Instant::now());
        }
        for run in &mut self.runs {
            if run.state != RunState::Done && run.job.is_none() {
                run.job = self.jobs.get(&(run.group.clone(), run.seed)).cloned();
            }
        }
        Ok(())
    }
}

/// How many of the runs are in a state.
pub(super) fn count(runs: &[RunStatus], state: RunState) -> usize {
    runs.iter().filter(|run| run.state == state).count()
}
