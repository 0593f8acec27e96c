//! The safetensors container, read tensor by tensor from the file.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::error::{Error, Result};
use crate::number::Number;
use crate::read::{Layout, Role, Tensors, open};

/// Headers of feature files have some hundred bytes.
const LARGEST_HEADER: u64 = 100 << 20;

pub(crate) fn load(path: &Path) -> Result<Tensors> {
    let (mut file, length) = open(path)?;
    let io = |source| Error::Io {
        path: path.to_owned(),
        verb: "read",
        source,
    };
    let damaged = |reason: String| Error::Damaged {
        path: path.to_owned(),
        format: "safetensors",
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
    let mut header = vec![0u8; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    let expected = 8 + header_length + metadata.data_len() as u64;
    if expected > length {
        return Err(Error::Truncated {
            path: path.to_owned(),
            expected,
            found: length,
        });
    }
    if expected < length {
        return Err(damaged(format!(
            "{} bytes follow its last tensor",
            length - expected
        )));
    }

    let mut tensors = Tensors::default();
    tensors.names = metadata.offset_keys();
    tensors.names.sort();
    if let Some(entries) = metadata.metadata() {
        tensors.metadata = entries
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
    }
    for name in tensors.names.clone() {
        let (Some(role), Some(info)) = (Role::of(&name), metadata.info(&name)) else {
            continue;
        };
        let number = number(info.dtype).ok_or_else(|| Error::WrongType {
            file: path.display().to_string(),
            tensor: name.clone(),
            found: format!("{:?}", info.dtype),
            expected: "f16, bf16, f32 or f64 (labels: an integer type)",
        })?;
        file.seek(SeekFrom::Start(
            8 + header_length + info.data_offsets.0 as u64,
        ))
        .map_err(io)?;
        let layout = Layout {
            shape: info.shape.clone(),
            number,
            column_major: false,
            big_endian: false,
        };
        tensors.take(path, role, layout, &mut file)?;
    }
    Ok(tensors)
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
