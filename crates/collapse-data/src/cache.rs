//! The cache of decoded sets: one checked file a set, keyed by the SHA-256 of its source.
//!
//! Hashing a source at every start would cost more than the cache saves, so a sealed stamp beside the
//! cache remembers the hash of each source by path, length and modification time, as git's index
//! does. A cached set is read into memory and compared with its SHA-256, so its content hash is always one of the
//! pixels at hand, and a file that is cut or overwritten later harms nobody.
//!
//! The cache only saves time: what is damaged or cannot be written is told and done without.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use collapse_files::Seal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hash::{file_sha256, hex};
use crate::{Error, ImageSet, input, pack};

/// Counts up whenever the same source gives other pixels than before.
const DECODING: u32 = 2;

/// A folder of decoded sets.
#[derive(Clone)]
pub struct Cache {
    folder: PathBuf,
    tell: fn(&str),
    told_unwritable: Arc<AtomicBool>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cache").field(&self.folder).finish()
    }
}

impl PartialEq for Cache {
    fn eq(&self, other: &Self) -> bool {
        self.folder == other.folder
    }
}

impl Eq for Cache {}

/// The SHA-256 of a source, as long as the source looks unchanged.
#[derive(Serialize, Deserialize)]
struct Stamp {
    #[serde(flatten)]
    source: SourceState,
    sha256: String,
    seal: String,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct SourceState {
    path: PathBuf,
    length: u64,
    modified_ns: u64,
}

impl SourceState {
    fn of(source: &Path) -> Result<Self, Error> {
        let path = source.canonicalize().map_err(Error::io("find", source))?;
        let metadata = std::fs::metadata(&path).map_err(Error::io("read", source))?;
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            path,
            length: metadata.len(),
            modified_ns: modified.map_or(0, |since| since.as_nanos() as u64),
        })
    }
}

impl Cache {
    /// A cache in `folder`, which is created when something is stored; warnings go to standard error.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            tell: |warning| eprintln!("warning: {warning}"),
            told_unwritable: Arc::default(),
        }
    }

    /// The same cache, with its warnings told to `tell`.
    #[must_use]
    pub fn telling(mut self, tell: fn(&str)) -> Self {
        self.tell = tell;
        self
    }

    /// `$COLLAPSE_CACHE`, else `$XDG_CACHE_HOME/collapse`, else `~/.cache/collapse`; `None` without any of them.
    #[must_use]
    pub fn default_location() -> Option<Self> {
        let set = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        set("COLLAPSE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("collapse")))
            .or_else(|| set("HOME").map(|d| d.join(".cache/collapse")))
            .map(Self::new)
    }

    /// The decoded form of the files `sources`, from the cache or else from `decode`, which is then stored.
    ///
    /// `variant` distinguishes several decodings of one source (part, shape) and becomes a part of a file name.
    /// A cached file that is damaged is told and made anew; a cache that cannot be written is told, once.
    ///
    /// # Errors
    /// Those of `decode`; [`Error::Io`] when a source cannot be read.
    pub fn get_or_decode(
        &self,
        sources: &[PathBuf],
        variant: &str,
        decode: impl FnOnce() -> Result<ImageSet, Error>,
    ) -> Result<ImageSet, Error> {
        let hashes = sources
            .iter()
            .map(|source| self.source_hash(source))
            .collect::<Result<Vec<_>, _>>()?;
        let key = match &hashes[..] {
            [one] => one.clone(),
            several => hex(&Sha256::digest(several.concat())),
        };
        let file = self
            .folder
            .join(format!("{key}-{variant}-{DECODING}.images"));
        if file.is_file() {
            match open(&file) {
                Ok(set) => return Ok(set),
                Err(error) => (self.tell)(&format!(
                    "a cached image set is damaged and made anew: {error}"
                )),
            }
        }
        let set = decode()?;
        self.store(collapse_files::replace_with(&file, |out| {
            pack::write(out, std::slice::from_ref(&set), pack::Encoding::Raw)
        }));
        Ok(set)
    }

    /// SHA-256 of a file, from its stamp while path, length and modification time are unchanged.
    fn source_hash(&self, source: &Path) -> Result<String, Error> {
        let state = SourceState::of(source)?;
        let name = hex(&Sha256::digest(state.path.as_os_str().as_encoded_bytes())[..16]);
        let file = self.folder.join("stamps").join(format!("{name}.json"));
        if let Some(stamp) = read_stamp(&file)
            && stamp.source == state
        {
            return Ok(stamp.sha256);
        }
        let sha256 = file_sha256(&state.path)?;
        let stamp = Stamp {
            source: state,
            sha256,
            seal: Seal::BLANK.to_string(),
        };
        // A path that JSON cannot hold has no stamp and is hashed at every start.
        if let Ok(json) = serde_json::to_vec(&stamp)
            && let Ok(sealed) = collapse_files::seal(json)
        {
            self.store(collapse_files::replace(&file, &sealed));
        }
        Ok(stamp.sha256)
    }

    fn store(&self, outcome: Result<(), collapse_files::Error>) {
        if let Err(error) = outcome
            && !self.told_unwritable.swap(true, Ordering::Relaxed)
        {
            let cause = std::error::Error::source(&error)
                .map_or_else(String::new, |cause| format!(" ({cause})"));
            (self.tell)(&format!(
                "decoded images are not kept, so the next start decodes them again: {error}{cause}, or name another folder in COLLAPSE_CACHE"
            ));
        }
    }
}

fn open(file: &Path) -> Result<ImageSet, Error> {
    let origin = file.display().to_string();
    let bytes = input::read(file, u64::MAX)?;
    let mut sets = pack::read(bytes, &origin)?;
    match sets.pop() {
        Some(set) if sets.is_empty() => Ok(set),
        _ => Err(Error::format(
            origin,
            "collapse image container",
            "it does not hold one set",
        )),
    }
}

/// A stamp that is missing or damaged is written anew.
fn read_stamp(file: &Path) -> Option<Stamp> {
    let json = input::read(file, 1 << 16).ok()?;
    collapse_files::check(&json)
        .is_sound()
        .then(|| serde_json::from_slice(&json).ok())?
}
