//! The run store: one folder a run, claimed by one process at a time; every file is sealed and replaced whole.
//!
//! Nothing in it is believed unread. `result.json` carries the hash of the identity that it answers, its group and its
//! seed under one seal; it counts only beside a sealed `manifest.json` of the same run. Whatever does not fit is set
//! aside under a unique, dated name, never deleted. A result without a seal, as the first versions wrote it, is
//! not adopted: those versions drew other random numbers, so their runs answer another question.

mod claim;
mod lease;
mod record;
mod sealed;
mod starts;

use std::path::{Path, PathBuf};

use collapse_files::Replacement;
use collapse_results::{Run, Span};
use collapse_train::Precision;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use starts::Starts;

pub use claim::ClaimedRun;
pub(crate) use claim::{CHECKPOINT, EVENTS, FAILURE, Failure, is_leftover};
pub(crate) use lease::Found;
pub use lease::Holder;
pub use record::RunManifest;
pub(crate) use record::{MANIFEST, RESULT, hash, read_result};

const SETTLED: &str = "store.json";

/// Folder of all runs of one scale: `<root>/<group>/seed-NN/`.
#[derive(Clone, Debug)]
pub struct RunStore {
    root: PathBuf,
}

impl RunStore {
    /// Opens (and creates) the store.
    ///
    /// # Errors
    /// [`Error::Unwritable`] when the folder cannot be made, [`Error::File`] when it cannot be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let store = Self::at(root);
        std::fs::create_dir_all(&store.root).map_err(|source| Error::Unwritable {
            path: store.root.clone(),
            source,
        })?;
        // Known now rather than after the first run.
        drop(Replacement::begin(&store.root.join("probe"))?);
        Ok(store)
    }

    /// The store in `root`, to be read.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one run.
    #[must_use]
    pub fn folder(&self, group: &str, seed: u64) -> PathBuf {
        self.root.join(group).join(format!("seed-{seed:02}"))
    }

    /// What the precision `auto` means in this store: `here` for the first who asks, and the same for all after.
    ///
    /// # Errors
    /// [`Error::Read`] when the file that says so cannot be read; [`Error::File`] when it cannot be written.
    pub(crate) fn settle_precision(&self, here: Precision) -> Result<Precision, Error> {
        let path = self.root.join(SETTLED);
        match self.settled_precision() {
            Ok(Some(settled)) => return Ok(settled),
            Ok(None) => {}
            Err(Error::Damaged { .. }) => {
                collapse_files::set_aside(&path)?;
            }
            Err(error) => return Err(error),
        }
        // Whoever links first has decided, with or without locks.
        let ours = self
            .root
            .join(format!(".collapse-{}.tmp", std::process::id()));
        sealed::write(&ours, &Settled { auto: here })?;
        if std::fs::hard_link(&ours, &path).is_err() && !path.exists() {
            sealed::write(&path, &Settled { auto: here })?;
        }
        // One that stays is swept by nobody, but costs a hundred bytes.
        let _ = std::fs::remove_file(&ours);
        Ok(self.settled_precision()?.unwrap_or(here))
    }

    /// What `auto` was settled to mean, if it was.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the file that says so is.
    pub(crate) fn settled_precision(&self) -> Result<Option<Precision>, Error> {
        let settled: Option<Settled> = sealed::read(&self.root.join(SETTLED))?;
        Ok(settled.map(|settled| settled.auto))
    }

    /// The result of a finished run made from `manifest`, see [`finished_in`].
    ///
    /// # Errors
    /// Those of [`finished_in`].
    pub fn finished(&self, manifest: &RunManifest) -> Result<Option<Run>, Error> {
        finished_in(&self.folder(&manifest.group, manifest.seed), manifest)
    }
}

/// Who trained which of the first `epochs` epochs of the run in `folder`, finished or not.
///
/// # Errors
/// [`Error::Read`] when the record cannot be read, [`Error::Damaged`] when it is not what was written.
pub fn spans_in(folder: &Path, epochs: usize) -> Result<Vec<Span>, Error> {
    let starts: Option<Starts> = sealed::read(&folder.join(claim::MADE_BY))?;
    Ok(starts.unwrap_or_default().spans(epochs))
}

/// What a store has decided for all machines that work in it: its `store.json`.
#[derive(Serialize, Deserialize)]
struct Settled {
    auto: Precision,
}

/// The result in `folder`, if it is finished, undamaged and was made from `manifest`.
///
/// # Errors
/// [`Error::Read`] when a file cannot be read.
pub fn finished_in(folder: &Path, manifest: &RunManifest) -> Result<Option<Run>, Error> {
    let result = RunManifest::read(folder).and_then(|found| match found {
        Some(found) if found.is_of(manifest) => record::read_result(folder, manifest),
        _ => Ok(None),
    });
    match result {
        // Who takes the run sets it aside and says so.
        Err(Error::Damaged { .. }) => Ok(None),
        result => result,
    }
}
