//! Folders of PNG and JPEG images, by class or flat, and zip or tar archives of such folders.
//!
//! Every folder that directly holds images is a class, named by its path; images without such a folder give
//! an unlabelled set. Files are taken in the order of their names; hidden ones (`.ipynb_checkpoints`, `__MACOSX`) are not.
//! Images are turned as their EXIF orientation says.
//!
//! A set in parts (folders `train`, `validation` or `val`, and `test`, as the hub serves them) gives the part asked for:
//! `test` is that folder, or without it the validation part. Tiny ImageNet's `train/<class>/images` and `val/images`
//! with `val_annotations.txt` are recognised, and the split of the Describable Textures in `labels/test1.txt`: its
//! images are the test part, all others the training part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Limits, archive, decode, foreign, parts};
use crate::walk::{below_folder, files_below, is_hidden};
use crate::{Error, Fit, ImageSet, ImageShape, Part, input};

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

/// A file by its path below the folder or in the archive, with `/` between the steps.
struct Member {
    name: String,
    bytes: Vec<u8>,
}

pub(crate) fn is_image(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".png", ".jpg", ".jpeg"].iter().any(|e| lower.ends_with(e))
}

const ANNOTATIONS: &str = "val_annotations.txt";
const TEXTURE_TESTS: &str = "labels/test1.txt";

fn is_list(name: &str) -> bool {
    name.ends_with(ANNOTATIONS) || name.ends_with(TEXTURE_TESTS)
}

fn is_wanted(name: &str) -> bool {
    (is_image(name) || is_list(name)) && !name.split('/').any(|step| is_hidden(step.as_ref()))
}

/// Reads a folder or an archive of images.
///
/// # Errors
/// [`Error::Inconsistent`] when there is no image or sizes differ with no `shape` given; [`Error::Image`] naming the
/// image's path; [`Error::TooLarge`]; [`Error::Io`]; those of [`archive::for_each_member`].
pub fn read(path: &Path, name: &str, part: Part, options: &Options) -> Result<ImageSet, Error> {
    let mut other_names = Vec::new();
    let mut members = if path.is_dir() {
        members_of_folder(path, &options.limits, &mut other_names)?
    } else {
        members_of_archive(path, &options.limits, &mut other_names)?
    };
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let (lists, mut images): (Vec<Member>, Vec<Member>) = members
        .into_iter()
        .partition(|member| is_list(&member.name));
    let annotated = annotated_classes(&lists);
    keep_part(&mut images, &lists, &annotated, part);
    let origin = path.display().to_string();
    if images.is_empty() {
        let names = other_names.iter().map(String::as_str);
        return Err(match foreign::of_names(names) {
            Some(what) => Error::unsupported(origin, what),
            None => Error::inconsistent(
                name,
                format!(
                    "{origin} holds no PNG or JPEG image for the {} part",
                    part.name()
                ),
            ),
        });
    }
    let encoded: Vec<&[u8]> = images.iter().map(|image| &image.bytes[..]).collect();
    let (shape, pixels) = decode::Decoding {
        origin: &origin,
        name_of: &|index| images[index].name.clone(),
        wanted: options.shape,
        fit: options.fit,
        limits: &options.limits,
    }
    .all(&encoded)?;
    let (labels, classes) = labels_by_folder(&images, &annotated);
    ImageSet::new(name, part, shape, pixels, labels, classes)
}

/// The folder or archive of images that `file` shows to be there: by the file `marker` at its place below the folder, or
/// as an archive that begins with `root` or has the marker.
pub(crate) fn probe(file: &Path, marker: &str, root: &str, limits: &Limits) -> Option<PathBuf> {
    if file.ends_with(marker) {
        let above = Path::new(marker).iter().count();
        return file.ancestors().nth(above).map(Path::to_path_buf);
    }
    let in_archive = archive::first_names(file, limits)
        .iter()
        .any(|name| name.starts_with(root) || format!("/{name}").ends_with(&format!("/{marker}")));
    in_archive.then(|| file.to_path_buf())
}

