//! One entry for every kind of feature file.

use std::path::Path;

use crate::error::Result;
use crate::file::{Limits, ending};
use crate::set::FeatureSet;
use crate::{rows, whole};

/// Reads a feature file: `.safetensors`, `.npz` (arrays of the same names, `head_weight` and
/// `head_bias` allowed for the head, optional `l2`), a folder with one `.npy` file for every
/// such name, one `.npy` file (features alone), or lines of text, `.csv` and `.jsonl` (see
/// [`Rows::from_reader`](crate::Rows::from_reader)).
///
/// Floating tensors may be f16, bf16, f32 or f64; features of f32 or less stay f32, all others become f64. Labels may have
/// any integer type. Labels that are all −1, as some exporters mark out-of-distribution sets, count as absent. Dimensions of one
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
    match ending(path).as_deref() {
        Some("csv" | "jsonl" | "ndjson") if !path.is_dir() => rows::load(path, limits),
        _ => whole::load(path, limits),
    }
}
