//! The run store: one folder a run, claimed by one process at a time, written atomically.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use collapse_results::Run;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Error;

const RESULT: &str = "result.json";
const MANIFEST: &str = "manifest.json";
const CLAIM: &str = "claim";

/// What a run was made from: the content of its `manifest.json`.
///
/// Two runs with the same `identity` compute the same bytes; the other fields are for the reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// Everything that determines the result: configuration, data hashes, kernel path, precision.
    pub identity: serde_json::Value,
    /// SHA-256 of `identity`'s canonical JSON.
    pub identity_sha256: String,
    /// Version of the code that started the run.
    pub code_version: String,
}

impl RunManifest {
    /// Hashes `identity`; serde_json keeps object keys sorted, so equal values hash equally.
    pub fn new(identity: serde_json::Value, code_version: &str) -> Self {
        let digest = Sha256::digest(identity.to_string().as_bytes());
        let identity_sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            identity,
            identity_sha256,
            code_version: code_version.to_owned(),
        }
    }
}

/// Folder of all runs of one scale: `<root>/<group>/seed-NN/`.
#[derive(Clone, Debug)]
pub struct RunStore {
    root: PathBuf,
}

/// A run folder held by this process; released when dropped, also when the process is killed.
#[derive(Debug)]
pub struct ClaimedRun {
    folder: PathBuf,
    _lock: File,
}

impl RunStore {
    /// Opens (and creates) the store; fails when the folder cannot be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        std::fs::create_dir_all(&root).map_err(|source| Error::Unwritable {
            path: root.clone(),
            source,
        })?;
        let probe = tempfile::NamedTempFile::new_in(&root).map_err(|source| Error::Unwritable {
            path: root.clone(),
            source,
        })?;
        drop(probe);
        Ok(Self { root })
    }

    /// The folder of one run.
    pub fn folder(&self, group: &str, seed: u64) -> PathBuf {
        self.root.join(group).join(format!("seed-{seed:02}"))
    }

    /// The result of a finished run made from `manifest`, if there is one.
    pub fn finished(
        &self,
        group: &str,
        seed: u64,
        manifest: &RunManifest,
    ) -> Result<Option<Run>, Error> {
        finished_in(&self.folder(group, seed), manifest)
    }

    /// Takes a run for this process, see [`ClaimedRun::take`].
    pub fn claim(
        &self,
        group: &str,
        seed: u64,
        manifest: &RunManifest,
    ) -> Result<Option<ClaimedRun>, Error> {
        ClaimedRun::take(&self.folder(group, seed), manifest)
    }
}

/// The result in `folder` if it was made from `manifest`.
pub fn finished_in(folder: &Path, manifest: &RunManifest) -> Result<Option<Run>, Error> {
    if stored_identity(folder)?.as_deref() != Some(manifest.identity_sha256.as_str()) {
        return Ok(None);
    }
    let path = folder.join(RESULT);
    let found: Option<Run> = read_json(&path)?;
    if let Some(run) = &found {
        run.check().map_err(|error| Error::Damaged {
            path,
            message: error.to_string(),
        })?;
    }
    Ok(found)
}

