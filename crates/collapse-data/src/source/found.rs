//! Image sets on disk: recognised by what files hold, listed, decoded.

use std::path::{Path, PathBuf};

use super::options::LoadOptions;
use crate::readers::{Limits, archive, cifar, decode, folder, foreign, idx, mat, parquet, parts};
use crate::registry::{self, Fingerprint, Layout, SetInfo, identify};
use crate::walk::{below_folder, files_below};
use crate::{Error, ImageSet, Part, input};

const PARQUET: &[u8] = b"PAR1";
/// Enough of a file to see what it is.
const START: u64 = 512;

/// Where a set is and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Parquet(Vec<PathBuf>),
    Cifar(PathBuf, cifar::Variant),
    Mat(PathBuf),
    Idx(PathBuf, PathBuf),
    Images(PathBuf),
}

impl Found {
    /// A user's own set at a path, by what is there.
    pub(super) fn at(path: &Path, part: Part, limits: &Limits) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
        if metadata.is_dir() {
            let (mut shards, names) = shards_in(path)?;
            if let Some(kept) = parts::of_shards(&names, part) {
                let mut kept = kept.into_iter();
                shards.retain(|_| kept.next().unwrap_or(false));
            }
            return Ok(if shards.is_empty() {
                Self::Images(path.to_path_buf())
            } else {
                Self::Parquet(shards)
            });
        }
        let here = || path.to_path_buf();
        let start = input::start(path, START);
        if start.starts_with(PARQUET) {
            return Ok(Self::Parquet(vec![here()]));
        }
        if mat::is_mat(&start) {
            return Ok(Self::Mat(here()));
        }
        if let Some(labels) = idx::labels_of(path) {
            return Ok(Self::Idx(here(), labels));
        }
        let packed_records = [cifar::Variant::Cifar10, cifar::Variant::Cifar100]
            .into_iter()
            .find(|&variant| cifar::probe(path, variant, part, limits).as_deref() == Some(path));
        Ok(match packed_records {
            Some(variant) => Self::Cifar(here(), variant),
            None => Self::Images(here()),
        })
    }

    /// A set of the registry anywhere below `folder`, by what the files hold: shape of the first image,
    /// histogram of the labels, names inside archives. The first match in the order of paths counts.
    pub(super) fn below(
        folder: &Path,
        info: &SetInfo,
        part: Part,
        limits: &Limits,
    ) -> Result<Option<Self>, Error> {
        let mut files = files_below(folder)?;
        // Images are no containers, and there may be very many.
        files.retain(|file| !folder::is_image(&file.to_string_lossy()));
        let mut shards = Vec::new();
        for file in &files {
            if !input::start(file, START).starts_with(PARQUET) {
                continue;
            }
            // A damaged stranger in the folder must not stop the search; the set asked for is read in full later.
            match probe_parquet(file, limits) {
                Ok(Some((found, of))) if (found.name, of) == (info.name, part) => {
                    return Ok(Some(Self::Parquet(vec![file.clone()])));
                }
                Ok(None) if is_shard_of(file, info.name, part) => shards.push(file.clone()),
                Err(error) if is_shard_of(file, info.name, part) => return Err(error),
                _ => {}
            }
        }
        if !shards.is_empty() {
            return Ok(Some(Self::Parquet(shards)));
        }
        Ok(files
            .iter()
            .find_map(|file| Self::as_published(file, info, part, limits)))
    }

    /// A set as its authors store it, if `file` is it or a part of it.
    fn as_published(file: &Path, info: &SetInfo, part: Part, limits: &Limits) -> Option<Self> {
        match info.layout {
            Layout::Cifar(variant) => {
                let place = cifar::probe(file, variant, part, limits)?;
                Some(Self::Cifar(place, variant))
            }
            Layout::Mat => {
                let is_mat = mat::is_mat(&input::start(file, START));
                // Where there are more, as in SVHN's extra images, no part holds them.
                let holds = info.part_holding(is_mat.then(|| mat::n_images(file))??);
                (holds == Some(part)).then(|| Self::Mat(file.to_path_buf()))
            }
            Layout::Idx => {
                let probe = idx::probe(file, limits)?;
                let counts = counts_of(probe.label_values.iter().map(|&label| i64::from(label)))?;
                let (found, of) = identify(&counts, probe.shape)?;
                ((found.name, of) == (info.name, part))
                    .then(|| Self::Idx(file.to_path_buf(), probe.labels))
            }
            Layout::Images { marker, root } => {
                folder::probe(file, marker, root, limits).map(Self::Images)
            }
        }
    }

    /// The files it is read from; a folder of images stands for its files.
    pub(super) fn files(&self, part: Part) -> Vec<PathBuf> {
        match self {
            Self::Parquet(files) => files.clone(),
            Self::Cifar(folder, variant) if folder.is_dir() => {
                cifar::unpacked(folder, *variant, part)
            }
            Self::Cifar(file, _) | Self::Mat(file) | Self::Images(file) => vec![file.clone()],
            Self::Idx(images, labels) => vec![images.clone(), labels.clone()],
        }
    }

    pub(super) fn decode(
        &self,
        name: &str,
        part: Part,
        options: &LoadOptions,
    ) -> Result<ImageSet, Error> {
        let LoadOptions {
            shape, fit, limits, ..
        } = options;
        let set = match self {
            Self::Parquet(files) => return decode_shards(files, name, part, options),
            Self::Images(path) => {
                let options = folder::Options {
                    shape: *shape,
                    fit: *fit,
                    limits: *limits,
                };
                return folder::read(path, name, part, &options);
            }
            Self::Cifar(path, variant) => cifar::read_path(path, *variant, part, limits)?
                .ok_or_else(|| Error::NotFound {
                    name: name.to_string(),
                    part: part.name(),
                    path: path.clone(),
                    remedy: "the archive lacks this part".to_string(),
                })?
                .renamed(name),
            Self::Mat(path) => {
                let bytes = input::read(path, limits.file_bytes)?;
                mat::read(&bytes, name, part, &path.display().to_string(), limits)?
            }
            Self::Idx(images, labels) => idx::read_files(images, labels, name, part, limits)?,
        };
        let set = registry::with_published_classes(set);
        match shape {
            Some(shape) => set.converted(*shape, *fit),
            None => Ok(set),
        }
    }
}

