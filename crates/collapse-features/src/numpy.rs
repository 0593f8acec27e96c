//! NumPy's `.npy` and `.npz` containers.

use std::io::{BufReader, Read};
use std::path::Path;

use npyz::{DType, Endianness, NpyFile, Order, TypeChar};
use zip::ZipArchive;

use crate::error::{Error, Result};
use crate::number::{Number, Stream};
use crate::read::{Layout, Role, Tensors, open};

pub(crate) fn load_array(path: &Path) -> Result<Tensors> {
    let mut tensors = Tensors::default();
    take_file(path, "features", &mut tensors)?;
    Ok(tensors)
}

/// The `.npy` files of a folder, each named after what it holds.
pub(crate) fn load_folder(folder: &Path) -> Result<Tensors> {
    let io = |source| Error::Io {
        path: folder.to_owned(),
        verb: "read",
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        names.extend(name.strip_suffix(".npy").map(str::to_owned));
    }
    // The order of a folder is not that of names.
    names.sort();
    let mut tensors = Tensors::default();
    for name in names {
        take_file(&folder.join(format!("{name}.npy")), &name, &mut tensors)?;
    }
    Ok(tensors)
}

/// Reads one `.npy` file as the array `name`, if that has a meaning.
fn take_file(path: &Path, name: &str, tensors: &mut Tensors) -> Result<()> {
    tensors.names.push(name.to_owned());
    if Role::of(name).is_none() && name != "l2" {
        return Ok(());
    }
    let (file, length) = open(path)?;
    let array = NpyFile::new(BufReader::new(file)).map_err(|error| damaged(path, "npy", &error))?;
    let (layout, mut reader) = layout(path, name, array)?;
    let count = layout
        .shape
        .iter()
        .try_fold(layout.number.bytes(), |a, &b| a.checked_mul(b));
    let expected = count.map_or(u64::MAX, |bytes| bytes as u64);
    if expected > length {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected,
            found: length,
        });
    }
    take_array(path, "npy", name, layout, &mut reader, tensors)
}

/// Puts one array in its place.
fn take_array(
    path: &Path,
    format: &'static str,
    name: &str,
    layout: Layout,
    reader: &mut dyn Read,
    tensors: &mut Tensors,
) -> Result<()> {
    if let Some(role) = Role::of(name) {
        return tensors.take(path, role, layout, reader);
    }
    let stream = Stream {
        reader,
        number: layout.number,
        count: 1,
        big_endian: layout.big_endian,
    };
    let flag = stream
        .floats()
        .map_err(|error| damaged(path, format, &error))?;
    tensors
        .metadata
        .insert("l2".to_owned(), (flag[0] != 0.0).to_string());
    Ok(())
}

pub(crate) fn load_archive(path: &Path) -> Result<Tensors> {
    let (file, _) = open(path)?;
    let not_zip = |error: zip::result::ZipError| damaged(path, "npz", &error.into());
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(not_zip)?;
    let mut tensors = Tensors::default();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(not_zip)?;
        let Some(name) = String::from_utf8_lossy(entry.name_raw())
            .strip_suffix(".npy")
            .map(str::to_owned)
        else {
            continue;
        };
        tensors.names.push(name.clone());
        if Role::of(&name).is_none() && name != "l2" {
            continue;
        }
        let array = NpyFile::new(entry).map_err(|error| damaged(path, "npz", &error))?;
        let (layout, mut reader) = layout(path, &name, array)?;
        take_array(path, "npz", &name, layout, &mut reader, &mut tensors)?;
    }
    Ok(tensors)
}

fn damaged(path: &Path, format: &'static str, error: &std::io::Error) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        format,
        reason: error.to_string(),
    }
}

/// The layout that the header tells, and the reader at the first number.
fn layout<R: Read>(path: &Path, tensor: &str, array: NpyFile<R>) -> Result<(Layout, R)> {
    let wrong = |found: String| Error::WrongType {
        file: path.display().to_string(),
        tensor: tensor.to_owned(),
        found,
        expected: "float16, float32 or float64 (labels: an integer type)",
    };
    let dtype = array.dtype();
    let DType::Plain(kind) = &dtype else {
        return Err(wrong(dtype.descr()));
    };
    let number = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 2) => Number::F16,
        (TypeChar::Float, 4) => Number::F32,
        (TypeChar::Float, 8) => Number::F64,
        (TypeChar::Bool, 1) => Number::Bool,
        (TypeChar::Int, 1) => Number::I8,
        (TypeChar::Int, 2) => Number::I16,
        (TypeChar::Int, 4) => Number::I32,
        (TypeChar::Int, 8) => Number::I64,
        (TypeChar::Uint, 1) => Number::U8,
        (TypeChar::Uint, 2) => Number::U16,
        (TypeChar::Uint, 4) => Number::U32,
        (TypeChar::Uint, 8) => Number::U64,
        _ => return Err(wrong(dtype.descr())),
    };
    let layout = Layout {
        shape: array
            .shape()
            .iter()
            .map(|&size| usize::try_from(size).unwrap_or(usize::MAX))
            .collect(),
        number,
        column_major: array.order() == Order::Fortran,
        big_endian: kind.endianness() == Endianness::Big,
    };
    Ok((layout, array.into_inner()))
}
