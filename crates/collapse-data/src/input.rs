//! Files as bytes: regular files within a limit, read whole, so that nothing can change under a reader.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// Opens a regular file; a pipe or a device would block or never end.
///
/// # Errors
/// [`Error::Io`]; [`Error::Unsupported`] for anything but a regular file.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Error> {
    // Opening a pipe waits for its writer, so it is looked at first.
    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::Unsupported {
            origin: path.display().to_string(),
            detail: "it is no regular file; give the path of one".to_string(),
        });
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    Ok((file, metadata.len()))
}

/// All bytes of a file of at most `limit` bytes.
///
/// # Errors
/// Those of [`open`]; [`Error::TooLarge`].
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let (file, length) = open(path)?;
    let too_large = |size| Error::TooLarge {
        origin: path.display().to_string(),
        what: "bytes",
        size,
        limit,
    };
    if length > limit {
        return Err(too_large(length));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Up to `n` bytes from the beginning of a file; none where it cannot be read, which its reader will tell.
pub(crate) fn start(path: &Path, n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok((file, _)) = open(path) {
        let _ = file.take(n).read_to_end(&mut bytes);
    }
    bytes
}
