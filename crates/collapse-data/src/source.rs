//! Finding sets in a folder by what files hold, and loading them.

use std::path::{Path, PathBuf};

use crate::readers::{Limits, archive, cifar, decode, folder, idx, mat, parquet};
use crate::{Cache, Error, Fit, ImageSet, ImageShape, Part, map, registry};

/// What to make of a set while loading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Shape to bring every image to; by default the set's own.
    pub shape: Option<ImageShape>,
    /// How images reach `shape`.
    pub fit: Fit,
    /// Where decoded sets are kept; `None` decodes anew.
    pub cache: Option<Cache>,
    /// What a file may ask for.
    pub limits: Limits,
}

/// Where a set was found and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Parquet(Vec<PathBuf>),
    Cifar(PathBuf, cifar::Variant),
    Mat(PathBuf),
    Idx(PathBuf, PathBuf),
    Images(PathBuf),
}

/// Loads a set: a name of the registry, looked for in `data_dir`, or else the path of a folder or file.
///
/// Without `data_dir`, the cache of the Hugging Face hub is searched (see [`hub_cache`]). A set whose published
/// images differ in size comes in the registry's shape unless `options` name one.
///
/// # Errors
/// [`Error::UnknownSet`], [`Error::NotFound`], and those of the readers.
pub fn load(
    name_or_path: &str,
    part: Part,
    data_dir: Option<&Path>,
    options: &LoadOptions,
) -> Result<ImageSet, Error> {
    let path = Path::new(name_or_path);
    let known = registry::find(name_or_path);
    if known.is_ok() || !path.exists() {
        let info = known?;
        let source = find(info, part, data_dir, &options.limits)?;
        let mut options = options.clone();
        if info.mixed_sizes {
            options.shape.get_or_insert(info.shape);
        }
        return read(&source, info.name, part, &options);
    }
    let name = path.file_stem().map_or_else(
        || name_or_path.to_string(),
        |s| s.to_string_lossy().into_owned(),
    );
    load_path(path, &name, part, options)
}

/// The files that [`load`] would read for a set of the registry; a folder of images counts as one.
///
/// # Errors
/// [`Error::UnknownSet`], [`Error::NotFound`].
pub fn locate_files(
    name: &str,
    part: Part,
    data_dir: Option<&Path>,
) -> Result<Vec<PathBuf>, Error> {
    let info = registry::find(name)?;
    let source = find(info, part, data_dir, &Limits::default())?;
    Ok(source.files(part))
}

fn find(
    info: &registry::SetInfo,
    part: Part,
    data_dir: Option<&Path>,
    limits: &Limits,
) -> Result<Source, Error> {
    let searched: Vec<PathBuf> = match data_dir {
        Some(dir) => vec![dir.to_path_buf()],
        None => hub_folders(info.repository)?,
    };
    for dir in &searched {
        if let Some(source) = locate(info.name, part, dir, limits)? {
            return Ok(source);
        }
    }
    Err(Error::NotFound {
        name: info.name.to_string(),
        part: part.name(),
        path: data_dir
            .map(Path::to_path_buf)
            .or_else(hub_cache)
            .unwrap_or_default(),
        remedy: format!(
            "fetch it with `cargo xtask data fetch {}` or pass the folder that has it",
            info.name
        ),
    })
}

/// Loads a user's own set under a name of their choice: a folder or archive of images, a parquet file or a
/// folder of parquet files, a SVHN `.mat`.
///
/// # Errors
/// Those of the readers; [`Error::Io`] when the path does not exist.
pub fn load_path(
    path: &Path,
    name: &str,
    part: Part,
    options: &LoadOptions,
) -> Result<ImageSet, Error> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
    let source = if metadata.is_dir() {
        let mut files = Vec::new();
        walk(path, 0, &mut files)?;
        let shards: Vec<PathBuf> = files
            .into_iter()
            .filter(|f| starts_with(f, b"PAR1"))
            .collect();
        if shards.is_empty() {
            Source::Images(path.to_path_buf())
        } else {
            Source::Parquet(shards)
        }
    } else if starts_with(path, b"PAR1") {
        Source::Parquet(vec![path.to_path_buf()])
    } else if starts_with(path, b"MATLAB 5.0") {
        Source::Mat(path.to_path_buf())
    } else if let Some(labels) = idx::labels_of(path) {
        Source::Idx(path.to_path_buf(), labels)
    } else {
        Source::Images(path.to_path_buf())
    };
    read(&source, name, part, options)
}

