//! JSON files that carry their own seal.

use std::io::ErrorKind;
use std::path::Path;

use collapse_files::{Check, Seal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    #[serde(flatten)]
    value: T,
    seal: String,
}

/// Puts `value` at `path` as JSON with a seal over the whole file.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let sealed = Sealed {
        value,
        seal: Seal::BLANK.to_owned(),
    };
    let mut text = serde_json::to_vec_pretty(&sealed).map_err(|source| {
        Error::File(collapse_files::Error::Json {
            path: path.to_owned(),
            source,
        })
    })?;
    text.push(b'\n');
    collapse_files::replace(path, &collapse_files::seal(text)?)?;
    Ok(())
}

/// What [`write()`] put at `path`; `None` where there is no file.
///
/// [`Error::Damaged`] for every other content: without the seal nothing in a run folder is believed.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(bytes) = read_bytes(path)? else {
        return Ok(None);
    };
    let message = match collapse_files::check(&bytes) {
        Check::Sound(_) => match serde_json::from_slice::<Sealed<T>>(&bytes) {
            Ok(sealed) => return Ok(Some(sealed.value)),
            Err(error) => error.to_string(),
        },
        Check::Damaged => "its seal does not fit its content".to_owned(),
        Check::Unsealed => "it has no seal".to_owned(),
    };
    Err(Error::Damaged {
        path: path.to_owned(),
        message,
    })
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
