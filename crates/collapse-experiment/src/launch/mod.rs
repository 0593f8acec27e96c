//! Runs given to a cluster's scheduler: one task a run, and a report when all are done.

pub mod kubernetes;
pub mod slurm;

use std::path::PathBuf;

use crate::manifest::{Manifest, Resources};
use crate::store::RunStore;

/// What a scheduler is given.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Name of the scale, part of the jobs' names.
    pub scale: String,
    /// Where scripts and logs go; a folder below is made for each submission.
    pub folder: PathBuf,
    /// The program with the arguments that make a run: `reproduce`, scale, store, image sets.
    pub run: Vec<String>,
    /// The program with the arguments that draw the report.
    pub report: Vec<String>,
    /// The runs.
    pub tasks: Vec<Task>,
    /// What each run needs.
    pub resources: Resources,
}

/// A run for a scheduler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Task {
    /// Group.
    pub group: String,
    /// Seed.
    pub seed: u64,
    /// Its folder in the store.
    pub folder: PathBuf,
}

/// The runs of `manifest` that have no result in `store`.
///
/// A result is believed here by its presence; the job that finds it damaged makes it again.
#[must_use]
pub fn unfinished(manifest: &Manifest, store: &RunStore) -> Vec<Task> {
    let mut tasks = Vec::new();
    for group in manifest.groups() {
        for &seed in manifest.seeds() {
            let folder = store.folder(&group.id, seed);
            let finished = folder.join(crate::store::RESULT).exists();
            if !finished {
                tasks.push(Task {
                    group: group.id.clone(),
                    seed,
                    folder,
                });
            }
        }
    }
    tasks
}
