//! The files below a folder, each once, in the order of their paths.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Error;

/// Whether programs put a name there for themselves: `.git`, `.ipynb_checkpoints`, `._x.jpg`, `__MACOSX`.
pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX"
}

/// All files below `root`, hidden ones and those in hidden folders left out.
///
/// Links are followed, but a folder that is reachable in several ways counts once: under its own path if it lies below
/// `root`, else under the first link to it. So a loop of links ends.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read.
pub(crate) fn files_below(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::from([real(root)?]);
    let mut links = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    loop {
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
                let entry = entry.map_err(Error::io("read", &folder))?;
                if is_hidden(&entry.file_name()) {
                    continue;
                }
                let path = entry.path();
                let kind = entry.file_type().map_err(Error::io("read", &path))?;
                if kind.is_dir() {
                    seen.insert(real(&path)?);
                    folders.push(path);
                } else if kind.is_file() {
                    files.push(path);
                } else if kind.is_symlink() {
                    links.push(path);
                }
            }
        }
        // Links wait until every folder has been seen under its own path.
        links.sort_by(|a, b| b.cmp(a));
        let Some(link) = links.pop() else { break };
        match std::fs::metadata(&link) {
            Ok(target) if target.is_dir() => {
                if seen.insert(real(&link)?) {
                    folders.push(link);
                }
            }
            Ok(target) if !target.is_file() => {}
            // A link that leads nowhere is told by whoever wants the file.
            _ => files.push(link),
        }
    }
    files.sort();
    Ok(files)
}

/// A file's path below a folder with `/` between the steps, to be shown and compared. Names need not be Unicode: what
/// cannot be shown is replaced.
pub(crate) fn below_folder(file: &Path, folder: &Path) -> String {
    let steps = file.strip_prefix(folder).unwrap_or(file).iter();
    let steps: Vec<_> = steps.map(|step| step.to_string_lossy()).collect();
    steps.join("/")
}

fn real(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(Error::io("find", path))
}
