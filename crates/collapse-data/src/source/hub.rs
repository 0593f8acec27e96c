//! The cache of the Hugging Face libraries.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Error;

/// Where the Hugging Face libraries keep what they fetched: `$HF_HUB_CACHE`, `$HUGGINGFACE_HUB_CACHE`,
/// `$HF_HOME/hub`, `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`, the first whose variable is set.
#[must_use]
pub fn hub_cache() -> Option<PathBuf> {
    hub_cache_by(|name| std::env::var_os(name))
}

fn hub_cache_by(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| set("HF_HOME").map(|d| d.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/huggingface/hub")))
}

/// Folders of data sets in the hub's cache, that of `repository` first. Models stay unread: they are large.
///
/// # Errors
/// [`Error::Io`] when the cache cannot be read.
pub(super) fn folders(repository: &str) -> Result<Vec<PathBuf>, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