/// Where the Hugging Face libraries keep what they fetched: `$HF_HUB_CACHE`, `$HUGGINGFACE_HUB_CACHE`,
/// `$HF_HOME/hub`, `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`, the first whose variable is set.
#[must_use]
pub fn hub_cache() -> Option<PathBuf> {
    hub_cache_by(|name| std::env::var_os(name))
}

fn hub_cache_by(get: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let set = |name: &str| get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| set("HF_HOME").map(|d| d.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/huggingface/hub")))
}

/// Folders of data sets in the hub's cache, that of `repository` first. Models stay unread: they are large.
fn hub_folders(repository: &str) -> Result<Vec<PathBuf>, Error> {
    let Some(cache) = hub_cache().filter(|c| c.is_dir()) else {
        return Ok(Vec::new());
    };
    let own = format!("datasets--{}", repository.replace('/', "--"));
    let mut folders = std::fs::read_dir(&cache)
        .map_err(Error::io("read", &cache))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::io("read", &cache))?;
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    folders.retain(|f| name(f).is_some_and(|n| n.starts_with("datasets--")));
    folders.sort_by_key(|f| (name(f).as_deref() != Some(own.as_str()), f.clone()));
    Ok(folders)
}

impl Source {
    /// The files it is read from; a folder of images stands for its files.
    fn files(&self, part: Part) -> Vec<PathBuf> {
        match self {
            Self::Parquet(files) => files.clone(),
            Self::Cifar(folder, variant) if folder.is_dir() => {
                cifar::unpacked(folder, *variant, part)
            }
            Self::Cifar(file, _) | Self::Mat(file) | Self::Images(file) => vec![file.clone()],
            Self::Idx(images, labels) => vec![images.clone(), labels.clone()],
        }
    }
}

fn read(source: &Source, name: &str, part: Part, options: &LoadOptions) -> Result<ImageSet, Error> {
    let files = source.files(part);
    let cache = options
        .cache
        .as_ref()
        .filter(|_| !files.is_empty() && files.iter().all(|file| file.is_file()));
    let Some(cache) = cache else {
        return decode_source(source, name, part, options);
    };
    let shape = options.shape.map_or_else(String::new, |s| {
        format!("-{}x{}x{}-{:?}", s.height, s.width, s.channels, options.fit)
    });
    let plain_name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    cache
        .get_or_decode(
            &files,
            &format!("{plain_name}-{}{shape}", part.name()),
            || decode_source(source, name, part, options),
        )
        .map(|set| set.renamed(name))
}

fn decode_source(
    source: &Source,
    name: &str,
    part: Part,
    options: &LoadOptions,
) -> Result<ImageSet, Error> {
    let LoadOptions {
        shape, fit, limits, ..
    } = options;
    let set = match source {
        Source::Parquet(files) => {
            let label_column = registry::find(name)
                .ok()
                .map(|i| i.label_column.to_string());
            let mut sets = Vec::with_capacity(files.len());
            for file in files {
                let wanted = match &label_column {
                    Some(column) if parquet_has(file, column)? => Some(column.clone()),
                    _ => None,
                };
                let options = parquet::Options {
                    label_column: wanted,
                    shape: *shape,
                    fit: *fit,
                    limits: *limits,
                };
                sets.push(parquet::read_file(file, name, part, &options)?);
            }
            return ImageSet::concatenated(sets);
        }
        Source::Cifar(path, variant) => cifar::read_path(path, *variant, part, limits)?
            .ok_or_else(|| Error::NotFound {
                name: name.to_string(),
                part: part.name(),
                path: path.clone(),
                remedy: "the archive lacks this part".to_string(),
            })?,
        Source::Mat(path) => mat::read(&map::open(path)?, name, part, limits)?,
        Source::Idx(images, labels) => idx::read_files(images, labels, name, part, limits)?,
        Source::Images(path) => {
            return folder::read(
                path,
                name,
                part,
                &folder::Options {
                    shape: *shape,
                    fit: *fit,
                    limits: *limits,
                },
            );
        }
    };
    match shape {
        Some(shape) => set.converted(*shape, *fit),
        None => Ok(set),
    }
}

fn parquet_has(file: &Path, column: &str) -> Result<bool, Error> {
    let map = map::open(file)?;
    Ok(parquet::File::open(&map, &file.display().to_string())?.has_integer_column(column))
}

