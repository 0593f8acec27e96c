//! Numbers as they stand in files of weights.

use safetensors::Dtype;

/// Type of a stored number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Element {
    /// The type of a safetensors file; `None` for those that no network is stored in.
    pub(super) fn of_safetensors(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::I64 => Self::I64,
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U8 => Self::U8,
            Dtype::BOOL => Self::Bool,
            _ => return None,
        })
    }

    /// The type of PyTorch's storage class, e.g. `FloatStorage`.
    pub(super) fn of_torch(class: &str) -> Option<Self> {
        Some(match class.strip_suffix("Storage")? {
            "Double" => Self::F64,
            "Float" => Self::F32,
            "Half" => Self::F16,
            "BFloat16" => Self::Bf16,
            "Long" => Self::I64,
            "Int" => Self::I32,
            "Short" => Self::I16,
            "Char" => Self::I8,
            "Byte" => Self::U8,
            "Bool" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The number in `bytes`, of which there are [`size`](Self::size).
    pub(super) fn value(self, bytes: &[u8], order: ByteOrder) -> f64 {
        let mut raw = [0u8; 8];
        let raw = &mut raw[..self.size()];
        raw.copy_from_slice(bytes);
        if order == ByteOrder::Big {
            raw.reverse();
        }
        let mut wide = [0u8; 8];
        wide[..raw.len()].copy_from_slice(raw);
        let [a, b, c, d, ..] = wide;
        match self {
            Self::F64 => f64::from_le_bytes(wide),
            Self::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
            Self::F16 => half::f16::from_le_bytes([a, b]).to_f64(),
            Self::Bf16 => half::bf16::from_le_bytes([a, b]).to_f64(),
            Self::I64 => i64::from_le_bytes(wide) as f64,
            Self::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
            Self::I16 => f64::from(i16::from_le_bytes([a, b])),
            Self::I8 => f64::from(i8::from_le_bytes([a])),
            Self::U8 => f64::from(a),
            Self::Bool => f64::from(u8::from(a != 0)),
        }
    }
}

/// Order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_in_both_orders() {
        let cases: [(Element, &[u8], f64); 10] = [
            (Element::F64, &(-1.5f64).to_be_bytes(), -1.5),
            (Element::F32, &0.375f32.to_be_bytes(), 0.375),
            (Element::F16, &[0xC5, 0x00], -5.0),
            (Element::Bf16, &[0x3F, 0x80], 1.0),
            (Element::I64, &(-3i64).to_be_bytes(), -3.0),
            (Element::I32, &70_000i32.to_be_bytes(), 70_000.0),
            (Element::I16, &(-2i16).to_be_bytes(), -2.0),
            (Element::I8, &[0xFF], -1.0),
            (Element::U8, &[0xFF], 255.0),
            (Element::Bool, &[2], 1.0),
        ];
        for (element, big, expected) in cases {
            let little: Vec<u8> = big.iter().rev().copied().collect();
            assert_eq!(element.size(), big.len());
            assert_eq!(element.value(big, ByteOrder::Big), expected, "{element:?}");
            assert_eq!(element.value(&little, ByteOrder::Little), expected);
        }
    }
}