fn decode_shards(
    files: &[PathBuf],
    name: &str,
    part: Part,
    options: &LoadOptions,
) -> Result<ImageSet, Error> {
    let published = registry::find(name).ok().map(|info| info.label_column);
    let mut sets = Vec::with_capacity(files.len());
    for file in files {
        let label_column = match published {
            Some(column) if parquet::File::open(file)?.has_integer_column(column) => {
                Some(column.to_string())
            }
            _ => None,
        };
        let options = parquet::Options {
            label_column,
            shape: options.shape,
            fit: options.fit,
            limits: options.limits,
        };
        sets.push(parquet::read_file(file, name, part, &options)?);
    }
    Ok(registry::with_published_classes(ImageSet::concatenated(
        sets,
    )?))
}

/// The parquet files in a folder, and their paths below it.
fn shards_in(folder: &Path) -> Result<(Vec<PathBuf>, Vec<String>), Error> {
    let mut shards = files_below(folder)?;
    shards.retain(|file| input::start(file, START).starts_with(PARQUET));
    let name = |shard: &PathBuf| below_folder(shard, folder);
    let names = shards.iter().map(name).collect();
    Ok((shards, names))
}

/// Whether what is at `path` comes in a training and a test part, by the names of its files.
pub(super) fn is_in_parts(path: &Path, limits: &Limits) -> Result<bool, Error> {
    if path.is_dir() {
        let (shards, names) = shards_in(path)?;
        if !shards.is_empty() {
            return Ok(parts::of_shards(&names, Part::Test).is_some());
        }
    }
    match Found::at(path, Part::Test, limits)? {
        Found::Cifar(..) => Ok(true),
        Found::Images(path) => folder::is_in_parts(&path, limits),
        Found::Parquet(_) | Found::Mat(_) | Found::Idx(..) => Ok(false),
    }
}

/// The set and part a parquet file holds, if recognised.
fn probe_parquet(path: &Path, limits: &Limits) -> Result<Option<(&'static SetInfo, Part)>, Error> {
    const FINE: &str = "fine_label";
    let file = parquet::File::open(path)?;
    let column = file.has_integer_column(FINE).then_some(FINE);
    let Some((_, labels)) = file.labels(column)? else {
        return Ok(None);
    };
    let Some(counts) = counts_of(labels.into_iter()) else {
        return Ok(None);
    };
    let first = file.first_image()?;
    let Some(shape) = first
        .and_then(|bytes| decode::decode(&bytes, limits).ok())
        .map(|decoded| decoded.shape)
    else {
        return Ok(None);
    };
    let by_path = || {
        let named = |info: &&SetInfo| match info.fingerprint {
            Fingerprint::Path(words) => words.iter().any(|word| path_names(path, word)),
            _ => false,
        };
        let info = registry::list().iter().find(named)?;
        (shape.channels == 3).then_some((info, Part::Test))
    };
    Ok(identify(&counts, shape).or_else(by_path))
}

/// Images of each class; `None` for labels that no set of the registry has.
fn counts_of(labels: impl Iterator<Item = i64>) -> Option<Vec<usize>> {
    const MOST_CLASSES: usize = 1000;
    let mut counts = Vec::new();
    for label in labels {
        let label = usize::try_from(label).ok().filter(|&l| l < MOST_CLASSES)?;
        if counts.len() <= label {
            counts.resize(label + 1, 0);
        }
        counts[label] += 1;
    }
    Some(counts)
}

fn path_names(path: &Path, name: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    plain(&path.to_string_lossy()).contains(&plain(name))
}

/// Whether a file is, by its path, a shard (`…-00000-of-00002`) of the part.
fn is_shard_of(path: &Path, name: &str, part: Part) -> bool {
    let file = path
        .file_name()
        .map(|n| n.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    let of_part = match part {
        Part::Train => file.starts_with("train"),
        Part::Test => file.starts_with("test") || file.starts_with("val"),
    };
    of_part && path_names(path, name)
}

/// A file below `folder` that is the set in a form that is not read, and what it is.
pub(super) fn unreadable(folder: &Path, info: &SetInfo, limits: &Limits) -> Option<String> {
    let what = |file: &PathBuf| {
        let start = input::start(file, START);
        match info.layout {
            Layout::Mat if start.starts_with(b"MATLAB") => foreign::of_start(&start),
            Layout::Cifar(_) => {
                let path = file.to_string_lossy();
                let packed = archive::first_names(file, limits);
                let names = packed.iter().map(String::as_str);
                foreign::of_names(names.chain([&*path]))
            }
            _ => None,
        }
    };
    let files = files_below(folder).ok()?;
    let (file, what) = files.iter().find_map(|file| Some((file, what(file)?)))?;
    Some(format!("{} is there, but {what}", file.display()))
}
