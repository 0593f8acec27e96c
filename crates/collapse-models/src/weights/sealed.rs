//! Safetensors files of this project: they say what they are, and carry a seal over all of it.
//!
//! The metadata has one key, `collapse`, whose value is a JSON object with `seal` and `format`; one key only, since
//! the order of several would show in the bytes.

use std::path::{Path, PathBuf};

use collapse_files::{Seal, check, replace, seal};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

const KEY: &str = "collapse";

/// A tensor on its way into a file.
pub struct RawTensor<'a> {
    /// Name in the file.
    pub name: String,
    /// Type of the numbers.
    pub dtype: Dtype,
    /// Shape, row-major.
    pub shape: &'a [usize],
    /// The numbers, little-endian.
    pub bytes: Vec<u8>,
}

#[derive(Serialize)]
struct Sealed<'a, T> {
    seal: &'static str,
    #[serde(flatten)]
    about: &'a T,
}

/// Puts a sealed file at `path`, the whole of it or nothing; equal contents give equal bytes.
///
/// `about` must serialise to a JSON object with a field `format`.
///
/// # Errors
/// [`Error::File`] when `about` has no such form, [`Error::Storage`] when
/// the file cannot be written.
pub fn write_sealed<T: Serialize>(path: &Path, about: &T, tensors: &[RawTensor<'_>]) -> Result<()> {
    let sealed = Sealed {
        seal: Seal::BLANK,
        about,
    };
    let text = serde_json::to_string(&sealed).map_err(|e| Error::file(path, e.to_string()))?;
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|tensor| {
            TensorView::new(tensor.dtype, tensor.shape.to_vec(), &tensor.bytes)
                .map(|view| (tensor.name.as_str(), view))
                .map_err(|e| Error::file(path, e.to_string()))
        })
        .collect::<Result<_>>()?;
    let metadata = [(KEY.to_owned(), text)].into_iter().collect();
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::file(path, error.to_string()))?;
    Ok(replace(path, &seal(bytes)?)?)
}

/// A file that [`write_sealed`] wrote and nothing has changed since.
pub struct SealedFile {
    path: PathBuf,
    bytes: Vec<u8>,
    about: serde_json::Value,
}

impl SealedFile {
    /// Takes the content of a safetensors file; gives it back when it is none of this project's.
    ///
    /// # Errors
    /// [`Error::File`] when it is one, but not as it was written.
    pub(super) fn recognise(
        path: &Path,
        bytes: Vec<u8>,
    ) -> Result<std::result::Result<Self, Vec<u8>>> {
        let checked = check(&bytes);
        if checked.is_damaged() {
            return Err(Error::file(path, DAMAGED));
        }
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| Error::file(path, format!("not a valid safetensors file ({e})")))?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
        let Some(text) = text else {
            return Ok(Err(bytes));
        };
        let about: serde_json::Value =
            serde_json::from_str(text).map_err(|_| Error::file(path, DAMAGED))?;
        // The first format of checkpoints had no seal; its random streams were others, too.
        if about["format"] == "collapse.checkpoint/1" && about.get("seal").is_none() {
            return Err(Error::file(
                path,
                "it is of format `collapse.checkpoint/1`, which this version no longer reads; train anew",
            ));
        }
        if !checked.is_sound() {
            return Err(Error::file(path, DAMAGED));
        }
        Ok(Ok(Self {
            path: path.to_owned(),
            bytes,
            about,
        }))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says it is, e.g. `collapse.weights/1`.
    #[must_use]
    pub fn format(&self) -> &str {
        self.about["format"].as_str().unwrap_or_default()
    }

    /// What was written beside the tensors.
    ///
    /// # Errors
    /// [`Error::File`] when it has another form.
    pub fn about<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.about).map_err(|e| Error::file(&self.path, e.to_string()))
    }

    /// The tensors.
    ///
    /// # Errors
    /// [`Error::File`] when they are not laid out as the format wants.
    pub fn tensors(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| Error::file(&self.path, format!("not a valid safetensors file ({e})")))
    }
}

const DAMAGED: &str = "it was changed or cut after it was written (its seal does not fit its content); take an undamaged copy";
