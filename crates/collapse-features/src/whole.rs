//! Feature files that are read tensor by tensor.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file::{Reading, ending};
use crate::set::FeatureSet;
use crate::tensors::{Role, Tensors};
use crate::{container, numpy};

/// Reads a file whose tensors stand one after the other, or a folder of such.
pub(crate) fn load(path: &Path, reading: Reading) -> Result<FeatureSet> {
    tensors(path, reading)?.into_set(&path.display().to_string())
}

/// As [`load`]; `None` where there are no logits.
pub(crate) fn load_logits(path: &Path, reading: Reading) -> Result<Option<FeatureSet>> {
    let tensors = tensors(path, reading)?;
    match tensors.has(Role::Logits) {
        true => tensors.into_set(&path.display().to_string()).map(Some),
        false => Ok(None),
    }
}

fn tensors(path: &Path, reading: Reading) -> Result<Tensors> {
    match ending(path).as_deref() {
        _ if path.is_dir() => numpy::load_folder(path, reading),
        Some("safetensors") => container::load(path, reading),
        Some("npz") => numpy::load_archive(path, reading),
        Some("npy") => numpy::load_array(path, reading),
        _ => Err(Error::UnknownFormat {
            path: path.to_owned(),
        }),
    }
}
