//! Numbers of any stored type as a stream of bytes, decoded block by block, so that reading a
//! file needs no more memory than its result.

use std::io::Read;

use half::{bf16, f16};

/// The element types that files of other frameworks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    F16,
    Bf16,
    F32,
    F64,
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

const BLOCK: usize = 1 << 16;

impl Number {
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Decodes one block of little-endian bytes as floating point numbers.
    fn push_floats(self, bytes: &[u8], out: &mut Vec<f64>) {
        match self {
            Self::F16 => extend(bytes, out, |b| f64::from(f16::from_le_bytes(b))),
            Self::Bf16 => extend(bytes, out, |b| f64::from(bf16::from_le_bytes(b))),
            Self::F32 => extend(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
            Self::F64 => extend(bytes, out, f64::from_le_bytes),
            _ => {
                let mut integers = Vec::with_capacity(bytes.len() / self.bytes());
                self.push_integers(bytes, &mut integers);
                let value = |bits: i64| match self {
                    Self::U64 => bits as u64 as f64,
                    _ => bits as f64,
                };
                out.extend(integers.into_iter().map(value));
            }
        }
    }

    /// Whether f32 holds every number of the type.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32)
    }

    /// As [`push_floats`](Self::push_floats) of a type that [`is_single`](Self::is_single); others give nothing.
    fn push_singles(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::F16 => extend(bytes, out, |b| f32::from(f16::from_le_bytes(b))),
            Self::Bf16 => extend(bytes, out, |b| f32::from(bf16::from_le_bytes(b))),
            Self::F32 => extend(bytes, out, f32::from_le_bytes),
            _ => {}
        }
    }

    /// Decodes one block of little-endian bytes as integers, of u64 the bits; floating types give nothing.
    fn push_integers(self, bytes: &[u8], out: &mut Vec<i64>) {
        match self {
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => {}
            Self::Bool | Self::U8 => out.extend(bytes.iter().map(|&b| i64::from(b))),
            Self::I8 => extend(bytes, out, |b| i64::from(i8::from_le_bytes(b))),
            Self::I16 => extend(bytes, out, |b| i64::from(i16::from_le_bytes(b))),
            Self::I32 => extend(bytes, out, |b| i64::from(i32::from_le_bytes(b))),
            Self::I64 | Self::U64 => extend(bytes, out, i64::from_le_bytes),
            Self::U16 => extend(bytes, out, |b| i64::from(u16::from_le_bytes(b))),
            Self::U32 => extend(bytes, out, |b| i64::from(u32::from_le_bytes(b))),
        }
    }
}

/// Integers of any stored type, 8 bytes each.
pub(crate) struct Integers {
    bits: Vec<i64>,
    unsigned: bool,
}

impl Integers {
    pub(crate) fn len(&self) -> usize {
        self.bits.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i128> {
        let unsigned = self.unsigned;
        self.bits.iter().map(move |&bits| match unsigned {
            true => i128::from(bits as u64),
            false => i128::from(bits),
        })
    }
}

fn extend<const B: usize, T>(bytes: &[u8], out: &mut Vec<T>, decode: impl Fn([u8; B]) -> T) {
    let (chunks, _) = bytes.as_chunks::<B>();
    out.extend(chunks.iter().map(|&chunk| decode(chunk)));
}

/// A run of `count` numbers that starts at the reader's position.
pub(crate) struct Stream<'a> {
    pub(crate) reader: &'a mut dyn Read,
    pub(crate) number: Number,
    pub(crate) count: usize,
    pub(crate) big_endian: bool,
}

impl Stream<'_> {
    pub(crate) fn floats(self) -> std::io::Result<Vec<f64>> {
        let number = self.number;
        self.decode(|bytes, out| number.push_floats(bytes, out))
    }

    /// The numbers of a type that [`is_single`](Number::is_single).
    pub(crate) fn singles(self) -> std::io::Result<Vec<f32>> {
        let number = self.number;
        self.decode(|bytes, out| number.push_singles(bytes, out))
    }

    pub(crate) fn integers(self) -> std::io::Result<Integers> {
        let number = self.number;
        Ok(Integers {
            bits: self.decode(|bytes, out| number.push_integers(bytes, out))?,
            unsigned: number == Number::U64,
        })
    }

    fn decode<T>(self, push: impl Fn(&[u8], &mut Vec<T>)) -> std::io::Result<Vec<T>> {
        let too_large = || {
            std::io::Error::new(
                std::io::ErrorKind::OutOfMemory,
                "the tensor is larger than the memory",
            )
        };
        let width = self.number.bytes();
        let mut left = self.count.checked_mul(width).ok_or_else(too_large)?;
        let mut values = Vec::new();
        values
            .try_reserve_exact(self.count)
            .map_err(|_| too_large())?;
        let mut block = vec![0u8; BLOCK.min(left)];
        while left > 0 {
            let bytes = &mut block[..BLOCK.min(left)];
            self.reader.read_exact(bytes)?;
            if self.big_endian {
                bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
            }
            push(bytes, &mut values);
            left -= bytes.len();
        }
        Ok(values)
    }
}
