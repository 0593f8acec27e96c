//! NumPy's containers: `.npy` files, folders of them, and `.npz` archives.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use crate::error::{Error, Result};
use crate::file::{Reading, check_length, open};
use crate::npy;
use crate::number::Number;
use crate::tensors::{FLAG, Layout, Role, Tensors};

/// Bytes of the longest text that can be a flag.
const LONGEST_TEXT: usize = 64;

pub(crate) fn load_array(path: &Path, reading: Reading) -> Result<Tensors> {
    let mut tensors = Tensors::new(reading);
    take_file(path, "features", &mut tensors)?;
    Ok(tensors)
}

/// The `.npy` files of a folder, each named after what it holds.
pub(crate) fn load_folder(folder: &Path, reading: Reading) -> Result<Tensors> {
    let io = |source| Error::unread(folder, source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        names.extend(name.strip_suffix(".npy").map(str::to_owned));
    }
    // The order of a folder is not that of names.
    names.sort();
    let mut tensors = Tensors::new(reading);
    for name in names {
        take_file(&folder.join(format!("{name}.npy")), &name, &mut tensors)?;
    }
    Ok(tensors)
}

/// Reads one `.npy` file as the array `name`, if that has a meaning.
fn take_file(path: &Path, name: &str, tensors: &mut Tensors) -> Result<()> {
    tensors.names.push(name.to_owned());
    if has_meaning(name) {
        let (file, length) = open(path)?;
        let file = &mut BufReader::new(file);
        take_array((path, "npy"), name, length, file, tensors)?;
    }
    Ok(())
}

pub(crate) fn load_archive(path: &Path, reading: Reading) -> Result<Tensors> {
    const FORMAT: &str = "npz";
    let (file, length) = open(path)?;
    let (mut local, _) = open(path)?;
    let broken = |error: zip::result::ZipError| damaged((path, FORMAT), error.to_string());
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let mut tensors = Tensors::new(reading);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        check_name(path, &mut local, &entry)?;
        let raw = entry.name_raw();
        let Some(name) = String::from_utf8_lossy(raw)
            .strip_suffix(".npy")
            .map(str::to_owned)
        else {
            continue;
        };
        tensors.names.push(name.clone());
        if !has_meaning(&name) {
            continue;
        }
        let (compressed, bytes) = (entry.compressed_size().min(length), entry.size());
        if !reading.limits.allow_expansion(compressed, bytes) {
            return Err(Error::Expansion {
                file: path.display().to_string(),
                tensor: name,
                compressed,
                bytes,
            });
        }
        take_array((path, FORMAT), &name, bytes, &mut entry, &mut tensors)?;
        // The checksum is compared at the end of the entry, which no array reads past; nor is one that is left out.
        let end = entry.read(&mut [0]);
        end.map_err(|error| damaged((path, FORMAT), format!("array {name}: {error}")))?;
    }
    Ok(tensors)
}

/// An entry is named twice, in the directory and before its bytes; a name that was damaged in one would make an array vanish.
fn check_name<R: Read + ?Sized>(
    path: &Path,
    file: &mut File,
    entry: &ZipFile<'_, R>,
) -> Result<()> {
    let io = |source| Error::unread(path, source);
    let raw = entry.name_raw();
    let mut header = [0u8; 30];
    let mut name = vec![0u8; raw.len()];
    file.seek(SeekFrom::Start(entry.header_start()))
        .map_err(io)?;
    file.read_exact(&mut header).map_err(io)?;
    file.read_exact(&mut name).map_err(io)?;
    let length = usize::from(u16::from_le_bytes([header[26], header[27]]));
    if length == raw.len() && name == raw {
        return Ok(());
    }
    let told = String::from_utf8_lossy(raw);
    Err(damaged(
        (path, "npz"),
        format!("its directory tells of {told:?}, where another entry stands"),
    ))
}

fn has_meaning(name: &str) -> bool {
    Role::of(name).is_some() || name == FLAG
}

fn damaged((path, format): (&Path, &'static str), reason: String) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        format,
        reason,
    }
}

