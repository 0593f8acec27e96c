//! One entry for every kind of feature file.

use std::path::Path;

use crate::error::{Error, Result};
use crate::file::Limits;
use crate::set::FeatureSet;
use crate::{container, numpy};

/// Reads a feature file: `.safetensors`, `.npz` (arrays of the same names, `head_weight` and
/// `head_bias` allowed for the head, optional `l2`), a folder with one `.npy` file for every
/// such name, or one `.npy` file (features alone).
///
/// Floating tensors may be f16, bf16, f32 or f64 and become f64; labels may have any integer
/// type. Labels that are all −1, as some exporters mark out-of-distribution sets, count as absent. Dimensions of one
/// element beyond those of a role are dropped: `[N, D, 1, 1]` is `[N, D]`.
///
/// # Errors
/// Names the file, the tensor, the offending value and the remedy: unreadable, truncated or damaged files,
/// anything but regular files, missing tensors, wrong types and shapes, NaN or infinite values, negative labels, more
/// memory than [`Limits::default`].
pub fn read(path: impl AsRef<Path>) -> Result<FeatureSet> {
    read_within(path, Limits::default())
}

/// As [`read`], within other limits.
///
/// # Errors
/// As [`read`].
pub fn read_within(path: impl AsRef<Path>, limits: Limits) -> Result<FeatureSet> {
    let path = path.as_ref();
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .map(str::to_ascii_lowercase);
    let tensors = match ending.as_deref() {
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