/// Finds a set of the registry anywhere below `dir` by what the files hold: shape of the first image,
/// histogram of the labels, names inside archives. The first match in the order of paths counts.
fn locate(name: &str, part: Part, dir: &Path, limits: &Limits) -> Result<Option<Source>, Error> {
    let mut files = Vec::new();
    walk(dir, 0, &mut files)?;
    let mut shards = Vec::new();
    for file in &files {
        if starts_with(file, b"PAR1") {
            // A damaged stranger in the folder must not stop the search; the set asked for is read in full later.
            match probe_parquet(file, limits) {
                Ok(Some(found)) if found == (name, part) => {
                    return Ok(Some(Source::Parquet(vec![file.clone()])));
                }
                Ok(None) if is_shard_of(file, name, part) => shards.push(file.clone()),
                Err(error) if path_names(file, name) && is_shard_of(file, name, part) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }
    if !shards.is_empty() {
        return Ok(Some(Source::Parquet(shards)));
    }
    for file in &files {
        if let Some(source) = probe_other(file, name, part, limits) {
            return Ok(Some(source));
        }
    }
    Ok(None)
}

/// All files below `dir` in the order of their paths; images are skipped, for they are no containers.
fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    const MAX_FILES: usize = 20_000;
    let mut entries = std::fs::read_dir(dir)
        .map_err(Error::io("read", dir))?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::io("read", dir))?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if depth < 6 {
                walk(&path, depth + 1, files)?;
            }
        } else if path.is_file() && files.len() < MAX_FILES {
            let image = path.extension().is_some_and(|e| {
                ["png", "jpg", "jpeg", "JPEG", "JPG"]
                    .iter()
                    .any(|i| e == *i)
            });
            if !image {
                files.push(path);
            }
        }
    }
    Ok(())
}

fn first_bytes(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // A file that cannot be read is no candidate; naming it is the reader's business.
        let _ = file.take(512).read_to_end(&mut bytes);
    }
    bytes
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    first_bytes(path).starts_with(magic)
}

/// The set and part a parquet file holds, if recognised.
fn probe_parquet(path: &Path, limits: &Limits) -> Result<Option<(&'static str, Part)>, Error> {
    let map = map::open(path)?;
    let file = parquet::File::open(&map, &path.display().to_string())?;
    let Some((column, labels)) = file.labels(None)? else {
        return Ok(None);
    };
    let column_100 = if file.has_integer_column("fine_label") {
        file.labels(Some("fine_label"))?
    } else {
        None
    };
    let (_, labels) = column_100.unwrap_or((column, labels));
    let Some(shape) = file
        .first_image()?
        .and_then(|bytes| decode::decode(&bytes, limits).ok())
        .map(|d| d.shape)
    else {
        return Ok(None);
    };
    let mut counts: Vec<usize> = Vec::new();
    for label in labels {
        let Some(label) = usize::try_from(label).ok().filter(|&l| l < 1000) else {
            return Ok(None);
        };
        if counts.len() <= label {
            counts.resize(label + 1, 0);
        }
        counts[label] += 1;
    }
    Ok(identify(&counts, shape).or_else(|| {
        let textures = ["textures", "dtd"].iter().any(|n| path_names(path, n));
        (textures && shape.channels == 3).then_some(("textures", Part::Test))
    }))
}

