//! The seal of a feature file: a SHA-256 over all of it, in its header's metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use collapse_files::{Seal, Sealing};

use crate::error::{Error, Result};

/// Metadata key of the format's name.
const FORMAT_KEY: &str = "collapse.format";
/// The format that this version writes and the only sealed one that it reads.
const FORMAT: &str = "collapse.features/2";
/// Metadata key of the seal.
const SEAL_KEY: &str = "collapse.seal";
/// What stands before the digits of a seal in a header.
const SEAL_START: &str = "\"collapse.seal\":\"collapse-sha256:";
/// Each of these says that the file was made by this project, so that no single damage makes it a foreign one.
const MARKS: [&str; 4] = [
    FORMAT_KEY,
    "collapse.features/",
    SEAL_KEY,
    "collapse-sha256:",
];
/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// The metadata as they stand in the file, with a blank seal.
pub(crate) fn with_blank_seal(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut metadata = metadata.clone();
    metadata.insert(FORMAT_KEY.to_owned(), FORMAT.to_owned());
    metadata.insert(SEAL_KEY.to_owned(), Seal::BLANK.to_owned());
    metadata
}

/// The metadata without what only the file needs.
pub(crate) fn without_seal(mut metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    metadata.remove(FORMAT_KEY);
    metadata.remove(SEAL_KEY);
    metadata
}

/// Where the digits of the one seal of a header begin.
fn digits_at(header: &[u8]) -> Option<usize> {
    let start = SEAL_START.as_bytes();
    let mut places = header
        .windows(start.len())
        .enumerate()
        .filter(|(_, window)| *window == start);
    let (place, _) = places.next()?;
    let at = place + start.len();
    (places.next().is_none() && header.len() >= at + DIGITS).then_some(at)
}

/// Checks that a file made by this project is what was written; files of others pass.
///
/// `start` is everything up to the end of the header; the file stands there before and anywhere afterwards.
pub(crate) fn check(path: &Path, start: &[u8], file: &mut File) -> Result<()> {
    let ours = |mark: &str| {
        let mut windows = start.windows(mark.len());
        windows.any(|window| window == mark.as_bytes())
    };
    if !MARKS.iter().any(|mark| ours(mark)) {
        return Ok(());
    }
    let broken = || Error::Seal {
        path: path.to_owned(),
    };
    let at = digits_at(start).ok_or_else(broken)?;
    let mut sealing = Sealing::new();
    sealing.update(&start[..at]);
    sealing.update(&[b'0'; DIGITS]);
    sealing.update(&start[at + DIGITS..]);
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block) {
            Ok(0) => break,
            Ok(n) => sealing.update(&block[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::unread(path, source)),
        }
    }
    let seal = sealing.finish().to_string();
    if !seal.as_bytes().ends_with(&start[at..at + DIGITS]) {
        return Err(broken());
    }
    Ok(())
}

/// A sound file must be of the format that this version knows.
pub(crate) fn check_format(path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    match metadata.get(FORMAT_KEY) {
        Some(found) if found != FORMAT => Err(Error::Format {
            path: path.to_owned(),
            found: found.clone(),
            expected: FORMAT,
        }),
        _ => Ok(()),
    }
}
