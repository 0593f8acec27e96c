//! The project's own container of decoded image sets, used for the embedded sample and the cache.
//!
//! ```text
//! offset 0   8 bytes   magic "CLPSIMG2"
//!        8   u32 LE    length h of the header
//!       12   h bytes   header, JSON: a list of sets (name, part, shape, count, classes, whether labelled, encoding,
//!                      length of the stored pixels, SHA-256 of the content) and a seal over the header itself
//!       …    for each set: zeros up to a multiple of 64, the pixels, one u16 LE a label
//! ```
//! Encodings: `raw` (pixels [N, H, W, C] as they are) and `paeth-zlib` (each image filtered by PNG's Paeth predictor per
//! channel, then one zlib stream).
//!
//! Every byte is checked on reading: the header by its seal, pixels and labels by the content's SHA-256, the gaps by
//! being zero, the end by being the end.

use std::borrow::Cow;
use std::io::Write;

use collapse_files::Seal;
use serde::{Deserialize, Serialize};

use crate::shared::SharedBytes;
use crate::{ContentHash, Error, ImageSet, ImageShape, Part};

const MAGIC: &[u8; 8] = b"CLPSIMG2";
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
    seal: String,
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
    /// Bytes of the stored pixels; the labels follow them.
    length: usize,
    sha256: String,
}

/// Writes `sets` one after the other.
///
/// # Errors
/// That of `out`; of kind `InvalidData` when a label does not fit 16 bits or the header cannot be sealed.
pub(crate) fn write(
    out: &mut dyn Write,
    sets: &[ImageSet],
    encoding: Encoding,
) -> std::io::Result<()> {
    let bodies = sets
        .iter()
        .map(|set| Ok((stored_pixels(set, encoding), stored_labels(set)?)))
        .collect::<std::io::Result<Vec<_>>>()?;
    let entries = sets.iter().zip(&bodies).map(|(set, (pixels, _))| Entry {
        name: set.name().to_string(),
        part: set.part(),
        shape: set.shape(),
        count: set.len(),
        classes: set.classes().to_vec(),
        labelled: set.labels().is_some(),
        encoding,
        length: pixels.len(),
        sha256: set.content_hash().to_hex(),
    });
    let header = Header {
        sets: entries.collect(),
        seal: Seal::BLANK.to_string(),
    };
    let header = collapse_files::seal(serde_json::to_vec(&header)?).map_err(invalid)?;
    let length = u32::try_from(header.len()).map_err(invalid)?;
    out.write_all(MAGIC)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&header)?;
    let mut at = MAGIC.len() + 4 + header.len();
    for (pixels, labels) in &bodies {
        out.write_all(&[0; ALIGN][..gap(at)])?;
        out.write_all(pixels)?;
        out.write_all(labels)?;
        at += gap(at) + pixels.len() + labels.len();
    }
    Ok(())
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

/// Zeros between `at` and the next multiple of [`ALIGN`].
fn gap(at: usize) -> usize {
    at.next_multiple_of(ALIGN) - at
}

fn stored_pixels(set: &ImageSet, encoding: Encoding) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Raw => Cow::Borrowed(set.pixels()),
        Encoding::PaethZlib => Cow::Owned(miniz_oxide::deflate::compress_to_vec_zlib(
            &filtered(set.pixels(), set.shape()),
            10,
        )),
    }
}

fn stored_labels(set: &ImageSet) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(2 * set.labels().map_or(0, <[usize]>::len));
    for &label in set.labels().unwrap_or_default() {
        out.extend(u16::try_from(label).map_err(invalid)?.to_le_bytes());
    }
    Ok(out)
}

/// Reads the sets of a container; pixels stored raw are shared with `bytes`, not copied.
///
/// # Errors
/// [`Error::Format`] when a byte of the structure is not what was written; [`Error::Checksum`] when one of the
/// content is not.
pub(crate) fn read(bytes: Vec<u8>, origin: &str) -> Result<Vec<ImageSet>, Error> {
    let broken = |detail: &str| Error::format(origin, FORMAT, detail);
    let bytes = SharedBytes::from(bytes);
    let (header, mut at) = read_header(&bytes).map_err(|detail| broken(&detail))?;
    let mut sets = Vec::with_capacity(header.sets.len());
    for entry in header.sets {
        let start = at + gap(at);
        let zeros = bytes.get(at..start);
        if !zeros.is_some_and(|zeros| zeros.iter().all(|&b| b == 0)) {
            return Err(broken("a gap is not zero"));
        }
        let end = start
            .checked_add(entry.length)
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| broken("it ends within the pixels"))?;
        let pixels = entry.pixels(&bytes, start..end).map_err(broken)?;
        let labels = entry.labels(&bytes[end..]).map_err(broken)?;
        at = end + 2 * labels.as_ref().map_or(0, Vec::len);
        sets.push(entry.into_set(pixels, labels, origin)?);
    }
    if at == bytes.len() {
        Ok(sets)
    } else {
        Err(broken("something follows its last set"))
    }
}

