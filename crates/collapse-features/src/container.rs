//! The safetensors container, read tensor by tensor from the file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::error::{Error, Result};
use crate::file::{Reading, check_length, open};
use crate::number::Number;
use crate::seal;
use crate::tensors::{FLAG, Layout, Role, Tensors};

const FORMAT: &str = "safetensors";
/// Headers of feature files have some hundred bytes; those of others may name more tensors.
const LARGEST_HEADER: u64 = 16 << 20;

pub(crate) fn load(path: &Path, reading: Reading) -> Result<Tensors> {
    let (mut file, length) = open(path)?;
    let (metadata, data_at) = header(path, &mut file, length)?;
    let mut tensors = Tensors::new(reading);
    tensors.names = metadata.offset_keys();
    tensors.names.sort();
    if let Some(entries) = metadata.metadata() {
        let entries = entries.iter();
        let entries = entries.map(|(key, value)| (key.clone(), value.clone()));
        tensors.metadata = entries.collect();
        seal::check_format(path, &tensors.metadata)?;
        tensors.metadata = seal::without_seal(tensors.metadata);
    }
    for name in tensors.names.clone() {
        let role = Role::of(&name);
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        if role.is_none() && name != FLAG {
            continue;
        }
        let number = number(info.dtype).ok_or_else(|| Error::WrongType {
            file: path.display().to_string(),
            tensor: name.clone(),
            found: format!("{:?}", info.dtype),
            expected: "f16, bf16, f32 or f64 (labels: an integer type)",
        })?;
        file.seek(SeekFrom::Start(data_at + info.data_offsets.0 as u64))
            .map_err(|source| Error::unread(path, source))?;
        let layout = Layout {
            shape: info.shape.clone(),
            number,
            column_major: false,
            big_endian: false,
        };
        match role {
            Some(role) => tensors.take(path, role, layout, &mut file)?,
            None => tensors.take_flag(path, &layout, &mut file)?,
        }
    }
    Ok(tensors)
}

/// The header of a file whose seal, if it has one, is sound, and where its tensors begin.
fn header(path: &Path, file: &mut File, length: u64) -> Result<(Metadata, u64)> {
    let io = |source| Error::unread(path, source);
    let damaged = |reason: String| Error::Damaged {
        path: path.to_owned(),
        format: FORMAT,
        reason,
    };

    if length < 8 {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected: 8,
            found: length,
        });
    }
    let mut prefix = [0u8; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > LARGEST_HEADER {
        return Err(damaged(format!(
            "its header would have {header_length} bytes"
        )));
    }
    if header_length + 8 > length {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected: header_length + 8,
            found: length,
        });
    }
    let mut start = vec![0u8; 8 + header_length as usize];
    start[..8].copy_from_slice(&prefix);
    file.read_exact(&mut start[8..]).map_err(io)?;
    let parsed: Result<Metadata, _> = serde_json::from_slice(&start[8..]);
    // A copy that was cut short is told as that, whether sealed or not.
    if let Ok(metadata) = &parsed {
        let expected = (8 + header_length).saturating_add(metadata.data_len() as u64);
        check_length((path, FORMAT), expected, length, "its last tensor")?;
    }
    seal::check(path, &start, file)?;
    let metadata = parsed.map_err(|error| damaged(error.to_string()))?;
    Ok((metadata, 8 + header_length))
}

fn number(dtype: Dtype) -> Option<Number> {
    Some(match dtype {
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::F32 => Number::F32,
        Dtype::F64 => Number::F64,
        Dtype::BOOL => Number::Bool,
        Dtype::I8 => Number::I8,
        Dtype::I16 => Number::I16,
        Dtype::I32 => Number::I32,
        Dtype::I64 => Number::I64,
        Dtype::U8 => Number::U8,
        Dtype::U16 => Number::U16,
        Dtype::U32 => Number::U32,
        Dtype::U64 => Number::U64,
        _ => return None,
    })
}
