//! The project's own container of decoded image sets, used for the embedded sample and the cache.
//!
//! ```text
//! offset 0   8 bytes   magic "CLPSIMG1"
//!        8   u32 LE    length h of the header
//!       12   h bytes   header, JSON: a list of sets (name, part, shape, count, classes, encoding,
//!                      offset and length of the pixels, labels, SHA-256 of the content)
//!       …    zeros up to a multiple of 64; then the pixels of each set, each at a multiple of 64
//! ```
//! Labels are one u16 LE an image, after the pixels. Encodings: `raw` (pixels [N, H, W, C] as they are, so a file can be mapped) and
//! `paeth-zlib` (each image filtered by PNG's Paeth predictor per channel, then one zlib stream).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image_set::Pixels;
use crate::{ContentHash, Error, ImageSet, ImageShape, Part};

const MAGIC: &[u8; 8] = b"CLPSIMG1";
const FORMAT: &str = "collapse image container";
/// No header of a genuine file comes near this: a thousand classes need some 20 kB.
const MAX_HEADER: usize = 1 << 22;
const ALIGN: usize = 64;

/// How pixels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Encoding {
    Raw,
    PaethZlib,
}

#[derive(Serialize, Deserialize)]
struct Header {
    sets: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    part: Part,
    shape: ImageShape,
    count: usize,
    classes: Vec<String>,
    labelled: bool,
    encoding: Encoding,
    /// From the start of the data area.
    offset: usize,
    length: usize,
    sha256: String,
}

/// Writes `sets` one after the other.
pub(crate) fn write(sets: &[ImageSet], encoding: Encoding) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    let mut entries = Vec::with_capacity(sets.len());
    for set in sets {
        data.resize(data.len().next_multiple_of(ALIGN), 0);
        let offset = data.len();
        match encoding {
            Encoding::Raw => data.extend_from_slice(set.pixels()),
            Encoding::PaethZlib => {
                data.extend(miniz_oxide::deflate::compress_to_vec_zlib(
                    &filtered(set.pixels(), set.shape()),
                    10,
                ));
            }
        }
        let length = data.len() - offset;
        for &label in set.labels().unwrap_or_default() {
            let label = u16::try_from(label).map_err(|_| {
                Error::inconsistent(set.name(), format!("label {label} does not fit 16 bits"))
            })?;
            data.extend_from_slice(&label.to_le_bytes());
        }
        entries.push(Entry {
            name: set.name().to_string(),
            part: set.part(),
            shape: set.shape(),
            count: set.len(),
            classes: set.classes().to_vec(),
            labelled: set.labels().is_some(),
            encoding,
            offset,
            length,
            sha256: set.content_hash().to_hex(),
        });
    }
    let header = serde_json::to_vec(&Header { sets: entries })
        .map_err(|e| Error::format("header", FORMAT, e))?;
    let header_length = u32::try_from(header.len())
        .map_err(|_| Error::format("header", FORMAT, "it is longer than 4 GiB"))?;
    let mut out = Vec::with_capacity(data.len() + header.len() + 128);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&header_length.to_le_bytes());
    out.extend_from_slice(&header);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    out.extend_from_slice(&data);
    Ok(out)
}

/// Reads the sets of `source`; pixels stored raw are borrowed from it, not copied.
///
/// `check_content` compares each set with its SHA-256.
pub(crate) fn read(
    source: &Pixels,
    origin: &str,
    check_content: bool,
) -> Result<Vec<ImageSet>, Error> {
    let bytes = source.as_slice();
    let broken = |detail: &str| Error::format(origin, FORMAT, detail);
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| broken("the magic number is missing"))?;
    let (length, rest) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| broken("it ends in the header's length"))?;
    let header_length = u32::from_le_bytes(*length) as usize;
    if header_length > MAX_HEADER {
        return Err(broken("its header is implausibly long"));
    }
    let header = rest
        .get(..header_length)
        .ok_or_else(|| broken("it ends in the header"))?;
    let header: Header =
        serde_json::from_slice(header).map_err(|e| broken(&format!("header: {e}")))?;
    let data_start = (12 + header_length).next_multiple_of(ALIGN);

    let mut sets = Vec::with_capacity(header.sets.len());
    for entry in header.sets {
        let pixel_bytes = entry
            .shape
            .bytes()
            .and_then(|b| b.checked_mul(entry.count))
            .ok_or_else(|| broken("the number of pixels overflows"))?;
        let start = data_start.checked_add(entry.offset);
        let end = start.and_then(|s| s.checked_add(entry.length));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(broken("an offset overflows"));
        };
        let stored = bytes
            .get(start..end)
            .ok_or_else(|| broken("it ends within the pixels"))?;
        let pixels = match entry.encoding {
            Encoding::Raw if stored.len() == pixel_bytes => match source {
                Pixels::Mapped {
                    map, start: base, ..
                } => Pixels::Mapped {
                    map: Arc::clone(map),
                    start: base + start,
                    end: base + end,
                },
                Pixels::Static(all) => Pixels::Static(&all[start..end]),
                Pixels::Owned(_) => Pixels::Owned(Arc::new(stored.to_vec())),
            },
            Encoding::PaethZlib => {
                // zlib expands at most about 1,032 times.
                if pixel_bytes / 1100 > stored.len() {
                    return Err(broken("it declares more pixels than its stream can hold"));
                }
                let mut pixels =
                    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(stored, pixel_bytes)
                        .map_err(|e| broken(&format!("pixels: {e}")))?;
                if pixels.len() != pixel_bytes {
                    return Err(broken("the pixels' length differs from the header's"));
                }
                unfilter(&mut pixels, entry.shape);
                Pixels::Owned(Arc::new(pixels))
            }
            Encoding::Raw => return Err(broken("the pixels' length differs from the header's")),
        };
        let labels = if entry.labelled {
            let stored = entry
                .count
                .checked_mul(2)
                .and_then(|n| end.checked_add(n))
                .and_then(|label_end| bytes.get(end..label_end))
                .ok_or_else(|| broken("it ends within the labels"))?;
            Some(
                stored
                    .chunks_exact(2)
                    .map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))
                    .collect(),
            )
        } else {
            None
        };
        let set = ImageSet::from_parts(
            entry.name,
            entry.part,
            entry.shape,
            pixels,
            labels,
            entry.classes.into(),
        )?;
        let expected = ContentHash::from_hex(&entry.sha256)
            .ok_or_else(|| broken("a SHA-256 is not 64 hex digits"))?;
        if check_content {
            let found = set.content_hash();
            if found != expected {
                return Err(Error::Checksum {
                    origin: format!("{origin} ({} {})", set.name(), set.part().name()),
                    found: found.to_hex(),
                    expected: expected.to_hex(),
                });
            }
            sets.push(set);
        } else {
            sets.push(set.with_known_hash(expected));
        }
    }
    Ok(sets)
}

