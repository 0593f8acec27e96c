//! IDX, the format of MNIST and its kin, plain or gzip.
//!
//! Magic number 00 00 08 d (unsigned bytes in d dimensions), d big-endian u32 sizes, then the bytes.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Limits, numbered_classes};
use crate::{Error, ImageSet, ImageShape, Part, input};

const FORMAT: &str = "IDX";

/// Sizes and bytes of an IDX array of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxArray {
    /// One size a dimension.
    pub sizes: Vec<usize>,
    /// Row-major content.
    pub bytes: Vec<u8>,
}

/// Parses an IDX array of unsigned bytes; `bytes` may be gzip.
///
/// # Errors
/// [`Error::Format`], [`Error::TooLarge`].
pub fn parse(bytes: &[u8], origin: &str, limits: &Limits) -> Result<IdxArray, Error> {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = gunzip(bytes, origin, limits)?;
        &unpacked[..]
    } else {
        bytes
    };
    let (magic, mut rest) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| Error::format(origin, FORMAT, "it is shorter than its magic number"))?;
    let &[0, 0, 8, dimensions @ 1..=4] = magic else {
        return Err(Error::format(
            origin,
            FORMAT,
            format!("magic number {magic:02x?} is not 00 00 08 01..04"),
        ));
    };
    let mut sizes = Vec::new();
    let mut total = 1u64;
    for _ in 0..dimensions {
        let (size, tail) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| Error::format(origin, FORMAT, "it ends within its sizes"))?;
        let size = u32::from_be_bytes(*size);
        total = total.saturating_mul(u64::from(size));
        sizes.push(size as usize);
        rest = tail;
    }
    if rest.len() as u64 != total {
        return Err(Error::format(
            origin,
            FORMAT,
            format!(
                "{} bytes follow the header, which declares {total}",
                rest.len()
            ),
        ));
    }
    Ok(IdxArray {
        sizes,
        bytes: rest.to_vec(),
    })
}

pub(crate) fn gunzip(bytes: &[u8], origin: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .take(limits.file_bytes + 1)
        .read_to_end(&mut out)
        .map_err(|e| Error::format(origin, "gzip", e))?;
    if out.len() as u64 > limits.file_bytes {
        return Err(Error::TooLarge {
            origin: origin.to_string(),
            what: "unpacked bytes",
            size: out.len() as u64,
            limit: limits.file_bytes,
        });
    }
    Ok(out)
}

/// Images [N, H, W] and labels `[N]` as a set whose classes are numbers.
///
/// # Errors
/// [`Error::Format`], [`Error::Inconsistent`], [`Error::TooLarge`].
pub fn read(
    images: &[u8],
    labels: &[u8],
    name: &str,
    part: Part,
    limits: &Limits,
) -> Result<ImageSet, Error> {
    let images = parse(images, &format!("{name} {} images", part.name()), limits)?;
    let labels = parse(labels, &format!("{name} {} labels", part.name()), limits)?;
    assemble(images, labels, name, part)
}

fn assemble(images: IdxArray, labels: IdxArray, name: &str, part: Part) -> Result<ImageSet, Error> {
    let &[count, height, width] = &images.sizes[..] else {
        return Err(Error::format(
            name,
            FORMAT,
            format!("images have {} dimensions, not 3", images.sizes.len()),
        ));
    };
    if labels.sizes != [count] {
        return Err(Error::inconsistent(
            name,
            format!("labels of sizes {:?} for {count} images", labels.sizes),
        ));
    }
    let labels: Vec<usize> = labels.bytes.iter().map(|&l| usize::from(l)).collect();
    let classes = numbered_classes(&labels);
    ImageSet::new(
        name,
        part,
        ImageShape::new(height, width, 1),
        images.bytes,
        Some(labels),
        classes,
    )
}

/// The stem of the four files' names.
fn stem(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Test => "t10k",
    }
}

