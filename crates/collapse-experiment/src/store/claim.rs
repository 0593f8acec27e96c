//! A run folder in the hands of one process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use collapse_files::{Lock, LockOutcome};
use collapse_results::{Maker, Run};
use serde::{Deserialize, Serialize};

use super::lease::{CLAIM, Holder, LEASE, Lease};
use super::record::{MANIFEST, RESULT, RunManifest, read_result, write_result};
use super::sealed;
use super::starts::Starts;
use crate::error::Error;

pub(crate) const CHECKPOINT: &str = "checkpoint.safetensors";
pub(crate) const EVENTS: &str = "events.jsonl";
pub(super) const MADE_BY: &str = "made-by.json";
pub(crate) const FAILURE: &str = "failure.json";
/// What shows that a folder holds a run.
const OF_A_RUN: [&str; 5] = [MANIFEST, RESULT, CHECKPOINT, EVENTS, "features"];
/// Temporary files as old as this were left by a process that died.
const ORPHANED: Duration = Duration::from_secs(24 * 3600);

/// A run folder held by this process; released when dropped, also when the process is killed.
///
/// The claim is a lock on a file in the folder, where the file system has locks, and a lease beside it: a file that
/// names the holder and is written anew every few seconds. Whoever removes or moves the folder, or takes the lease,
/// takes the claim away: [`ClaimedRun::check`] says so, and nothing is written from then on.
#[derive(Debug)]
pub struct ClaimedRun {
    folder: PathBuf,
    manifest: RunManifest,
    /// `None` where the file system has no locks.
    lock: Option<Lock>,
    lease: Lease,
    notes: Vec<String>,
}

impl ClaimedRun {
    /// Takes the run in `folder` for this process; `None` when another process holds it.
    ///
    /// What is there already must be of the same run. A folder whose manifest is missing, damaged or of
    /// another run is set aside under a name of its own, and a new one is begun; [`ClaimedRun::notes`] says so.
    ///
    /// # Errors
    /// [`Error::File`] when the folder cannot be made, locked or set aside.
    pub fn take(folder: &Path, manifest: &RunManifest) -> Result<Option<Self>, Error> {
        let mut notes = Vec::new();
        let Some((mut lock, mut lease)) = claim(folder)? else {
            return Ok(None);
        };
        match reason_to_set_aside(folder, manifest)? {
            None => {}
            Some(reason) => {
                let aside = collapse_files::set_aside(folder)?;
                notes.push(format!(
                    "{}: {reason}; the folder is kept as {} and the run is made anew",
                    folder.display(),
                    aside.display()
                ));
                // The lease has moved along.
                let _ = std::fs::remove_file(aside.join(LEASE));
                match claim(folder)? {
                    Some(fresh) => (lock, lease) = fresh,
                    None => return Ok(None),
                }
            }
        }
        if !folder.join(MANIFEST).exists() {
            sealed::write(&folder.join(MANIFEST), manifest)?;
        }
        let claimed = Self {
            folder: folder.to_owned(),
            manifest: manifest.clone(),
            lock,
            lease,
            notes,
        };
        claimed.sweep();
        Ok(Some(claimed))
    }

    /// The run's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was found and set aside, for the user.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether the folder is still the one that was taken; to be asked before every write into it.
    ///
    /// Where the file system grants a lock twice, the lease names who took it last; the other stops here.
    ///
    /// # Errors
    /// [`Error::ClaimLost`] when it was removed, moved or replaced, or is claimed by another.
    pub fn check(&self) -> Result<(), Error> {
        let in_place = self.lock.as_ref().is_none_or(Lock::still_in_place);
        if in_place && self.lease.is_ours() {
            Ok(())
        } else {
            Err(Error::ClaimLost {
                folder: self.folder.clone(),
            })
        }
    }

    /// Records that `maker` goes on after `finished` epochs and, `within` one, some steps; gives everyone who worked at the
    /// run so far, or those that a damaged record leaves.
    ///
    /// With `one_path`, [`Error::MixedPaths`] when another kernel path has had a part in it.
    pub(crate) fn record_start(
        &self,
        finished: usize,
        within: bool,
        maker: Maker,
        one_path: bool,
    ) -> Result<Starts, Error> {
        let path = self.folder.join(MADE_BY);
        let before: Option<Starts> = match sealed::read(&path) {
            Err(Error::Damaged { .. }) => None,
            outcome => outcome?,
        };
        let mut starts = before.clone().unwrap_or_default();
        starts.forget_after(finished, within);
        if one_path && let Some(found) = starts.other_path(&maker) {
            return Err(Error::MixedPaths {
                run: self.folder.display().to_string(),
                found: found.to_owned(),
                here: maker.kernel_path,
            });
        }
        starts.add(finished, within, maker);
        if before.as_ref() != Some(&starts) {
            self.check()?;
            sealed::write(&path, &starts)?;
        }
        Ok(starts)
    }

