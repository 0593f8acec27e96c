//! Loading a set by name or path.

use std::path::{Path, PathBuf};

use super::found::{Found, unreadable};
use super::hub::{self, hub_cache};
use super::options::LoadOptions;
use crate::readers::Limits;
use crate::{Error, ImageSet, Part, registry};

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
        let found = find(info, part, data_dir, &options.limits)?;
        let mut options = options.clone();
        if info.mixed_sizes {
            options.shape.get_or_insert(info.shape);
        }
        return read(&found, info.name, part, &options);
    }
    load_path(path, &set_name(name_or_path), part, options)
}

/// The name of the set that [`load`] gives: itself for one of the registry, else the file's or folder's without ending.
pub(crate) fn set_name(name_or_path: &str) -> String {
    let path = Path::new(name_or_path);
    match path.file_stem() {
        Some(stem) if registry::find(name_or_path).is_err() && path.exists() => {
            stem.to_string_lossy().into_owned()
        }
        _ => name_or_path.to_string(),
    }
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
    let found = find(info, part, data_dir, &Limits::default())?;
    Ok(found.files(part))
}

fn find(
    info: &registry::SetInfo,
    part: Part,
    data_dir: Option<&Path>,
    limits: &Limits,
) -> Result<Found, Error> {
    let searched: Vec<PathBuf> = match data_dir {
        Some(dir) => vec![dir.to_path_buf()],
        None => hub::folders(info.repository)?,
    };
    for dir in &searched {
        if let Some(found) = Found::below(dir, info, part, limits)? {
            return Ok(found);
        }
    }
    let fetch = format!(
        "fetch it with `cargo xtask data fetch {}` or pass the folder that has it",
        info.name
    );
    let other_form = searched
        .iter()
        .find_map(|dir| unreadable(dir, info, limits));
    Err(Error::NotFound {
        name: info.name.to_string(),
        part: part.name(),
        path: data_dir
            .map(Path::to_path_buf)
            .or_else(hub_cache)
            .unwrap_or_default(),
        remedy: other_form.unwrap_or(fetch),
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
    let found = Found::at(path, part, &options.limits)?;
    read(&found, name, part, options)
}

fn read(found: &Found, name: &str, part: Part, options: &LoadOptions) -> Result<ImageSet, Error> {
    let files = found.files(part);
    let cache = options
        .cache
        .as_ref()
        .filter(|_| !files.is_empty() && files.iter().all(|file| file.is_file()));
    let Some(cache) = cache else {
        return found.decode(name, part, options);
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
            || found.decode(name, part, options),
        )
        .map(|set| set.renamed(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = load("cifar11", Part::Test, None, &LoadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("cifar10, cifar100"), "{error}");
    }
}
