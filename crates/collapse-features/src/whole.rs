//! Feature files that are read tensor by tensor.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file::{Limits, ending};
use crate::set::FeatureSet;
use crate::{container, numpy};

/// Reads a file whose tensors stand one after the other, or a folder of such.
pub(crate) fn load(path: &Path, limits: Limits) -> Result<FeatureSet> {
    let tensors = match ending(path).as_deref() {
        _ if path.is_dir() => numpy::load_folder(path, limits)?,
        Some("safetensors") => container::load(path, limits)?,
        Some("npz") => numpy::load_archive(path, limits)?,
        Some("npy") => numpy::load_array(path, limits)?,
        _ => {
            return Err(Error::UnknownFormat {
                path: path.to_owned(),
            });
        }
    };
    tensors.into_set(&path.display().to_string())
}
