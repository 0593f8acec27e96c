//! Folders of PNG and JPEG images, by class or flat, and zip or tar archives of such folders.
//!
//! Every folder that directly holds images is a class, named by its path; images without such a folder give
//! an unlabelled set. Files are taken in the order of their names. Tiny ImageNet's
//! `train/<class>/images` and `val/images` with `val_annotations.txt` are recognised, and the split of the
//! Describable Textures in `labels/test1.txt`: its images are the test part, all others the training part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Limits, archive, decode};
use crate::{Error, Fit, ImageSet, ImageShape, Part};

/// What to make of the images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Shape to bring every image to; by default all must agree in size.
    pub shape: Option<ImageShape>,
    /// How images reach `shape`.
    pub fit: Fit,
    /// What a file may ask for.
    pub limits: Limits,
}

const MAX_DEPTH: usize = 8;

fn is_image(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".png", ".jpg", ".jpeg"].iter().any(|e| lower.ends_with(e))
        && !lower.rsplit('/').next().is_some_and(|n| n.starts_with('.'))
}

const ANNOTATIONS: &str = "val_annotations.txt";
const TEXTURE_TESTS: &str = "labels/test1.txt";

fn is_list(name: &str) -> bool {
    name.ends_with(ANNOTATIONS) || name.ends_with(TEXTURE_TESTS)
}

/// Reads a folder or an archive of images.
///
/// # Errors
/// [`Error::Inconsistent`] when there is no image or sizes differ with no `shape` given; [`Error::Image`] naming the
/// position in the order of names; [`Error::Io`]; those of [`archive::for_each_member`].
pub fn read(path: &Path, name: &str, part: Part, options: &Options) -> Result<ImageSet, Error> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if path.is_dir() {
        let mut budget = options.limits.set_bytes;
        collect(path, "", 0, &options.limits, &mut budget, &mut files)?;
    } else {
        archive::for_each_member(
            path,
            &options.limits,
            |n| is_image(n) || is_list(n),
            |n, bytes| {
                files.insert(n.to_string(), bytes);
                Ok(true)
            },
        )?;
    }
    from_files(files, name, part, &path.display().to_string(), options)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    limits: &Limits,
    budget: &mut u64,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        let Some(file_name) = entry.file_name().to_str().map(str::to_string) else {
            continue;
        };
        let relative = if prefix.is_empty() {
            file_name.clone()
        } else {
            format!("{prefix}/{file_name}")
        };
        if path.is_dir() {
            collect(&path, &relative, depth + 1, limits, budget, files)?;
        } else if is_image(&file_name) || is_list(&relative) {
            let length = std::fs::metadata(&path)
                .map_err(Error::io("read", &path))?
                .len();
            if length > limits.file_bytes || length > *budget {
                return Err(Error::TooLarge {
                    origin: path.display().to_string(),
                    what: "bytes",
                    size: length,
                    limit: limits.file_bytes.min(*budget),
                });
            }
            *budget -= length;
            files.insert(
                relative,
                std::fs::read(&path).map_err(Error::io("read", &path))?,
            );
        }
    }
    Ok(())
}

fn from_files(
    mut files: BTreeMap<String, Vec<u8>>,
    name: &str,
    part: Part,
    origin: &str,
    options: &Options,
) -> Result<ImageSet, Error> {
    let lists: Vec<(String, Vec<u8>)> = files
        .iter()
        .filter(|(n, _)| is_list(n))
        .map(|(n, b)| (n.clone(), b.clone()))
        .collect();
    files.retain(|n, _| !is_list(n));
    let annotated: BTreeMap<String, String> = lists
        .iter()
        .filter(|(n, _)| n.ends_with(ANNOTATIONS))
        .flat_map(|(file, bytes)| {
            let folder = file
                .strip_suffix(ANNOTATIONS)
                .unwrap_or_default()
                .to_string();
            String::from_utf8_lossy(bytes)
                .lines()
                .filter_map(|line| {
                    let mut columns = line.split('\t');
                    Some((
                        format!("{folder}images/{}", columns.next()?),
                        columns.next()?.trim().to_string(),
                    ))
                })
                .collect::<Vec<_>>()
        })
        .collect();
    if !annotated.is_empty() {
        // A whole Tiny ImageNet: its validation part is the one with published labels for testing.
        match part {
            Part::Test => files.retain(|n, _| annotated.contains_key(n)),
            Part::Train => files.retain(|n, _| n.starts_with("train/") || n.contains("/train/")),
        }
    }
    for (file, bytes) in lists.iter().filter(|(n, _)| n.ends_with(TEXTURE_TESTS)) {
        let root = file.strip_suffix(TEXTURE_TESTS).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes);
        let tests: BTreeSet<String> = text
            .lines()
            .map(|line| format!("{root}images/{}", line.trim()))
            .collect();
        files.retain(|n, _| tests.contains(n) == (part == Part::Test));
    }
    if files.is_empty() {
        return Err(Error::inconsistent(
            name,
            format!("{origin} holds no PNG or JPEG image"),
        ));
    }
    let class_of = |file: &str| -> String {
        if let Some(class) = annotated.get(file) {
            return class.clone();
        }
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.strip_suffix("/images").unwrap_or(folder).to_string()
    };
    let class_names: Vec<String> = files.keys().map(|f| class_of(f)).collect();
    let mut classes: Vec<String> = class_names.clone();
    classes.sort();
    classes.dedup();
    let encoded: Vec<&[u8]> = files.values().map(Vec::as_slice).collect();
    let (shape, pixels) = decode::decode_all(
        &encoded,
        origin,
        options.shape,
        options.fit,
        &options.limits,
    )?;
    let labelled = classes.len() > 1 || classes.first().is_some_and(|c| !c.is_empty());
    if !labelled {
        return ImageSet::new(name, part, shape, pixels, None, Vec::new());
    }
    let labels = class_names
        .iter()
        .map(|c| classes.binary_search(c).unwrap_or_default())
        .collect();
    let shared = shared_folder(&classes);
    let classes = classes.iter().map(|c| c[shared..].to_string()).collect();
    ImageSet::new(name, part, shape, pixels, Some(labels), classes)
}

/// Length of the leading folders that all classes share.
fn shared_folder(classes: &[String]) -> usize {
    let (Some(first), Some(last)) = (classes.first(), classes.last()) else {
        return 0;
    };
    let common = first
        .bytes()
        .zip(last.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    match first.as_bytes()[..common].iter().rposition(|&b| b == b'/') {
        Some(slash) if classes.len() > 1 => slash + 1,
        _ => 0,
    }
}
