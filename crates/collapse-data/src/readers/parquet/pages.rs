//! Parquet's pages: compression, levels and the values of PLAIN and dictionary encoding.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

use super::metadata::{Codec, Encoding};
use crate::shared::SharedBytes;

/// Why a page gives no values.
#[derive(Debug)]
pub(super) enum Fault {
    /// It breaks the format.
    Broken(&'static str),
    /// It is sound, but not what this reader reads; with the remedy.
    Unsupported(&'static str),
    /// The value at this position is null.
    Null(usize),
    /// The file cannot be read.
    Io(std::io::Error),
}

impl From<&'static str> for Fault {
    fn from(detail: &'static str) -> Self {
        Self::Broken(detail)
    }
}

/// Undoes a page's compression; `full_length` is what its header declares.
pub(super) fn unpack(
    stored: SharedBytes,
    full_length: usize,
    codec: Codec,
) -> Result<SharedBytes, Fault> {
    // No codec shrinks further than this; every 128 KiB of a Zstandard frame take four bytes at least.
    let factor = match codec {
        Codec::None | Codec::Other => 1,
        Codec::Snappy => 64,
        Codec::Gzip => 1100,
        Codec::Zstandard => 40_000,
    };
    if codec != Codec::None && full_length / factor > stored.len() && codec != Codec::Other {
        return Err("a compressed page has a wrong size".into());
    }
    match codec {
        Codec::None if stored.len() == full_length => Ok(stored),
        Codec::None => Err("an uncompressed page has two sizes".into()),
        Codec::Snappy => {
            if snap::raw::decompress_len(&stored) != Ok(full_length) {
                return Err("a Snappy page has a wrong size".into());
            }
            snap::raw::Decoder::new()
                .decompress_vec(&stored)
                .map(SharedBytes::from)
                .map_err(|_| "a Snappy page is damaged".into())
        }
        Codec::Gzip => read_exactly(flate2::read::MultiGzDecoder::new(&stored[..]), full_length)
            .ok_or(Fault::Broken("a gzip page is damaged")),
        Codec::Zstandard => StreamingDecoder::new_with_max_window_size(&stored[..], 1 << 27)
            .ok()
            .and_then(|decoder| read_exactly(decoder, full_length))
            .ok_or(Fault::Broken("a Zstandard page is damaged")),
        Codec::Other => Err(Fault::Unsupported(
            "its compression is not one that is read; rewrite the file with Snappy, gzip, Zstandard or none",
        )),
    }
}

/// All that `reader` gives, if that is `length` bytes.
fn read_exactly(reader: impl Read, length: usize) -> Option<SharedBytes> {
    let mut out = Vec::new();
    reader.take(length as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() == length).then(|| out.into())
}

/// Fails unless the `n` definition levels all equal `max`.
pub(super) fn all_defined(levels: &[u8], max: u32, n: usize) -> Result<(), Fault> {
    let mut seen = 0;
    let mut null = None;
    hybrid(levels, 32 - max.leading_zeros(), n, |level, count| {
        if level > max {
            return Err("a definition level is beyond its column's");
        }
        if level < max {
            null.get_or_insert(seen);
        }
        seen += count;
        Ok(())
    })?;
    match null {
        Some(position) => Err(Fault::Null(position)),
        None if seen == n => Ok(()),
        None => Err("a page ends within its levels".into()),
    }
}

/// Decodes the RLE/bit-packed hybrid into runs (value, count), at most `n` values in all.
fn hybrid(
    mut bytes: &[u8],
    width: u32,
    n: usize,
    mut run: impl FnMut(u32, usize) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    if width > 32 {
        return Err("a bit width exceeds 32");
    }
    let value_bytes = width.div_ceil(8) as usize;
    let mut left = n;
    while left > 0 {
        let mut header = 0u64;
        let mut shift = 0;
        loop {
            let (&byte, rest) = bytes.split_first().ok_or("runs end too early")?;
            bytes = rest;
            header |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 35 {
                return Err("a run is malformed");
            }
        }
        if header & 1 == 0 {
            let count = ((header >> 1) as usize).min(left);
            let stored = bytes.get(..value_bytes).ok_or("runs end too early")?;
            bytes = &bytes[value_bytes..];
            let value = stored
                .iter()
                .rev()
                .fold(0u32, |v, &b| v << 8 | u32::from(b));
            if count == 0 {
                return Err("a run is empty");
            }
            run(value, count)?;
            left -= count;
        } else {
            let groups = (header >> 1) as usize;
            if groups == 0 {
                return Err("a run is empty");
            }
            let length = groups
                .checked_mul(width as usize)
                .ok_or("a run overflows")?;
            let packed = bytes.get(..length.min(bytes.len())).unwrap_or_default();
            bytes = &bytes[packed.len()..];
            let count = groups.saturating_mul(8).min(left);
            if (packed.len() * 8) < count * width as usize {
                return Err("runs end too early");
            }
            for i in 0..count {
                let mut value = 0u64;
                let bit = i * width as usize;
                for (k, &byte) in packed[bit / 8..].iter().take(5).enumerate() {
                    value |= u64::from(byte) << (8 * k);
                }
                let mask = (1u64 << width) - 1;
                run(((value >> (bit % 8)) & mask) as u32, 1)?;
            }
            left -= count;
        }
    }
    Ok(())
}

/// The values of one data page.
pub(super) struct PageValues {
    /// The values, levels removed.
    pub(super) bytes: SharedBytes,
    pub(super) n: usize,
    pub(super) encoding: Encoding,
    pub(super) dictionary: Option<SharedBytes>,
}

const UNSUPPORTED_ENCODING: Fault = Fault::Unsupported(
    "its encoding is not one that is read; rewrite the file with plain or dictionary encoding",
);

/// `n` values, or all there are: each a u32 length and so many bytes.
fn blobs_in(page: &SharedBytes, n: Option<usize>) -> Result<Vec<SharedBytes>, &'static str> {
    let mut at = 0;
    let mut out = Vec::new();
    while n.map_or(at < page.len(), |n| out.len() < n) {
        let length = page
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>())
            .ok_or("a page ends within a length")?;
        let start = at + 4;
        let end = start
            .checked_add(u32::from_le_bytes(*length) as usize)
            .ok_or("a length overflows")?;
        let value = page.slice(start..end);
        out.push(value.ok_or("a value ends outside its page")?);
        at = end;
    }
    Ok(out)
}

