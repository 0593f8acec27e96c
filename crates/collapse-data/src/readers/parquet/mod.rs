//! Parquet files with an image and a label column, as the Hugging Face hub serves them.
//!
//! Reads what such files hold and nothing else: one BYTE_ARRAY leaf of encoded images (`img.bytes`,
//! `image.bytes` or a plain binary column) and one leaf of labels, integers or words; PLAIN and dictionary
//! encodings; pages of version 1 and 2; uncompressed, Snappy, gzip or Zstandard. A reader of our own, because
//! every size in the file is checked before anything is allocated, and because only the two columns are read.
//! Source: the Apache Parquet format specification.

mod file;
mod metadata;
mod pages;
mod thrift;

use std::path::Path;

pub(crate) use file::File;
use file::Words;

use super::{Limits, decode, numbered_classes};
use crate::{Error, Fit, ImageSet, ImageShape, Part};

/// Which columns to read, and what to make of the images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Label column; by default `label`, `fine_label` or `labels` (integers, else words), or the only integer column.
    pub label_column: Option<String>,
    /// Shape to bring every image to; by default all must agree in size, and the set is grey only
    /// if every image is.
    pub shape: Option<ImageShape>,
    /// How images reach `shape`.
    pub fit: Fit,
    /// What a file may ask for.
    pub limits: Limits,
}

/// Decodes the parquet file `bytes` into a set.
///
/// Class names come from the hub's metadata in the file, else they are numbers.
/// A label column of -1 alone (the hub's mark for hidden labels) gives an unlabelled set.
///
/// # Errors
/// [`Error::Format`], [`Error::Unsupported`], [`Error::Image`], [`Error::TooLarge`], [`Error::Inconsistent`].
pub fn read(
    bytes: &[u8],
    name: &str,
    part: Part,
    origin: &str,
    options: &Options,
) -> Result<ImageSet, Error> {
    decode_file(
        &File::in_memory(bytes, origin)?,
        name,
        part,
        origin,
        options,
    )
}

/// As [`read`], from a file, of which only the two columns are read.
///
/// # Errors
/// As [`read`], and [`Error::Io`].
pub fn read_file(
    path: &Path,
    name: &str,
    part: Part,
    options: &Options,
) -> Result<ImageSet, Error> {
    let origin = path.display().to_string();
    decode_file(&File::open(path)?, name, part, &origin, options)
}

fn decode_file(
    file: &File<'_>,
    name: &str,
    part: Part,
    origin: &str,
    options: &Options,
) -> Result<ImageSet, Error> {
    let images = file.images()?;
    let (shape, pixels) = decode::Decoding {
        origin,
        name_of: &|row| row.to_string(),
        wanted: options.shape,
        fit: options.fit,
        limits: &options.limits,
    }
    .all(&images)?;
    drop(images);
    let labels = file.labels(options.label_column.as_deref())?;
    if labels.is_none()
        && let Some(Words { classes, labels }) = file.words()?
    {
        return ImageSet::new(name, part, shape, pixels, Some(labels), classes);
    }
    let Some((column, labels)) = labels.filter(|(_, labels)| labels.iter().any(|&l| l != -1))
    else {
        return ImageSet::new(name, part, shape, pixels, None, Vec::new());
    };
    let labels: Vec<usize> = labels
        .iter()
        .map(|&l| usize::try_from(l).ok().filter(|&l| l < 1 << 16))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::inconsistent(name, "a label is negative or above 65535"))?;
    let numbers = numbered_classes(&labels);
    let classes = file
        .class_names(&column)
        .filter(|names| names.len() >= numbers.len())
        .unwrap_or(numbers);
    ImageSet::new(name, part, shape, pixels, Some(labels), classes)
}