/// The sizes an IDX file declares, plain or gzip, from its beginning alone.
fn declared_sizes(file: &Path) -> Option<Vec<usize>> {
    let mut start = Vec::new();
    let mut reader = std::io::BufReader::new(input::open(file).ok()?.0);
    let gzip = std::io::BufRead::fill_buf(&mut reader)
        .ok()?
        .starts_with(&[0x1f, 0x8b]);
    if gzip {
        flate2::read::GzDecoder::new(reader)
            .take(16)
            .read_to_end(&mut start)
            .ok()?;
    } else {
        reader.take(16).read_to_end(&mut start).ok()?;
    }
    let &[0, 0, 8, dimensions @ 1..=3] = start.get(..4)? else {
        return None;
    };
    let sizes = start.get(4..4 + 4 * usize::from(dimensions))?;
    Some(
        sizes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| u32::from_be_bytes(*b) as usize)
            .collect(),
    )
}

/// The labels of the IDX images `file`: the file named after it, else the only one beside it with as many labels;
/// `None` if `file` holds no IDX images.
pub(crate) fn labels_of(file: &Path) -> Option<PathBuf> {
    let count = match declared_sizes(file)?[..] {
        [count, _, _] => count,
        _ => return None,
    };
    let fits = |labels: &Path| declared_sizes(labels).is_some_and(|sizes| sizes == [count]);
    if let Some(labels) = labels_beside(file).filter(|labels| fits(labels)) {
        return Some(labels);
    }
    let mut fitting = std::fs::read_dir(file.parent()?)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && fits(path));
    let only = fitting.next()?;
    fitting.next().is_none().then_some(only)
}

/// What the IDX images of a file are, read from their header and their labels.
pub(crate) struct Probe {
    pub(crate) labels: PathBuf,
    pub(crate) shape: ImageShape,
    pub(crate) label_values: Vec<u8>,
}

/// `None` if `file` holds no IDX images with labels.
pub(crate) fn probe(file: &Path, limits: &Limits) -> Option<Probe> {
    let labels = labels_of(file)?;
    let &[_, height, width] = &declared_sizes(file)?[..] else {
        return None;
    };
    let bytes = input::read(&labels, limits.file_bytes).ok()?;
    Some(Probe {
        shape: ImageShape::new(height, width, 1),
        label_values: parse(&bytes, "labels", limits).ok()?.bytes,
        labels,
    })
}

/// The file named like `file` with "labels" for "images".
fn labels_beside(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    if !name.contains("images") {
        return None;
    }
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let beside = file.with_file_name(labels);
    if beside.is_file() {
        return Some(beside);
    }
    let other = match beside.to_str()?.strip_suffix(".gz") {
        Some(plain) => PathBuf::from(plain),
        None => PathBuf::from(format!("{}.gz", beside.display())),
    };
    other.is_file().then_some(other)
}

/// Reads `train-…` or `t10k-…` images and labels from `folder`, gzip or not.
///
/// # Errors
/// [`Error::NotFound`], and those of [`read`].
pub fn read_pair(
    folder: &Path,
    name: &str,
    part: Part,
    limits: &Limits,
) -> Result<ImageSet, Error> {
    for ending in [
        "-images-idx3-ubyte",
        "-images-idx3-ubyte.gz",
        "-images.idx3-ubyte",
        "-images.idx3-ubyte.gz",
    ] {
        let images = folder.join(format!("{}{ending}", stem(part)));
        if let Some(labels) = images.is_file().then(|| labels_beside(&images)).flatten() {
            return read_files(&images, &labels, name, part, limits);
        }
    }
    Err(Error::NotFound {
        name: name.to_string(),
        part: part.name(),
        path: folder.to_path_buf(),
        remedy: format!(
            "put {0}-images-idx3-ubyte[.gz] and {0}-labels-idx1-ubyte[.gz] there",
            stem(part)
        ),
    })
}

pub(crate) fn read_files(
    images: &Path,
    labels: &Path,
    name: &str,
    part: Part,
    limits: &Limits,
) -> Result<ImageSet, Error> {
    let array = |path: &Path| {
        let bytes = input::read(path, limits.file_bytes)?;
        parse(&bytes, &path.display().to_string(), limits)
    };
    assemble(array(images)?, array(labels)?, name, part)
}
