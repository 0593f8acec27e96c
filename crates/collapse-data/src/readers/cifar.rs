//! CIFAR-10 and CIFAR-100 in their binary version: records of one (CIFAR-100: two) label bytes and 3,072
//! bytes of pixels, the red, green and blue planes of 32×32, row by row.

use std::path::{Path, PathBuf};

use super::{Limits, archive};
use crate::{Error, ImageSet, ImageShape, Part, input};

const FORMAT: &str = "CIFAR binary";
const PLANE: usize = 1024;

/// Which of the two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Ten classes, one label byte.
    Cifar10,
    /// A hundred classes: the coarse label comes first and is skipped.
    Cifar100,
}

impl Variant {
    /// Name in the registry.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    const fn n_classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    const fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }

    /// Order of a file of this name within its part, or `None` if it is not one of the set's files.
    fn order(self, file: &str, part: Part) -> Option<u32> {
        let file = file.rsplit('/').next()?;
        match (self, part) {
            (Self::Cifar10, Part::Train) => file
                .strip_prefix("data_batch_")?
                .strip_suffix(".bin")?
                .parse()
                .ok()
                .filter(|n| (1..=5).contains(n)),
            (Self::Cifar10, Part::Test) => (file == "test_batch.bin").then_some(0),
            (Self::Cifar100, Part::Train) => (file == "train.bin").then_some(0),
            (Self::Cifar100, Part::Test) => (file == "test.bin").then_some(0),
        }
    }

    /// Whether an archive with this member is the set's.
    fn is_member(self, name: &str) -> bool {
        let folder = match self {
            Self::Cifar10 => "cifar-10-batches-bin",
            Self::Cifar100 => "cifar-100-binary",
        };
        name.split('/').any(|step| step == folder)
            || (self == Self::Cifar10 && self.order(name, Part::Train).is_some())
    }

    fn n_files(self, part: Part) -> usize {
        if self == Self::Cifar10 && part == Part::Train {
            5
        } else {
            1
        }
    }
}

/// The unpacked files of a part in `folder`, in order; empty unless all are there.
pub(crate) fn unpacked(folder: &Path, variant: Variant, part: Part) -> Vec<PathBuf> {
    let record = (variant.label_bytes() + 3 * PLANE) as u64;
    let mut files: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let order = variant.order(entry.file_name().to_str()?, part)?;
            let length = entry.metadata().ok()?.len();
            (length > 0 && length.is_multiple_of(record)).then(|| (order, entry.path()))
        })
        .collect();
    files.sort();
    if files.len() != variant.n_files(part) {
        return Vec::new();
    }
    files.into_iter().map(|(_, file)| file).collect()
}

/// The archive or folder that holds a part of the set, if `file` is it or one of its files.
pub(crate) fn probe(file: &Path, variant: Variant, part: Part, limits: &Limits) -> Option<PathBuf> {
    let in_archive = archive::first_names(file, limits)
        .iter()
        .any(|name| variant.is_member(name));
    if in_archive {
        return Some(file.to_path_buf());
    }
    let folder = file.parent()?;
    let is_one = unpacked(folder, variant, part).iter().any(|f| f == file);
    is_one.then(|| folder.to_path_buf())
}

/// Decodes records into a set whose classes are numbers; planes become interleaved pixels, upright.
///
/// # Errors
/// [`Error::Format`] for a partial record or a label without a class.
pub fn read(records: &[u8], variant: Variant, part: Part) -> Result<ImageSet, Error> {
    read_from(records, variant, part, variant.name())
}

fn read_from(
    records: &[u8],
    variant: Variant,
    part: Part,
    origin: &str,
) -> Result<ImageSet, Error> {
    let label_bytes = variant.label_bytes();
    let record = label_bytes + 3 * PLANE;
    if records.is_empty() || !records.len().is_multiple_of(record) {
        return Err(Error::format(
            origin,
            FORMAT,
            format!(
                "{} bytes are no whole number of {record}-byte records",
                records.len()
            ),
        ));
    }
    let mut pixels = Vec::with_capacity(records.len());
    let mut labels = Vec::with_capacity(records.len() / record);
    for bytes in records.chunks_exact(record) {
        labels.push(usize::from(bytes[label_bytes - 1]));
        let (red, rest) = bytes[label_bytes..].split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        for i in 0..PLANE {
            pixels.extend_from_slice(&[red[i], green[i], blue[i]]);
        }
    }
    if let Some(label) = labels.iter().find(|&&l| l >= variant.n_classes()) {
        return Err(Error::format(
            origin,
            FORMAT,
            format!("label {label} names no class"),
        ));
    }
    ImageSet::new(
        variant.name(),
        part,
        ImageShape::new(32, 32, 3),
        pixels,
        Some(labels),
        (0..variant.n_classes())
            .map(|class| class.to_string())
            .collect(),
    )
}

/// Reads a part from the archive (`cifar-10-binary.tar.gz`) or from the folder of unpacked files;
/// `Ok(None)` when its files are not there.
///
/// # Errors
/// Those of [`read`] and [`archive::for_each_member`]; [`Error::Inconsistent`] when a batch is missing.
pub fn read_path(
    path: &Path,
    variant: Variant,
    part: Part,
    limits: &Limits,
) -> Result<Option<ImageSet>, Error> {
    let mut files: Vec<(u32, Vec<u8>)> = Vec::new();
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("read", path))?;
            if let Some(order) = entry
                .file_name()
                .to_str()
                .and_then(|n| variant.order(n, part))
            {
                let file = entry.path();
                files.push((order, input::read(&file, limits.file_bytes)?));
            }
        }
    } else {
        archive::for_each_member(
            path,
            limits,
            |name| variant.order(name, part).is_some(),
            |name, bytes| {
                files.push((variant.order(name, part).unwrap_or_default(), bytes));
                Ok(true)
            },
        )?;
    }
    if files.is_empty() {
        return Ok(None);
    }
    files.sort_by_key(|(order, _)| *order);
    if files.len() != variant.n_files(part) || files.windows(2).any(|w| w[0].0 == w[1].0) {
        return Err(Error::inconsistent(
            variant.name(),
            format!(
                "{} holds {} batch files of the {} part, not {}",
                path.display(),
                files.len(),
                part.name(),
                variant.n_files(part)
            ),
        ));
    }
    let records = files
        .into_iter()
        .flat_map(|(_, bytes)| bytes)
        .collect::<Vec<u8>>();
    read_from(&records, variant, part, &path.display().to_string()).map(Some)
}
