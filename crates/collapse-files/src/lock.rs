//! A lock on a file, held by one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A lock on the file at a path, released when dropped; the system releases it when the process ends.
///
/// It is advisory and rests on the file system's `flock` (`LockFileEx` on Windows).
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// What became of an attempt to lock.
#[derive(Debug)]
pub enum LockOutcome {
    /// The lock is ours.
    Taken(Lock),
    /// Another process, or another part of this one, holds it.
    Held,
}

impl Lock {
    /// Tries to lock the file at `path`, which is made where it is missing; does not wait.
    ///
    /// # Errors
    /// [`Error::System`] when the file cannot be opened or the file system has no locks.
    pub fn take(path: &Path) -> Result<LockOutcome> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(Error::system("open", path))?;
        match file.try_lock() {
            Ok(()) => Ok(LockOutcome::Taken(Self {
                file,
                path: path.to_owned(),
            })),
            Err(TryLockError::WouldBlock) => Ok(LockOutcome::Held),
            Err(TryLockError::Error(source)) => Err(Error::system("lock", path)(source)),
        }
    }

    /// Whether the locked file is still the one at its path: not deleted, moved or replaced since.
    pub fn still_in_place(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
            let here = std::fs::metadata(&self.path).map(identity);
            let held = self.file.metadata().map(identity);
            matches!((here, held), (Ok(here), Ok(held)) if here == held)
        }
        // Elsewhere an open file can be neither deleted nor moved.
        #[cfg(not(unix))]
        {
            self.file.metadata().is_ok() && self.path.exists()
        }
    }
}
