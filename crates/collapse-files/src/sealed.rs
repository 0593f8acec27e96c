//! A sealed file that is written in parts.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::replace::Replacement;
use crate::seal::{Seal, Sealing};

/// Bytes at the beginning of a file among which the blank seal stands.
const SEALED_WITHIN: usize = 1 << 20;

/// A file on its way to its place, sealed as it is written; dropped unfinished, it leaves nothing.
///
/// Write everything with [`Seal::BLANK`] where the seal belongs, once and within the first MiB, then
/// [`finish`](Self::finish). What is written is not kept, so a file of any size can be sealed.
#[derive(Debug)]
pub struct SealedReplacement {
    file: Replacement,
    sealing: Sealing,
    start: Vec<u8>,
}

impl SealedReplacement {
    /// Opens a temporary file in the folder of `path`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::System`] when the folder cannot be made or written.
    pub fn begin(path: &Path) -> Result<Self> {
        Ok(Self {
            file: Replacement::begin(path)?,
            sealing: Sealing::new(),
            start: Vec::new(),
        })
    }

    /// Puts the seal in the place of the blank one and the file in its own.
    ///
    /// # Errors
    /// [`Error::Blank`] unless the first MiB holds one blank seal; [`Error::System`]. The old file is then still there.
    pub fn finish(self) -> Result<()> {
        let Self {
            mut file,
            sealing,
            start,
        } = self;
        let places: Vec<usize> = memchr::memmem::find_iter(&start, Seal::BLANK).collect();
        let &[place] = places.as_slice() else {
            return Err(Error::Blank {
                found: places.len(),
            });
        };
        let seal = sealing.finish().to_string();
        let written = file
            .seek(SeekFrom::Start(place as u64))
            .and_then(|_| file.write_all(seal.as_bytes()));
        written.map_err(Error::system("write", file.path()))?;
        file.finish()
    }
}

impl Write for SealedReplacement {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.sealing.update(&bytes[..n]);
        let missing = SEALED_WITHIN - self.start.len();
        self.start.extend_from_slice(&bytes[..n.min(missing)]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