/// Recognises a set by the number of images of each class and the first image's shape.
fn identify(counts: &[usize], shape: ImageShape) -> Option<(&'static str, Part)> {
    let balanced = counts
        .first()
        .copied()
        .filter(|first| counts.iter().all(|c| c == first));
    let total: usize = counts.iter().sum();
    Some(match (shape.height, shape.width, counts.len(), balanced) {
        (32, 32, 10, Some(5000)) => ("cifar10", Part::Train),
        (32, 32, 10, Some(1000)) => ("cifar10", Part::Test),
        (32, 32, 100, Some(500)) => ("cifar100", Part::Train),
        (32, 32, 100, Some(100)) => ("cifar100", Part::Test),
        (64, 64, 200, Some(50)) => ("tiny-imagenet", Part::Test),
        (64, 64, 200, Some(500)) => ("tiny-imagenet", Part::Train),
        (28, 28, 10, Some(6000)) => ("fashion-mnist", Part::Train),
        (28, 28, 10, Some(1000)) => ("fashion-mnist", Part::Test),
        // MNIST's commonest digit is 1, with 11.2 to 11.4 %.
        (28, 28, 10, None)
            if (10_000..=70_000).contains(&total) && counts[1] * 1000 / total >= 105 =>
        {
            (
                "mnist",
                if total > 20_000 {
                    Part::Train
                } else {
                    Part::Test
                },
            )
        }
        // SVHN's commonest digit is 1 as well, with 19 to 20 %, in each of its parts.
        (32, 32, 10, None)
            if total >= 5_000 && (170..=220).contains(&(counts[1] * 1000 / total)) =>
        {
            (
                "svhn",
                if total > 30_000 {
                    Part::Train
                } else {
                    Part::Test
                },
            )
        }
        _ => return None,
    })
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

fn probe_other(path: &Path, name: &str, part: Part, limits: &Limits) -> Option<Source> {
    let start = first_bytes(path);
    let file = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let packed = |holds: &dyn Fn(&[String]) -> bool| {
        archive::kind(&start).is_some() && holds(&archive::first_names(path, limits))
    };
    match name {
        "svhn" if mat::is_mat(&start) => {
            let count = mat::n_images(&map::open(path).ok()?)?;
            let published = registry::find(name).ok()?.n_images(part);
            // The extra images, ten times as many, are neither part.
            let nearest = if count > 2 * 73_257 {
                return None;
            } else if count > 40_000 {
                Part::Train
            } else {
                Part::Test
            };
            (nearest == part && count <= published).then(|| Source::Mat(path.to_path_buf()))
        }
        "cifar10" | "cifar100" => {
            let variant = if name == "cifar10" {
                cifar::Variant::Cifar10
            } else {
                cifar::Variant::Cifar100
            };
            if packed(&|names| cifar::is_archive_of(names, variant)) {
                return Some(Source::Cifar(path.to_path_buf(), variant));
            }
            let files = cifar::unpacked(path.parent()?, variant, part);
            files.contains(&path.to_path_buf()).then(|| {
                path.parent()
                    .map(|f| Source::Cifar(f.to_path_buf(), variant))
            })?
        }
        "tiny-imagenet" if file == "val_annotations.txt" => {
            Some(Source::Images(path.parent()?.parent()?.to_path_buf()))
        }
        "tiny-imagenet" => {
            packed(&|names| names.iter().any(|n| n.ends_with("val_annotations.txt")))
                .then(|| Source::Images(path.to_path_buf()))
        }
        "textures" if file == "test1.txt" => {
            let root = path.parent()?.parent()?;
            root.join("images")
                .is_dir()
                .then(|| Source::Images(root.to_path_buf()))
        }
        "textures" => packed(&|names| names.iter().any(|n| n.starts_with("dtd/")))
            .then(|| Source::Images(path.to_path_buf())),
        "mnist" | "fashion-mnist" => {
            let labels = idx::labels_of(path)?;
            let set = idx::read_files(path, &labels, name, part, limits).ok()?;
            (identify(&set.class_counts(), set.shape()) == Some((name, part)))
                .then(|| Source::Idx(path.to_path_buf(), labels))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_told_apart_by_shape_and_class_counts() {
        let rgb = ImageShape::new(32, 32, 3);
        assert_eq!(identify(&[5000; 10], rgb), Some(("cifar10", Part::Train)));
        assert_eq!(identify(&[100; 100], rgb), Some(("cifar100", Part::Test)));
        let svhn_test = [1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595];
        assert_eq!(identify(&svhn_test, rgb), Some(("svhn", Part::Test)));
        let svhn_train = [4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659];
        assert_eq!(identify(&svhn_train, rgb), Some(("svhn", Part::Train)));
        let mnist = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009];
        assert_eq!(
            identify(&mnist, ImageShape::new(28, 28, 1)),
            Some(("mnist", Part::Test))
        );
        assert_eq!(identify(&[120; 10], rgb), None);
    }

    #[test]
    fn the_hub_cache_is_where_hugging_face_keeps_it() {
        let with = |variables: &[(&str, &str)]| {
            hub_cache_by(|name| {
                let (_, value) = variables.iter().find(|(n, _)| *n == name)?;
                Some(value.into())
            })
        };
        assert_eq!(with(&[]), None);
        assert_eq!(
            with(&[("HOME", "/h")]),
            Some("/h/.cache/huggingface/hub".into())
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("HF_HOME", "/f"), ("XDG_CACHE_HOME", "/x")]),
            Some("/f/hub".into())
        );
        assert_eq!(
            with(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]),
            Some("/c".into())
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = load("cifar11", Part::Test, None, &LoadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("cifar10, cifar100"), "{error}");
    }
}