/// Whether the images come in a training and a test part: in folders of these names, or by a list that is followed.
pub(crate) fn is_in_parts(path: &Path, limits: &Limits) -> Result<bool, Error> {
    let mut names = Vec::new();
    if path.is_dir() {
        names.extend(
            files_below(path)?
                .iter()
                .map(|file| below_folder(file, path)),
        );
    } else {
        let mut note = |name: &str| {
            names.push(name.to_string());
            false
        };
        archive::for_each_member(path, limits, &mut note, |_, _| Ok(true))?;
    }
    names.retain(|name| is_wanted(name));
    let images: Vec<&str> = names
        .iter()
        .filter(|name| is_image(name))
        .map(String::as_str)
        .collect();
    Ok(images.len() < names.len() || parts::of_folders(&images, Part::Test).is_some())
}

fn members_of_folder(
    folder: &Path,
    limits: &Limits,
    other_names: &mut Vec<String>,
) -> Result<Vec<Member>, Error> {
    let mut budget = limits.set_bytes;
    let mut members = Vec::new();
    for path in files_below(folder)? {
        let name = below_folder(&path, folder);
        if is_wanted(&name) {
            let bytes = input::read(&path, limits.file_bytes.min(budget))?;
            budget -= bytes.len() as u64;
            members.push(Member { name, bytes });
        } else {
            other_names.push(name);
        }
    }
    Ok(members)
}

fn members_of_archive(
    path: &Path,
    limits: &Limits,
    other_names: &mut Vec<String>,
) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    let wanted = |name: &str| {
        let wanted = is_wanted(name);
        if !wanted {
            other_names.push(name.to_string());
        }
        wanted
    };
    archive::for_each_member(path, limits, wanted, |name, bytes| {
        members.push(Member {
            name: name.to_string(),
            bytes,
        });
        Ok(true)
    })?;
    Ok(members)
}

/// Tiny ImageNet's classes of validation images, by path.
fn annotated_classes(lists: &[Member]) -> BTreeMap<String, String> {
    let of_list = |list: &Member| -> Option<Vec<(String, String)>> {
        let folder = list.name.strip_suffix(ANNOTATIONS)?;
        let text = String::from_utf8_lossy(&list.bytes);
        let lines = text.lines().filter_map(|line| {
            let mut columns = line.split('\t');
            let (image, class) = (columns.next()?, columns.next()?);
            Some((format!("{folder}images/{image}"), class.trim().to_string()))
        });
        Some(lines.collect())
    };
    lists.iter().filter_map(of_list).flatten().collect()
}

/// Leaves the images of one part.
fn keep_part(
    images: &mut Vec<Member>,
    lists: &[Member],
    annotated: &BTreeMap<String, String>,
    part: Part,
) {
    if !annotated.is_empty() {
        // A whole Tiny ImageNet: its validation part is the one with published labels for testing.
        images.retain(|image| match part {
            Part::Test => annotated.contains_key(&image.name),
            Part::Train => format!("/{}", image.name).contains("/train/"),
        });
    }
    let mut split_by_list = false;
    for list in lists {
        if let Some(root) = list.name.strip_suffix(TEXTURE_TESTS) {
            split_by_list = true;
            let text = String::from_utf8_lossy(&list.bytes);
            let tests: BTreeSet<String> = text
                .lines()
                .map(|line| format!("{root}images/{}", line.trim()))
                .collect();
            images.retain(|image| tests.contains(&image.name) == (part == Part::Test));
        }
    }
    if annotated.is_empty() && !split_by_list {
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        if let Some(kept) = parts::of_folders(&names, part) {
            let mut kept = kept.into_iter();
            images.retain(|_| kept.next().unwrap_or(false));
        }
    }
}

/// A label for each image and the classes by name; none when no image lies in a folder.
fn labels_by_folder(
    images: &[Member],
    annotated: &BTreeMap<String, String>,
) -> (Option<Vec<usize>>, Vec<String>) {
    let class_of = |image: &Member| -> String {
        if let Some(class) = annotated.get(&image.name) {
            return class.clone();
        }
        let folder = image.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        folder.strip_suffix("/images").unwrap_or(folder).to_string()
    };
    let of_images: Vec<String> = images.iter().map(class_of).collect();
    let mut classes = of_images.clone();
    classes.sort();
    classes.dedup();
    if classes.iter().all(String::is_empty) {
        return (None, Vec::new());
    }
    let labels = of_images
        .iter()
        .map(|class| classes.binary_search(class).unwrap_or_default())
        .collect();
    let shared = shared_folder(&classes);
    let classes = classes.iter().map(|c| c[shared..].to_string()).collect();
    (Some(labels), classes)
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
