//! Moving things out of the way without ever losing any.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::replace::{folder_of, sync_folder};

/// Moves the file or folder at `path` to `<name>.before-<UTC date and time>[-N]` beside it, a name not taken yet,
/// and returns that name.
///
/// # Errors
/// [`Error::System`] when it cannot be renamed.
pub fn set_aside(path: &Path) -> Result<PathBuf> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    for attempt in 1u32.. {
        let mut name = OsString::from(path.file_name().unwrap_or_default());
        name.push(format!(".before-{stamp}"));
        if attempt > 1 {
            name.push(format!("-{attempt}"));
        }
        let aside = path.with_file_name(name);
        if std::fs::symlink_metadata(&aside).is_ok() {
            continue;
        }
        std::fs::rename(path, &aside).map_err(Error::system("move aside", path))?;
        sync_folder(folder_of(&aside)).map_err(Error::system("sync the folder of", &aside))?;
        return Ok(aside);
    }
    unreachable!("fewer than 2^32 names are taken")
}