    /// The result, where the run is finished. One that is damaged or of another run is set aside.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::File`] when it cannot be set aside.
    pub fn result(&mut self) -> Result<Option<Run>, Error> {
        match read_result(&self.folder, &self.manifest) {
            Err(Error::Damaged { path, message }) => {
                self.check()?;
                let aside = collapse_files::set_aside(&path)?;
                self.notes.push(format!(
                    "{}: {message}; it is kept as {} and made anew from the checkpoint",
                    path.display(),
                    aside.display()
                ));
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// Marks the run finished by writing its result.
    ///
    /// # Errors
    /// [`Error::ClaimLost`]; [`Error::File`] when it cannot be written.
    pub fn finish(self, run: &Run) -> Result<(), Error> {
        self.check()?;
        write_result(&self.folder, &self.manifest, run)
    }

    /// Whether another process has taken the run over.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.folder.join(LEASE).exists() && !self.lease.is_ours()
    }

    /// Records why the run could not be finished, for [`status`](crate::status()).
    pub(crate) fn record_failure(&self, reason: String) -> Result<(), Error> {
        self.check()?;
        let failure = Failure {
            reason,
            holder: Holder::here(),
        };
        sealed::write(&self.folder.join(FAILURE), &failure)
    }

    /// Forgets that the run failed before: it is tried again.
    pub(crate) fn forget_failure(&self) -> Result<(), Error> {
        let path = self.folder.join(FAILURE);
        if !path.exists() {
            return Ok(());
        }
        self.check()?;
        std::fs::remove_file(&path).map_err(|source| Error::Unwritable { path, source })
    }

    /// Removes temporary files that a killed process left; another write's, just begun, stay.
    fn sweep(&self) {
        for part in ["", "features", "checkpoints"] {
            let Ok(entries) = std::fs::read_dir(self.folder.join(part)) else {
                continue;
            };
            for entry in entries.filter_map(Result::ok) {
                let age = entry.metadata().and_then(|found| found.modified());
                let orphaned = age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ORPHANED));
                if is_leftover(&entry.file_name()) && orphaned {
                    // It costs space only; another time it may be possible.
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// Whether a file's name is that of one on its way to its place.
pub(crate) fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(".collapse-") && name.ends_with(".tmp")
}

/// Why a run could not be finished: the content of its `failure.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) holder: Holder,
}

impl Failure {
    /// That of `folder`; `None` when its run has not failed.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>, Error> {
        sealed::read(&folder.join(FAILURE))
    }
}

/// Claims `folder`, which is made where it is missing; `None` when another holds it.
fn claim(folder: &Path) -> Result<Option<(Option<Lock>, Lease)>, Error> {
    let Some(lock) = lock(folder)? else {
        return Ok(None);
    };
    Ok(Lease::take(folder)?.map(|lease| (lock, lease)))
}

/// Locks the file of the claim; `None` when another holds the lock, `Some(None)` when there are no locks.
fn lock(folder: &Path) -> Result<Option<Option<Lock>>, Error> {
    // Between opening and locking, the folder may be set aside by the claim's last holder.
    for _ in 0..100 {
        std::fs::create_dir_all(folder).map_err(|source| Error::Unwritable {
            path: folder.to_owned(),
            source,
        })?;
        match Lock::take(&folder.join(CLAIM)) {
            Ok(LockOutcome::Held) => return Ok(None),
            Ok(LockOutcome::Taken(lock)) if lock.still_in_place() => return Ok(Some(Some(lock))),
            Ok(LockOutcome::Taken(_)) => {}
            Err(collapse_files::Error::System { action: "lock", .. }) => return Ok(Some(None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Why the content of `folder` cannot belong to the run of `manifest`.
fn reason_to_set_aside(folder: &Path, manifest: &RunManifest) -> Result<Option<String>, Error> {
    match RunManifest::read(folder) {
        Ok(Some(found)) if found.is_of(manifest) => Ok(None),
        Ok(Some(found)) if (&found.group, found.seed) != (&manifest.group, manifest.seed) => Ok(
            Some(format!("it holds {} seed {}", found.group, found.seed)),
        ),
        Ok(Some(found)) => Ok(Some(format!(
            "it holds a run of another configuration ({})",
            difference(&found.identity, &manifest.identity)
        ))),
        Ok(None) => {
            let found = OF_A_RUN.iter().find(|name| folder.join(name).exists());
            Ok(found.map(|name| format!("it holds {name} but no {MANIFEST}")))
        }
        Err(Error::Damaged { message, .. }) => {
            Ok(Some(format!("{MANIFEST} cannot be believed: {message}")))
        }
        Err(error) => Err(error),
    }
}

/// The first few settings in which two identities differ, as `name: there, here`.
fn difference(there: &serde_json::Value, here: &serde_json::Value) -> String {
    const SHOWN: usize = 3;
    let mut parts = Vec::new();
    differences("", there, here, &mut parts);
    let more = parts.len().saturating_sub(SHOWN);
    parts.truncate(SHOWN);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

fn differences(
    name: &str,
    there: &serde_json::Value,
    here: &serde_json::Value,
    parts: &mut Vec<String>,
) {
    use serde_json::Value;
    if there == here {
        return;
    }
    let (Value::Object(a), Value::Object(b)) = (there, here) else {
        parts.push(format!("{name} {there} there, {here} here"));
        return;
    };
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let name = if name.is_empty() {
            key.clone()
        } else {
            format!("{name}.{key}")
        };
        let value =
            |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        differences(&name, &value(a), &value(b), parts);
    }
}
