//! Files as memory. The one place of this crate with `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::Error;

/// Maps a file for reading.
pub(crate) fn open(path: &Path) -> Result<Mmap, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    // SAFETY: the map is read-only and private. A file that another process truncates meanwhile would
    // end this process with SIGBUS; cache files are replaced by rename, never rewritten in place,
    // so a live map keeps the old content, and the same is asked of data files in the documentation.
    unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))
}
