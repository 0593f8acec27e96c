//! Opening what is to be read, and how much of it is taken in.

use std::fs::{File, metadata};
use std::path::Path;

use crate::error::{Error, Result};

/// Bytes up to which an array may be compressed without measure: small archives of constant arrays are no bombs.
const UNMEASURED: u64 = 16 << 20;

/// How much memory one feature file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all arrays of a set in memory: 4 a number for features of f32 or less, 8 for all others.
    pub set_bytes: u64,
    /// How many times larger than its compressed form an array of an archive may be, where it has more than 16 MiB.
    pub expansion: u64,
}

impl Default for Limits {
    /// 64 GiB a set, 200 times the compressed size.
    fn default() -> Self {
        Self {
            set_bytes: 64 << 30,
            expansion: 200,
        }
    }
}

/// What of a file is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) limits: Limits,
    /// Whether features, and with them the head, are left where they are.
    pub(crate) logits_alone: bool,
    /// Whether labels, whatever they are, are left out.
    pub(crate) unlabelled: bool,
}

impl Reading {
    pub(crate) fn without_labels() -> Self {
        Self {
            unlabelled: true,
            ..Self::default()
        }
    }
}

impl Limits {
    /// Whether an array of `bytes` may come out of `compressed` bytes.
    pub(crate) fn allow_expansion(&self, compressed: u64, bytes: u64) -> bool {
        bytes <= UNMEASURED.max(compressed.saturating_mul(self.expansion))
    }
}

/// Opens a regular file and tells its length; a pipe or a device would have no end.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let unread = |source| Error::unread(path, source);
    // Opening a pipe waits for its writer, so its kind is asked first.
    if !metadata(path).map_err(unread)?.is_file() {
        return Err(Error::NotRegular {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(unread)?;
    let length = file.metadata().map_err(unread)?.len();
    Ok((file, length))
}

/// Whether a file or an array of `found` bytes has the length that its own header promises.
pub(crate) fn check_length(
    (path, format): (&Path, &'static str),
    expected: u64,
    found: u64,
    last: &str,
) -> Result<()> {
    if expected > found {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected,
            found,
        });
    }
    if expected < found {
        return Err(Error::Damaged {
            path: path.to_owned(),
            format,
            reason: format!("{} bytes follow {last}", found - expected),
        });
    }
    Ok(())
}

/// The ending of a file name, in small letters.
pub(crate) fn ending(path: &Path) -> Option<String> {
    let ending = path.extension()?.to_str()?;
    Some(ending.to_ascii_lowercase())
}