/// PNG's Paeth predictor from the left, upper and upper-left neighbours.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i32::from(left), i32::from(up), i32::from(corner));
    let p = a + b - c;
    let (pa, pb, pc) = ((p - a).abs(), (p - b).abs(), (p - c).abs());
    if pa <= pb && pa <= pc {
        left
    } else if pb <= pc {
        up
    } else {
        corner
    }
}

fn neighbours(image: &[u8], i: usize, row: usize, channels: usize) -> (u8, u8, u8) {
    let has_left = i % row >= channels;
    let has_up = i >= row;
    let left = if has_left { image[i - channels] } else { 0 };
    let up = if has_up { image[i - row] } else { 0 };
    let corner = if has_left && has_up {
        image[i - row - channels]
    } else {
        0
    };
    (left, up, corner)
}

fn filtered(pixels: &[u8], shape: ImageShape) -> Vec<u8> {
    let row = shape.width * shape.channels;
    let mut out = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact(row * shape.height) {
        for (i, &value) in image.iter().enumerate() {
            let (left, up, corner) = neighbours(image, i, row, shape.channels);
            out.push(value.wrapping_sub(paeth(left, up, corner)));
        }
    }
    out
}

fn unfilter(pixels: &mut [u8], shape: ImageShape) {
    let row = shape.width * shape.channels;
    for image in pixels.chunks_exact_mut((row * shape.height).max(1)) {
        for i in 0..image.len() {
            let (left, up, corner) = neighbours(image, i, row, shape.channels);
            image[i] = image[i].wrapping_add(paeth(left, up, corner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(channels: usize) -> ImageSet {
        let shape = ImageShape::new(5, 7, channels);
        let pixels = (0..6 * 35 * channels)
            .map(|i| (i * i % 251) as u8)
            .collect();
        ImageSet::new(
            "sample",
            Part::Test,
            shape,
            pixels,
            Some(vec![0, 1, 2, 0, 1, 2]),
            vec!["a".into(), "b".into(), "c".into()],
        )
        .unwrap()
    }

    #[test]
    fn both_encodings_return_what_they_were_given() {
        for encoding in [Encoding::Raw, Encoding::PaethZlib] {
            let sets = [sample(1), sample(3)];
            let bytes = write(&sets, encoding).unwrap();
            let back = read(&Pixels::Owned(Arc::new(bytes)), "memory", true).unwrap();
            for (a, b) in sets.iter().zip(&back) {
                assert_eq!(a.pixels(), b.pixels());
                assert_eq!(a.labels(), b.labels());
                assert_eq!(a.classes(), b.classes());
                assert_eq!(a.content_hash(), b.content_hash());
            }
        }
    }

    #[test]
    fn every_truncation_and_flip_is_an_error() {
        let bytes = write(&[sample(1)], Encoding::PaethZlib).unwrap();
        let end = bytes.len();
        for cut in 0..end {
            assert!(
                read(&Pixels::Owned(Arc::new(bytes[..cut].to_vec())), "cut", true).is_err(),
                "cut at {cut}"
            );
        }
        for position in 0..end {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x10;
            if let Ok(sets) = read(&Pixels::Owned(Arc::new(flipped)), "flipped", true) {
                assert_eq!(sets[0].pixels(), sample(1).pixels(), "flip at {position}");
            }
        }
    }
}
