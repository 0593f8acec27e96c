//! Parquet's pages: compression, levels and the values of PLAIN and dictionary encoding.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use ruzstd::decoding::StreamingDecoder;

/// An encoded image: a range of a page, shared so that dictionary entries are not copied.
#[derive(Clone)]
pub(crate) struct Blob<'a> {
    page: Arc<Cow<'a, [u8]>>,
    start: usize,
    end: usize,
}

impl Blob<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.page[self.start..self.end]
    }
}

/// Undoes a page's compression; `full_length` is what its header declares.
pub(super) fn unpack(
    stored: &[u8],
    full_length: usize,
    codec: i64,
) -> Result<Cow<'_, [u8]>, &'static str> {
    match codec {
        0 if stored.len() == full_length => Ok(Cow::Borrowed(stored)),
        0 => Err("an uncompressed page has two sizes"),
        1 => {
            if snap::raw::decompress_len(stored) != Ok(full_length)
                || full_length / 64 > stored.len()
            {
                return Err("a Snappy page has a wrong size");
            }
            snap::raw::Decoder::new()
                .decompress_vec(stored)
                .map(Cow::Owned)
                .map_err(|_| "a Snappy page is damaged")
        }
        2 if full_length / 1100 > stored.len() => Err("a gzip page has a wrong size"),
        2 => read_exactly(flate2::read::MultiGzDecoder::new(stored), full_length)
            .ok_or("a gzip page is damaged"),
        // Every 128 KiB of a Zstandard frame take four bytes at least.
        6 if full_length / 40_000 > stored.len() => Err("a Zstandard page has a wrong size"),
        6 => StreamingDecoder::new_with_max_window_size(stored, 1 << 27)
            .ok()
            .and_then(|decoder| read_exactly(decoder, full_length))
            .ok_or("a Zstandard page is damaged"),
        _ => Err(
            "its compression is not supported; rewrite the file with Snappy, gzip, Zstandard or none",
        ),
    }
}

/// All that `reader` gives, if that is `length` bytes.
fn read_exactly<'a>(reader: impl Read, length: usize) -> Option<Cow<'a, [u8]>> {
    let mut out = Vec::new();
    reader.take(length as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() == length).then_some(Cow::Owned(out))
}

/// Fails unless the `n` definition levels all equal `max`.
pub(super) fn all_defined(levels: &[u8], max: u32, n: usize) -> Result<(), &'static str> {
    let mut seen = 0;
    hybrid(levels, 32 - max.leading_zeros(), n, |level, count| {
        seen += count;
        if level == max {
            Ok(())
        } else {
            Err("a row is null")
        }
    })?;
    if seen == n {
        Ok(())
    } else {
        Err("a page ends within its levels")
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
pub(super) struct PageValues<'p> {
    pub(super) page: Arc<Cow<'p, [u8]>>,
    pub(super) from: usize,
    pub(super) n: usize,
    pub(super) encoding: Option<i64>,
    pub(super) dictionary: Option<Arc<Cow<'p, [u8]>>>,
}

fn blobs_in<'a>(
    page: &Arc<Cow<'a, [u8]>>,
    mut at: usize,
    n: Option<usize>,
) -> Result<Vec<Blob<'a>>, &'static str> {
    let mut out = Vec::new();
    while n.map_or(at < page.len(), |n| out.len() < n) {
        let length = page
            .get(at..)
            .and_then(|r| r.first_chunk::<4>())
            .ok_or("a page ends within a length")?;
        let start = at + 4;
        let end = start
            .checked_add(u32::from_le_bytes(*length) as usize)
            .ok_or("a length overflows")?;
        if end > page.len() {
            return Err("a value ends outside its page");
        }
        out.push(Blob {
            page: Arc::clone(page),
            start,
            end,
        });
        at = end;
    }
    Ok(out)
}

fn integers_in(bytes: &[u8], wide: bool) -> Vec<i64> {
    if wide {
        bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b))
            .collect()
    } else {
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| i64::from(i32::from_le_bytes(*b)))
            .collect()
    }
}

impl<'p> PageValues<'p> {
    fn indexed<T: Clone>(&self, dictionary: &[T]) -> Result<Vec<T>, &'static str> {
        let body = self.page.get(self.from..).ok_or("a page is too short")?;
        let (&width, body) = body.split_first().ok_or("a page lacks its bit width")?;
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

    pub(super) fn blobs(self) -> Result<Vec<Blob<'p>>, &'static str> {
        match self.encoding {
            Some(0) => blobs_in(&self.page, self.from, Some(self.n)),
            Some(2 | 8) => {
                let dictionary = blobs_in(
                    self.dictionary
                        .as_ref()
                        .ok_or("its dictionary is missing")?,
                    0,
                    None,
                )?;
                self.indexed(&dictionary)
            }
            _ => Err(
                "its encoding is not supported; rewrite the file with plain or dictionary encoding",
            ),
        }
    }

    pub(super) fn integers(self, wide: bool) -> Result<Vec<i64>, &'static str> {
        match self.encoding {
            Some(0) => {
                let bytes = self
                    .page
                    .get(self.from..)
                    .and_then(|b| b.get(..self.n.checked_mul(if wide { 8 } else { 4 })?))
                    .ok_or("a page is too short")?;
                Ok(integers_in(bytes, wide))
            }
            Some(2 | 8) => {
                let dictionary = integers_in(
                    self.dictionary
                        .as_ref()
                        .ok_or("its dictionary is missing")?,
                    wide,
                );
                self.indexed(&dictionary)
            }
            _ => Err(
                "its encoding is not supported; rewrite the file with plain or dictionary encoding",
            ),
        }
    }
}
