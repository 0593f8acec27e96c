//! Members of zip, tar and tar.gz archives, read in memory; nothing is unpacked to disk.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::{Limits, foreign};
use crate::{Error, input};

/// Which archive a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Tar,
    TarGz,
}

pub(crate) fn kind(start: &[u8]) -> Option<Kind> {
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        Some(Kind::Zip)
    } else if start.get(257..262) == Some(b"ustar") {
        Some(Kind::Tar)
    } else if start.starts_with(&[0x1f, 0x8b]) {
        Some(Kind::TarGz)
    } else {
        None
    }
}

/// A member's name with `/` between its steps, however it was packed (Windows writes `\`); `.` and empty steps go.
///
/// # Errors
/// [`Error::PathEscape`] for absolute names, drive letters and names with "..".
fn plain_name(origin: &str, name: &str) -> Result<String, Error> {
    let slashed = name.replace('\\', "/");
    let steps: Vec<&str> = slashed
        .split('/')
        .filter(|step| !matches!(*step, "" | "."))
        .collect();
    let is_drive =
        |step: &&str| matches!(step.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if steps.first().is_some_and(is_drive) || slashed.starts_with('/') || steps.contains(&"..") {
        return Err(Error::PathEscape {
            origin: origin.to_string(),
            member: name.to_string(),
        });
    }
    Ok(steps.join("/"))
}

fn read_limited(
    mut reader: impl Read,
    origin: &str,
    limit: u64,
    budget: &mut u64,
) -> Result<Vec<u8>, Error> {
    let allowed = limit.min(*budget);
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(allowed + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::format(origin, "archive", e))?;
    if bytes.len() as u64 > allowed {
        return Err(Error::TooLarge {
            origin: origin.to_string(),
            what: "unpacked bytes",
            size: bytes.len() as u64,
            limit: allowed,
        });
    }
    *budget -= bytes.len() as u64;
    Ok(bytes)
}

/// Calls `take` with each wanted regular member's name and content, in the archive's order, until it
/// answers `false`. Names have `/` between their steps.
///
/// # Errors
/// [`Error::PathEscape`], [`Error::TooLarge`] for a member or a total beyond [`Limits`], [`Error::Format`].
pub fn for_each_member(
    path: &Path,
    limits: &Limits,
    mut wanted: impl FnMut(&str) -> bool,
    take: impl FnMut(&str, Vec<u8>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let (file, _) = input::open(path)?;
    for_each_in(
        BufReader::new(file),
        &path.display().to_string(),
        limits,
        &mut wanted,
        take,
    )
}

/// As [`for_each_member`], from any seekable source.
///
/// # Errors
/// As [`for_each_member`].
pub fn for_each_in(
    mut source: impl Read + Seek,
    origin: &str,
    limits: &Limits,
    wanted: impl FnMut(&str) -> bool,
    take: impl FnMut(&str, Vec<u8>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let broken = |e: &dyn std::fmt::Display| Error::format(origin, "archive", e);
    let mut start = Vec::new();
    source
        .by_ref()
        .take(512)
        .read_to_end(&mut start)
        .map_err(|e| broken(&e))?;
    source.rewind().map_err(|e| broken(&e))?;
    match kind(&start) {
        Some(Kind::Zip) => zip_members(source, origin, limits, wanted, take),
        Some(Kind::Tar) => tar_members(source, origin, limits, wanted, take),
        Some(Kind::TarGz) => {
            // Skipped members are unpacked too, so the stream as a whole is bounded.
            let stream = flate2::read::MultiGzDecoder::new(source).take(limits.set_bytes);
            tar_members(stream, origin, limits, wanted, take)
        }
        None => Err(match foreign::of_start(&start) {
            Some(what) => Error::unsupported(origin, what),
            None => Error::unsupported(
                origin,
                "it is neither zip nor tar nor tar.gz, nor any other file of images that is read",
            ),
        }),
    }
}

fn zip_members(
    source: impl Read + Seek,
    origin: &str,
    limits: &Limits,
    mut wanted: impl FnMut(&str) -> bool,
    mut take: impl FnMut(&str, Vec<u8>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let broken = |e: &dyn std::fmt::Display| Error::format(origin, "archive", e);
    let mut budget = limits.set_bytes;
    let mut zip = zip::ZipArchive::new(source).map_err(|e| broken(&e))?;
    for i in 0..zip.len() {
        let member = zip.by_index(i).map_err(|e| broken(&e))?;
        if !member.is_file() {
            continue;
        }
        let name = match member.name() {
            Ok(name) => plain_name(origin, &name)?,
            Err(_) => plain_name(origin, &String::from_utf8_lossy(member.name_raw()))?,
        };
        if wanted(&name) {
            let bytes = read_limited(member, origin, limits.file_bytes, &mut budget)?;
            if !take(&name, bytes)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn tar_members(
    stream: impl Read,
    origin: &str,
    limits: &Limits,
    mut wanted: impl FnMut(&str) -> bool,
    mut take: impl FnMut(&str, Vec<u8>) -> Result<bool, Error>,
) -> Result<(), Error> {
    let broken = |e: &dyn std::fmt::Display| Error::format(origin, "archive", e);
    let mut budget = limits.set_bytes;
    let mut tar = tar::Archive::new(stream);
    for member in tar.entries().map_err(|e| broken(&e))? {
        let member = member.map_err(|e| broken(&e))?;
        if !member.header().entry_type().is_file() {
            continue;
        }
        let name = plain_name(origin, &String::from_utf8_lossy(&member.path_bytes()))?;
        if wanted(&name) {
            let declared = member.size();
            let within = format!("{origin}: {name}");
            if declared > limits.file_bytes {
                return Err(Error::TooLarge {
                    origin: within,
                    what: "unpacked bytes",
                    size: declared,
                    limit: limits.file_bytes,
                });
            }
            let bytes = read_limited(member, &within, limits.file_bytes, &mut budget)?;
            if bytes.len() as u64 != declared {
                return Err(broken(&format!(
                    "{name} ends after {} of {declared} bytes",
                    bytes.len()
                )));
            }
            if !take(&name, bytes)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The first member that `wanted` accepts.
///
/// # Errors
/// As [`for_each_member`].
pub fn read_member(
    path: &Path,
    limits: &Limits,
    wanted: impl FnMut(&str) -> bool,
) -> Result<Option<Vec<u8>>, Error> {
    let mut found = None;
    for_each_member(path, limits, wanted, |_, bytes| {
        found = Some(bytes);
        Ok(false)
    })?;
    Ok(found)
}

/// Names of the first members (of all members of a zip, whose directory lists them); none for a file that is
/// no archive or is damaged at its beginning.
pub(crate) fn first_names(path: &Path, limits: &Limits) -> Vec<String> {
    let names = match kind(&input::start(path, 512)) {
        None => return Vec::new(),
        Some(kind) => input::open(path).map(|(file, _)| match kind {
            Kind::Zip => zip_names(file),
            Kind::Tar => first_tar_names(BufReader::new(file)),
            Kind::TarGz => first_tar_names(
                flate2::read::MultiGzDecoder::new(BufReader::new(file)).take(limits.set_bytes),
            ),
        }),
    };
    let plain = |name: String| plain_name("", &name).ok();
    names
        .unwrap_or_default()
        .into_iter()
        .filter_map(plain)
        .collect()
}

fn zip_names(file: File) -> Vec<String> {
    let Ok(zip) = zip::ZipArchive::new(BufReader::new(file)) else {
        return Vec::new();
    };
    zip.file_names()
        .flatten()
        .map(|name| name.into_owned())
        .collect()
}

fn first_tar_names(stream: impl Read) -> Vec<String> {
    const ENOUGH: usize = 4;
    let mut tar = tar::Archive::new(stream);
    let Ok(entries) = tar.entries() else {
        return Vec::new();
    };
    entries
        .take(ENOUGH)
        .map_while(Result::ok)
        .map(|member| String::from_utf8_lossy(&member.path_bytes()).into_owned())
        .collect()
}
