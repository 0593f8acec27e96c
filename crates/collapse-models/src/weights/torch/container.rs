//! Where pickle and storages stand in a file of `torch.save`.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;

use zip::ZipArchive;

use super::pickle::{Pickle, Value};
use super::tensor::{self, Storage};
use crate::weights::element::ByteOrder;

/// The magic number of the form of before PyTorch 1.6, pickled.
const MAGIC: [u8; 13] = *b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The largest pickle that is read, in bytes.
const LARGEST_PICKLE: u64 = 64 << 20;

/// The bytes behind the storages.
pub(super) struct Container {
    bytes: Vec<u8>,
    order: ByteOrder,
    kind: Kind,
}

enum Kind {
    /// Entries `<folder>/data/<key>`.
    Zip { folder: String },
    /// One after the other behind the pickles.
    Row(BTreeMap<String, Range<usize>>),
}

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    let beginning = &bytes[..bytes.len().min(32)];
    beginning.first() == Some(&0x80) && beginning.windows(MAGIC.len()).any(|part| part == MAGIC)
}

/// Reads the pickle of the object that was saved.
pub(super) fn read(bytes: Vec<u8>) -> Result<(Pickle, Container), String> {
    if is_zip(&bytes) {
        zip(bytes)
    } else {
        row(bytes)
    }
}

impl Container {
    pub(super) fn order(&self) -> ByteOrder {
        self.order
    }

    /// The bytes of a storage, of which at most `most` numbers are read.
    pub(super) fn storage(&self, storage: &Storage, most: usize) -> Result<Vec<u8>, String> {
        let size = storage.element.size();
        let Some(expected) = storage
            .len
            .checked_mul(size)
            .filter(|_| storage.len <= most)
        else {
            return Err("has a storage larger than a file of this size can hold".to_owned());
        };
        let bytes = match &self.kind {
            Kind::Zip { folder } => {
                let name = format!("{folder}data/{}", storage.key);
                entry(&mut open(&self.bytes)?, &name, expected as u64)?
            }
            Kind::Row(places) => {
                let place = places.get(&storage.key).cloned();
                place
                    .and_then(|place| self.bytes.get(place))
                    .ok_or("has no storage in the file")?
                    .to_vec()
            }
        };
        if bytes.len() < expected {
            return Err(format!(
                "has a storage of {} bytes instead of {expected}",
                bytes.len()
            ));
        }
        Ok(bytes)
    }
}

fn open(bytes: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, String> {
    ZipArchive::new(Cursor::new(bytes)).map_err(|error| {
        format!("its zip archive cannot be read ({error}); it may have been cut off")
    })
}

/// One entry whose checksum holds, of at most `largest` bytes.
fn entry(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    largest: u64,
) -> Result<Vec<u8>, String> {
    let broken = |error: String| format!("has a damaged entry `{name}` ({error})");
    let file = archive
        .by_name(name)
        .map_err(|error| broken(error.to_string()))?;
    let mut bytes = Vec::new();
    // The byte too many shows what is too large, and the checksum is looked at behind the last one.
    file.take(largest.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| broken(error.to_string()))?;
    if bytes.len() as u64 > largest {
        return Err(broken(format!("more than {largest} bytes")));
    }
    Ok(bytes)
}

fn zip(bytes: Vec<u8>) -> Result<(Pickle, Container), String> {
    let mut archive = open(&bytes)?;
    let names = archive.file_names().filter_map(Result::ok);
    let names: Vec<String> = names.map(|name| name.into_owned()).collect();
    let pickled = names
        .iter()
        .find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(pickled) = pickled else {
        return Err(match names.iter().any(|name| name.ends_with(".npy")) {
            true => "it is a NumPy archive (npz), not a checkpoint".to_owned(),
            false => {
                "it is a zip archive without `data.pkl`; PyTorch's checkpoints have one".to_owned()
            }
        });
    };
    let folder = pickled.trim_end_matches("data.pkl").to_owned();
    if names
        .iter()
        .any(|name| name.starts_with(&format!("{folder}code/")))
    {
        return Err(
            "it is a TorchScript program; save with `torch.save(net.state_dict(), path)`"
                .to_owned(),
        );
    }
    let place = |reason| format!("it {reason}");
    let pickle = Pickle::read(&entry(&mut archive, pickled, LARGEST_PICKLE).map_err(place)?)?;
    let byteorder = format!("{folder}byteorder");
    let order = if names.contains(&byteorder) {
        match entry(&mut archive, &byteorder, 16)
            .map_err(place)?
            .as_slice()
        {
            b"little" => ByteOrder::Little,
            b"big" => ByteOrder::Big,
            other => {
                return Err(format!(
                    "its byte order `{}` is unknown",
                    other.escape_ascii()
                ));
            }
        }
    } else {
        ByteOrder::Little
    };
    let kind = Kind::Zip { folder };
    Ok((pickle, Container { bytes, order, kind }))
}

/// Magic number, version, system, object, keys of the storages; then each storage behind its length.
fn row(bytes: Vec<u8>) -> Result<(Pickle, Container), String> {
    let mut at = 0;
    let mut next = || -> Result<Pickle, String> {
        let pickle = Pickle::read(&bytes[at..])?;
        at += pickle.length;
        Ok(pickle)
    };
    let (_magic, _version, system, object, keys) = (next()?, next()?, next()?, next()?, next()?);
    let little = system.entry(system.root(), "little_endian");
    let order = match little.map(|id| system.get(id)) {
        Some(Value::Bool(false)) => ByteOrder::Big,
        _ => ByteOrder::Little,
    };
    let mut sizes = BTreeMap::new();
    for value in object.values() {
        if let Value::Persistent(id) = value
            && let Ok((storage, _)) = tensor::storage(&object, *id)
        {
            sizes.insert(storage.key, storage.element.size());
        }
    }
    let mut places = BTreeMap::new();
    for &key in keys.sequence(keys.root()).ok_or("it lists no storages")? {
        let key = keys.text(key).ok_or("it lists a storage without a name")?;
        let Some(size) = sizes.get(key) else {
            return Err(format!(
                "its storage `{key}` has a type that cannot be read"
            ));
        };
        let cut = || format!("it is cut off in storage `{key}`");
        let (length, _) = bytes
            .get(at..)
            .and_then(<[u8]>::split_first_chunk)
            .ok_or_else(cut)?;
        let length = match order {
            ByteOrder::Little => u64::from_le_bytes(*length),
            ByteOrder::Big => u64::from_be_bytes(*length),
        };
        let start = at + 8;
        let end = usize::try_from(length)
            .ok()
            .and_then(|n| n.checked_mul(*size)?.checked_add(start));
        let end = end.filter(|&end| end <= bytes.len()).ok_or_else(cut)?;
        places.insert(key.to_owned(), start..end);
        at = end;
    }
    let kind = Kind::Row(places);
    Ok((object, Container { bytes, order, kind }))
}