fn integers_in(bytes: &[u8], wide: bool) -> Vec<i64> {
    if wide {
        let values = bytes.as_chunks::<8>().0;
        values.iter().map(|b| i64::from_le_bytes(*b)).collect()
    } else {
        let values = bytes.as_chunks::<4>().0;
        values
            .iter()
            .map(|b| i64::from(i32::from_le_bytes(*b)))
            .collect()
    }
}

impl PageValues {
    fn indexed<T: Clone>(&self, dictionary: &[T]) -> Result<Vec<T>, &'static str> {
        let (&width, body) = self
            .bytes
            .split_first()
            .ok_or("a page lacks its bit width")?;
        let mut out = Vec::new();
        hybrid(body, u32::from(width), self.n, |index, count| {
            let value = dictionary
                .get(index as usize)
                .ok_or("an index is outside its dictionary")?;
            out.extend(std::iter::repeat_n(value.clone(), count));
            Ok(())
        })?;
        Ok(out)
    }

    fn dictionary(&self) -> Result<&SharedBytes, &'static str> {
        self.dictionary.as_ref().ok_or("its dictionary is missing")
    }

    pub(super) fn blobs(self) -> Result<Vec<SharedBytes>, Fault> {
        Ok(match self.encoding {
            Encoding::Plain => blobs_in(&self.bytes, Some(self.n))?,
            Encoding::Dictionary => self.indexed(&blobs_in(self.dictionary()?, None)?)?,
            Encoding::Other => return Err(UNSUPPORTED_ENCODING),
        })
    }

    /// Integers of eight bytes (`wide`) or four.
    pub(super) fn integers(self, wide: bool) -> Result<Vec<i64>, Fault> {
        Ok(match self.encoding {
            Encoding::Plain => {
                let length = self.n.checked_mul(if wide { 8 } else { 4 });
                let bytes = length.and_then(|length| self.bytes.get(..length));
                integers_in(bytes.ok_or("a page is too short")?, wide)
            }
            Encoding::Dictionary => self.indexed(&integers_in(self.dictionary()?, wide))?,
            Encoding::Other => return Err(UNSUPPORTED_ENCODING),
        })
    }
}