impl ClaimedRun {
    /// Takes the run in `folder` for this process; `None` when another process holds it.
    ///
    /// The claim is a file lock, which the system drops with its process: a claim cannot go stale.
    /// A folder made from another configuration is moved aside to `<folder>.before-XXXXXXXX`.
    pub fn take(folder: &Path, manifest: &RunManifest) -> Result<Option<Self>, Error> {
        let unwritable = |source| Error::Unwritable {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(unwritable)?;
        let lock = open_claim(folder).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let lock = match stored_identity(folder)? {
            Some(found) if found != manifest.identity_sha256 => {
                let aside =
                    folder.with_extension(format!("before-{}", &manifest.identity_sha256[..8]));
                if aside.exists() {
                    std::fs::remove_dir_all(&aside).map_err(unwritable)?;
                }
                std::fs::rename(folder, &aside).map_err(unwritable)?;
                std::fs::create_dir_all(folder).map_err(unwritable)?;
                let fresh = open_claim(folder).map_err(unwritable)?;
                fresh.lock().map_err(unwritable)?;
                fresh
            }
            _ => lock,
        };
        write_json(&folder.join(MANIFEST), manifest)?;
        Ok(Some(Self {
            folder: folder.to_owned(),
            _lock: lock,
        }))
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Marks the run finished by writing its result.
    pub fn finish(self, run: &Run) -> Result<(), Error> {
        write_json(&self.folder.join(RESULT), run)
    }
}

fn open_claim(folder: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(CLAIM))
}

fn stored_identity(folder: &Path) -> Result<Option<String>, Error> {
    let manifest: Option<RunManifest> = read_json(&folder.join(MANIFEST))?;
    Ok(manifest.map(|manifest| manifest.identity_sha256))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::Damaged {
            path: path.to_owned(),
            message: source.to_string(),
        })
}

/// Writes pretty JSON atomically: temporary file in the same folder, fsync, rename.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let unwritable = |source| Error::Unwritable {
        path: path.to_owned(),
        source,
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
    let mut text = serde_json::to_vec_pretty(value).map_err(|source| Error::Damaged {
        path: path.to_owned(),
        message: source.to_string(),
    })?;
    text.push(b'\n');
    file.write_all(&text).map_err(unwritable)?;
    file.as_file().sync_all().map_err(unwritable)?;
    file.persist(path)
        .map_err(|error| unwritable(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_results::RunTimes;

    fn manifest(width: usize) -> RunManifest {
        RunManifest::new(serde_json::json!({ "width": width }), "test")
    }

    fn run() -> Run {
        Run {
            group: "g".into(),
            seed: 1,
            parameters: 3,
            evaluations: vec![],
            history: vec![],
            made_by: vec![],
            times: RunTimes::default(),
        }
    }

    #[test]
    fn a_finished_run_is_found_again_and_only_for_its_own_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::open(folder.path()).unwrap();
        let claimed = store.claim("g", 1, &manifest(8)).unwrap().unwrap();
        assert_eq!(store.finished("g", 1, &manifest(8)).unwrap(), None);
        claimed.finish(&run()).unwrap();
        assert_eq!(store.finished("g", 1, &manifest(8)).unwrap(), Some(run()));
        assert_eq!(store.finished("g", 1, &manifest(16)).unwrap(), None);
    }

    #[test]
    fn a_claimed_run_is_refused_to_others_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::open(folder.path()).unwrap();
        let claimed = store.claim("g", 1, &manifest(8)).unwrap();
        assert!(claimed.is_some());
        assert!(store.claim("g", 1, &manifest(8)).unwrap().is_none());
        drop(claimed);
        assert!(store.claim("g", 1, &manifest(8)).unwrap().is_some());
    }

    #[test]
    fn runs_of_another_configuration_are_moved_aside_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::open(folder.path()).unwrap();
        store
            .claim("g", 1, &manifest(8))
            .unwrap()
            .unwrap()
            .finish(&run())
            .unwrap();
        drop(store.claim("g", 1, &manifest(16)).unwrap());
        let kept = std::fs::read_dir(folder.path().join("g"))
            .unwrap()
            .filter_map(Result::ok)
            .find(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("seed-01.before-")
            })
            .unwrap();
        assert!(kept.path().join(RESULT).exists());
    }

    #[test]
    fn a_damaged_result_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::open(folder.path()).unwrap();
        drop(store.claim("g", 1, &manifest(8)).unwrap());
        std::fs::write(store.folder("g", 1).join(RESULT), "{").unwrap();
        let message = store
            .finished("g", 1, &manifest(8))
            .unwrap_err()
            .to_string();
        assert!(message.contains("result.json"), "{message}");
    }
}
