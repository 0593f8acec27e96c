//! The cache of decoded sets: one memory-mapped file a set, keyed by the SHA-256 of its source.
//!
//! Hashing a source at every start would cost more than the cache saves, so a stamp beside the
//! cache remembers the hash of each source by path, length and modification time, as git's index
//! does. A cached set is trusted by its header; [`verify`](crate::verify) recomputes content hashes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image_set::{Pixels, hex};
use crate::{Error, ImageSet, map, pack};

/// A folder of decoded sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Stamp {
    path: PathBuf,
    length: u64,
    modified_ns: u128,
    sha256: String,
}

impl Cache {
    /// A cache in `folder`, which is created when something is stored.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
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
    /// `variant` distinguishes several decodings of one source (part, shape).
    ///
    /// # Errors
    /// Those of `decode`; [`Error::Io`] when the source cannot be read or the cache not written. A cache
    /// file that is damaged is made anew.
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
        let file = self.folder.join(format!("{key}-{variant}.images"));
        if file.is_file()
            && let Ok(set) = Self::open(&file)
        {
            return Ok(set);
        }
        let set = decode()?;
        let bytes = pack::write(std::slice::from_ref(&set), pack::Encoding::Raw)?;
        write_atomically(&file, &bytes)?;
        Ok(set)
    }

    fn open(file: &Path) -> Result<ImageSet, Error> {
        let map = Arc::new(map::open(file)?);
        let end = map.len();
        let mut sets = pack::read(
            &Pixels::Mapped { map, start: 0, end },
            &file.display().to_string(),
            false,
        )?;
        sets.pop().ok_or_else(|| {
            Error::format(
                file.display().to_string(),
                "collapse image container",
                "it is empty",
            )
        })
    }

    /// SHA-256 of a file, from its stamp when length and modification time are unchanged.
    fn source_hash(&self, source: &Path) -> Result<String, Error> {
        let path = source.canonicalize().map_err(Error::io("find", source))?;
        let metadata = std::fs::metadata(&path).map_err(Error::io("read", source))?;
        let modified_ns = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |d| d.as_nanos());
        let name = hex(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..16]);
        let file = self.folder.join("stamps").join(format!("{name}.json"));
        let known: Option<Stamp> = std::fs::read(&file)
            .ok()
            .and_then(|b| serde_json::from_slice(&b).ok());
        if let Some(stamp) = known
            && (&stamp.path, stamp.length, stamp.modified_ns)
                == (&path, metadata.len(), modified_ns)
            && stamp.sha256.len() == 64
            && stamp.sha256.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Ok(stamp.sha256);
        }
        let sha256 = file_sha256(&path)?;
        let stamp = Stamp {
            path,
            length: metadata.len(),
            modified_ns,
            sha256,
        };
        let json = serde_json::to_vec(&stamp).map_err(|e| Error::format("stamp", "JSON", e))?;
        write_atomically(&file, &json)?;
        Ok(stamp.sha256)
    }
}

/// SHA-256 of a file's bytes, lower-case hex.
///
/// # Errors
/// [`Error::Io`].
pub fn file_sha256(path: &Path) -> Result<String, Error> {
    let mut file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).map_err(Error::io("read", path))?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

/// Temporary file in the same folder, sync, rename: nothing half-written stays under the name.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut file =
        tempfile::NamedTempFile::new_in(folder).map_err(Error::io("create a file in", folder))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    file.persist(path).map_err(|e| Error::Io {
        action: "rename to",
        path: path.to_path_buf(),
        source: e.error,
    })?;
    Ok(())
}