/// The header and where it ends.
fn read_header(bytes: &[u8]) -> Result<(Header, usize), String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not begin with CLPSIMG2")?;
    let (length, rest) = rest
        .split_first_chunk::<4>()
        .ok_or("it ends in the header's length")?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_HEADER {
        return Err("its header is implausibly long".to_string());
    }
    let header = rest.get(..length).ok_or("it ends in the header")?;
    if !collapse_files::check(header).is_sound() {
        return Err("its header is not what was sealed".to_string());
    }
    let parsed = serde_json::from_slice(header).map_err(|e| format!("header: {e}"))?;
    Ok((parsed, MAGIC.len() + 4 + length))
}

impl Entry {
    fn pixels(
        &self,
        bytes: &SharedBytes,
        range: std::ops::Range<usize>,
    ) -> Result<SharedBytes, &'static str> {
        const WRONG: &str = "the pixels' length differs from the header's";
        let length = self
            .shape
            .bytes()
            .and_then(|image| image.checked_mul(self.count))
            .ok_or("the number of pixels overflows")?;
        match self.encoding {
            Encoding::Raw if range.len() == length => bytes.slice(range).ok_or(WRONG),
            Encoding::Raw => Err(WRONG),
            // zlib expands at most about 1,032 times.
            Encoding::PaethZlib if length / 1100 > range.len() => {
                Err("it declares more pixels than its stream can hold")
            }
            Encoding::PaethZlib => {
                let mut pixels =
                    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&bytes[range], length)
                        .map_err(|_| "the pixels' zlib stream is damaged")?;
                if pixels.len() != length {
                    return Err(WRONG);
                }
                unfilter(&mut pixels, self.shape);
                Ok(pixels.into())
            }
        }
    }

    fn labels(&self, rest: &[u8]) -> Result<Option<Vec<usize>>, &'static str> {
        if !self.labelled {
            return Ok(None);
        }
        let stored = self
            .count
            .checked_mul(2)
            .and_then(|length| rest.get(..length))
            .ok_or("it ends within the labels")?;
        let labels = stored.as_chunks::<2>().0;
        Ok(Some(
            labels
                .iter()
                .map(|b| usize::from(u16::from_le_bytes(*b)))
                .collect(),
        ))
    }

    fn into_set(
        self,
        pixels: SharedBytes,
        labels: Option<Vec<usize>>,
        origin: &str,
    ) -> Result<ImageSet, Error> {
        let expected = ContentHash::from_hex(&self.sha256)
            .ok_or_else(|| Error::format(origin, FORMAT, "a SHA-256 is not 64 hex digits"))?;
        let set = ImageSet::from_parts(
            self.name,
            self.part,
            self.shape,
            pixels,
            labels,
            self.classes.into(),
        )?;
        let found = set.content_hash();
        if found == expected {
            return Ok(set);
        }
        Err(Error::Checksum {
            origin: format!("{origin} ({} {})", set.name(), set.part().name()),
            found: found.to_hex(),
            expected: expected.to_hex(),
        })
    }
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

    fn packed(sets: &[ImageSet], encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, sets, encoding).unwrap();
        out
    }

    #[test]
    fn both_encodings_return_what_they_were_given() {
        for encoding in [Encoding::Raw, Encoding::PaethZlib] {
            let sets = [sample(1), sample(3)];
            let back = read(packed(&sets, encoding), "memory").unwrap();
            for (a, b) in sets.iter().zip(&back) {
                assert_eq!(a.pixels(), b.pixels());
                assert_eq!(a.labels(), b.labels());
                assert_eq!(a.classes(), b.classes());
                assert_eq!(a.content_hash(), b.content_hash());
            }
        }
    }

    #[test]
    fn every_truncation_and_every_flip_of_raw_content_is_an_error() {
        let bytes = packed(&[sample(1), sample(3)], Encoding::Raw);
        for cut in 0..bytes.len() {
            assert!(read(bytes[..cut].to_vec(), "cut").is_err(), "{cut}");
        }
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x10;
            assert!(read(flipped, "flipped").is_err(), "{position}");
        }
        assert!(read([bytes, vec![0]].concat(), "longer").is_err());
    }

    #[test]
    fn a_flip_in_a_compressed_stream_never_changes_pixels() {
        let bytes = packed(&[sample(1)], Encoding::PaethZlib);
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x10;
            if let Ok(sets) = read(flipped, "flipped") {
                assert_eq!(sets[0].pixels(), sample(1).pixels(), "flip at {position}");
            }
        }
    }
}
