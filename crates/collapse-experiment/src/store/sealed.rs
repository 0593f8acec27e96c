//! JSON files that carry their own seal.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Puts `value` at `path` as JSON with a seal over the whole file.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = collapse_files::to_sealed_json(value)?;
    collapse_files::replace(path, &text)?;
    Ok(())
}

/// What [`write()`] put at `path`; `None` where there is no file.
///
/// [`Error::Damaged`] for every other content: without the seal nothing in a run folder is believed.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(bytes) = read_bytes(path)? else {
        return Ok(None);
    };
    match collapse_files::from_sealed_json(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Error::Damaged {
            path: path.to_owned(),
            message: error.to_string(),
        }),
    }
}

/// The bytes of a regular file; `None` where there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.is_file() => Err(Error::Damaged {
            path: path.to_owned(),
            message: "it is no regular file".to_owned(),
        }),
        Ok(_) => std::fs::read(path).map(Some).map_err(failed),
    }
}
