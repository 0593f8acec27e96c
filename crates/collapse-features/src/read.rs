//! One entry for every kind of feature file.

use std::path::Path;

use crate::error::Result;
use crate::file::{Limits, Reading, ending};
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
    let reading = Reading {
        limits,
        ..Reading::default()
    };
    read_all(path.as_ref(), reading)
}

/// As [`read`], for sets whose labels have no meaning for the network, as out-of-distribution sets: they are left in the
/// file, whatever their type and value.
///
/// # Errors
/// As [`read`], but for labels.
pub fn read_unlabelled(path: impl AsRef<Path>) -> Result<FeatureSet> {
    read_all(path.as_ref(), Reading::without_labels())
}

fn read_all(path: &Path, reading: Reading) -> Result<FeatureSet> {
    match is_text(path) {
        true => rows::load(path, reading),
        false => whole::load(path, reading),
    }
}

/// As [`read`], for those who need logits and labels only: where a file has logits, its features and its head are left
/// in it, so that the set has features of no dimensions, [N, 0], and no head. Where it has none they would follow from the
/// features, so that everything is read.
///
/// # Errors
/// As [`read`], but for what is wrong with numbers that are not read.
///
/// ```
/// use collapse_features::{FeatureSet, Precision, read_logits};
/// use ndarray::Array2;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("test.safetensors");
/// let set = FeatureSet::new(Array2::<f32>::ones((5, 512))).with_logits(Array2::zeros((5, 3)));
/// set.write(&path, Precision::F32)?;
/// let set = read_logits(&path)?;
/// assert_eq!((set.n_samples(), set.n_features(), set.n_classes()), (5, 0, Some(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_logits(path: impl AsRef<Path>) -> Result<FeatureSet> {
    read_logits_as(path.as_ref(), Reading::default())
}

/// As [`read_logits`] for sets whose labels have no meaning, see [`read_unlabelled`].
///
/// # Errors
/// As [`read_logits`], but for labels.
pub fn read_unlabelled_logits(path: impl AsRef<Path>) -> Result<FeatureSet> {
    read_logits_as(path.as_ref(), Reading::without_labels())
}

fn read_logits_as(path: &Path, reading: Reading) -> Result<FeatureSet> {
    if is_text(path) {
        return read_all(path, reading);
    }
    let alone = Reading {
        logits_alone: true,
        ..reading
    };
    match whole::load_logits(path, alone)? {
        Some(set) => Ok(set),
        None => read_all(path, reading),
    }
}

fn is_text(path: &Path) -> bool {
    let ending = ending(path);
    matches!(ending.as_deref(), Some("csv" | "jsonl" | "ndjson")) && !path.is_dir()
}