/// Puts one array of `length` bytes, header included, in its place.
fn take_array(
    container: (&Path, &'static str),
    name: &str,
    length: u64,
    reader: &mut dyn Read,
    tensors: &mut Tensors,
) -> Result<()> {
    let (path, _) = container;
    if Role::of(name) == Some(Role::Labels) && tensors.leaves_labels() {
        return Ok(());
    }
    let header = npy::header(reader)
        .map_err(|reason| damaged(container, format!("array {name}: {reason}")))?;
    let element = Element::of(&header.descr).ok_or_else(|| Error::WrongType {
        file: path.display().to_string(),
        tensor: name.to_owned(),
        found: header.descr.clone(),
        expected: "float16, float32 or float64 (labels: an integer type; l2: a truth value or text)",
    })?;
    let holds = |bytes: Option<u64>| {
        let whole = bytes.and_then(|bytes| bytes.checked_add(header.bytes as u64));
        let last = format!("the last number of array {name}");
        check_length(container, whole.unwrap_or(u64::MAX), length, &last)
    };
    match element {
        Element::Number { number, big_endian } => {
            let layout = Layout {
                shape: header.shape,
                number,
                column_major: header.column_major,
                big_endian,
            };
            holds(layout.bytes())?;
            match Role::of(name) {
                Some(role) => tensors.take(path, role, layout, reader),
                None => tensors.take_flag(path, &layout, reader),
            }
        }
        Element::Text { .. }
            if Role::of(name).is_some() || header.shape.iter().any(|&n| n != 1) =>
        {
            Err(Error::WrongType {
                file: path.display().to_string(),
                tensor: name.to_owned(),
                found: header.descr,
                expected: "numbers",
            })
        }
        Element::Text {
            width,
            length: characters,
            big_endian,
        } => {
            let bytes = width * characters.min(LONGEST_TEXT);
            holds(Some(bytes as u64))?;
            let mut text = vec![0u8; bytes];
            reader
                .read_exact(&mut text)
                .map_err(|source| Error::unread(path, source))?;
            tensors.set_flag(path, &decode(&text, width, big_endian))
        }
    }
}

/// NumPy's texts are padded with zeros.
fn decode(text: &[u8], width: usize, big_endian: bool) -> String {
    let character = |bytes: &[u8]| {
        let number = |value: u32, &byte: &u8| (value << 8) | u32::from(byte);
        let value = match big_endian {
            true => bytes.iter().fold(0, number),
            false => bytes.iter().rev().fold(0, number),
        };
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let text: String = text.chunks_exact(width).map(character).collect();
    text.trim_end_matches('\0').to_owned()
}

/// An element type that has a meaning here.
pub(crate) enum Element {
    Number {
        number: Number,
        big_endian: bool,
    },
    /// `length` characters of `width` bytes.
    Text {
        width: usize,
        length: usize,
        big_endian: bool,
    },
}

impl Element {
    /// NumPy's short name, e.g. `<f4`.
    pub(crate) fn of(descr: &str) -> Option<Self> {
        let (order, kind) = match descr.as_bytes().first()? {
            b'<' | b'>' | b'|' | b'=' => descr.split_at(1),
            _ => ("=", descr),
        };
        let big_endian = order == ">" || (order == "=" && cfg!(target_endian = "big"));
        let number = |number| Some(Self::Number { number, big_endian });
        match kind {
            "f2" => number(Number::F16),
            "f4" => number(Number::F32),
            "f8" => number(Number::F64),
            "b1" | "?" => number(Number::Bool),
            "i1" => number(Number::I8),
            "i2" => number(Number::I16),
            "i4" => number(Number::I32),
            "i8" => number(Number::I64),
            "u1" => number(Number::U8),
            "u2" => number(Number::U16),
            "u4" => number(Number::U32),
            "u8" => number(Number::U64),
            _ => {
                let width = match kind.as_bytes().first()? {
                    b'U' => 4,
                    b'S' => 1,
                    _ => return None,
                };
                Some(Self::Text {
                    width,
                    length: kind[1..].parse().ok()?,
                    big_endian,
                })
            }
        }
    }
}
