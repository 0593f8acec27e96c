//! One durable way to put a file in place.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Puts `bytes` at `path`: afterwards the file is the new one, or, if this fails, the old one.
///
/// The bytes and the folder's entry are synced before it returns. A missing folder is made; a symbolic link at
/// `path` is replaced, not followed. The file has the permissions that any new file of the process gets.
///
/// # Errors
/// [`Error::System`] when the folder cannot be made or written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |file| file.write_all(bytes))
}

/// As [`replace`], with what `write` writes, buffered.
///
/// # Errors
/// [`Error::System`] when the folder cannot be made or written, or `write` fails.
pub fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut buffered = BufWriter::new(Replacement::begin(path)?);
    write(&mut buffered).map_err(Error::system("write", path))?;
    let replacement = buffered
        .into_inner()
        .map_err(|error| Error::system("write", path)(error.into_error()))?;
    replacement.finish()
}

/// Puts `value` at `path` as indented JSON that ends in a newline, see [`replace`].
///
/// # Errors
/// [`Error::Json`] when it has no form in JSON, [`Error::System`] when the folder cannot be made or written.
pub fn replace_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    text.push(b'\n');
    replace(path, &text)
}

/// A file on its way to `path`; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct Replacement {
    file: NamedTempFile,
    path: PathBuf,
}

impl Replacement {
    /// Opens a temporary file in the folder of `path`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::System`] when the folder cannot be made or written.
    pub fn begin(path: &Path) -> Result<Self> {
        let folder = folder_of(path);
        std::fs::create_dir_all(folder).map_err(Error::system("make the folder", folder))?;
        let file = new_file(folder).map_err(Error::system("write", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the content, puts the file in place and syncs the folder.
    ///
    /// # Errors
    /// [`Error::System`]; the old file is then still there.
    pub fn finish(self) -> Result<()> {
        let Self { file, path } = self;
        let failed = |source| Error::system("write", &path)(source);
        file.as_file().sync_all().map_err(failed)?;
        let failed = |error: tempfile::PersistError| Error::system("write", &path)(error.error);
        file.persist(&path).map_err(failed)?;
        sync_folder(folder_of(&path)).map_err(Error::system("sync the folder of", &path))
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Replacement {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(position)
    }
}

/// A bare file name has the folder ``, which is the current one.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Temporary files are made for their owner alone; this one will be read by others.
fn new_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".collapse-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system takes the umask off.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
