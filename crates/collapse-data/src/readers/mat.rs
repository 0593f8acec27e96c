//! SVHN's cropped digits: MATLAB 5 files with `X` [32, 32, 3, N] and `y` [N, 1] in either order, column-major; label 10
//! is digit 0.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{Limits, foreign};
use crate::{Error, ImageSet, ImageShape, Part, input};

const FORMAT: &str = "MATLAB 5";
const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_INT16: u32 = 3;
const MI_UINT16: u32 = 4;
const MI_INT32: u32 = 5;
const MI_UINT32: u32 = 6;
const MI_SINGLE: u32 = 7;
const MI_DOUBLE: u32 = 9;
const MI_INT64: u32 = 12;
const MI_UINT64: u32 = 13;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
/// Bytes before the first element.
const HEADER: usize = 128;

/// A data element: its type, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first_chunk::<4>()?;
    let tag = u32::from_le_bytes(*tag);
    if tag >> 16 != 0 {
        // Small element: length and type share the tag, four bytes of content follow.
        let (length, kind) = ((tag >> 16) as usize, tag & 0xffff);
        let (content, rest) = rest.split_at_checked(4)?;
        return Some((kind, content.get(..length)?, rest));
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let content = rest.get(..length)?;
    // Content is padded to eight bytes, except in compressed elements.
    let padded = if tag == MI_COMPRESSED {
        length
    } else {
        length.checked_next_multiple_of(8)?
    };
    Some((tag, content, rest.get(padded..).unwrap_or_default()))
}

/// A numeric array; its values are bytes or small integers.
struct Matrix {
    name: String,
    sizes: Vec<usize>,
    kind: u32,
    content: Vec<u8>,
}

/// Name and sizes of an array, and what follows them.
fn matrix_head(content: &[u8]) -> Option<(&[u8], Vec<usize>, &[u8])> {
    let (_, _flags, rest) = element(content)?;
    let (kind, sizes, rest) = element(rest)?;
    if kind != MI_INT32 {
        return None;
    }
    let sizes = sizes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| usize::try_from(i32::from_le_bytes(*b)).ok())
        .collect::<Option<Vec<_>>>()?;
    let (_, name, rest) = element(rest)?;
    Some((name, sizes, rest))
}

fn matrix(content: &[u8]) -> Option<Matrix> {
    let (name, sizes, rest) = matrix_head(content)?;
    let (kind, content, _) = element(rest)?;
    Some(Matrix {
        name: String::from_utf8_lossy(name).into_owned(),
        sizes,
        kind,
        content: content.to_vec(),
    })
}

/// Whether `start` begins like a MATLAB 5 file.
pub(crate) fn is_mat(start: &[u8]) -> bool {
    start.starts_with(b"MATLAB 5.0 MAT-file")
}

/// Number of images that the array `X` of a file declares, from the beginnings of its arrays alone; `None` where it
/// has no such array.
pub(crate) fn n_images(path: &Path) -> Option<usize> {
    const MOST_ARRAYS: usize = 16;
    let (mut file, _) = input::open(path).ok()?;
    let mut at = HEADER as u64;
    for _ in 0..MOST_ARRAYS {
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut start = Vec::new();
        file.by_ref().take(4096).read_to_end(&mut start).ok()?;
        let (tag, content) = start.split_first_chunk::<8>()?;
        let kind = u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]]);
        let length = u32::from_le_bytes([tag[4], tag[5], tag[6], tag[7]]);
        if let Some(count) = declared_images(kind, content) {
            return Some(count);
        }
        let padded = if kind == MI_COMPRESSED {
            u64::from(length)
        } else {
            u64::from(length).next_multiple_of(8)
        };
        at += 8 + padded;
    }
    None
}

/// The last size of an array `X` [H, W, C, N], from its beginning.
fn declared_images(kind: u32, content: &[u8]) -> Option<usize> {
    const ENOUGH: u64 = 256;
    let mut start = Vec::new();
    match kind {
        MI_COMPRESSED => {
            // An error past the beginning does not matter here.
            let _ = flate2::read::ZlibDecoder::new(content)
                .take(ENOUGH)
                .read_to_end(&mut start);
            start.drain(..8.min(start.len()));
        }
        MI_MATRIX => start.extend_from_slice(&content[..content.len().min(ENOUGH as usize)]),
        _ => return None,
    }
    let (name, sizes, _) = matrix_head(&start)?;
    (name == b"X").then(|| sizes.get(3).copied())?
}

/// Reads the set from a file's bytes; its classes are the ten digits.
///
/// # Errors
/// [`Error::Format`], [`Error::TooLarge`]; [`Error::Unsupported`] for MATLAB 7.3 and big-endian files.
pub fn read(
    bytes: &[u8],
    name: &str,
    part: Part,
    origin: &str,
    limits: &Limits,
) -> Result<ImageSet, Error> {
    let broken = |detail: &str| Error::format(origin, FORMAT, detail);
    let (images, labels) = arrays(bytes, origin, limits)?;
    let &[height, width, channels, count] = &images.sizes[..] else {
        return Err(broken("X does not have four dimensions"));
    };
    let shape = ImageShape::new(height, width, channels);
    let size = limits.set_size(origin, shape, count)?;
    if images.kind != MI_UINT8 || images.content.len() != size || channels != 3 {
        return Err(broken(
            "X is not an array of unsigned bytes in three channels of its declared size",
        ));
    }
    let labels = integers(&labels)
        .filter(|labels| labels.len() == count)
        .ok_or_else(|| broken("y does not hold one integer an image"))?;
    let labels = labels
        .into_iter()
        .map(|label| match label {
            10 => Some(0),
            0..=9 => usize::try_from(label).ok(),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| broken("a label is outside 0..=10"))?;
    let pixels = row_major(&images.content, shape);
    let digits = (0..10).map(|digit| digit.to_string()).collect();
    ImageSet::new(name, part, shape, pixels, Some(labels), digits)
}

/// The arrays `X` and `y`.
fn arrays(bytes: &[u8], origin: &str, limits: &Limits) -> Result<(Matrix, Matrix), Error> {
    let broken = |detail: &str| Error::format(origin, FORMAT, detail);
    if let Some(what) = foreign::of_start(bytes) {
        return Err(Error::unsupported(origin, what));
    }
    let header = bytes
        .get(..HEADER)
        .filter(|header| is_mat(header))
        .ok_or_else(|| broken("it does not begin with MATLAB 5.0 MAT-file"))?;
    if header[126..] != *b"IM" {
        return Err(Error::unsupported(
            origin,
            "it is a big-endian MATLAB file; save it again with `save('-v7', …)`",
        ));
    }
    let mut rest = &bytes[HEADER..];
    let (mut images, mut labels) = (None, None);
    while !rest.is_empty() {
        let (kind, content, tail) =
            element(rest).ok_or_else(|| broken("it ends within an element"))?;
        rest = tail;
        let unpacked;
        let content = match kind {
            MI_COMPRESSED => {
                unpacked = inflate(content, origin, limits)?;
                match element(&unpacked) {
                    Some((MI_MATRIX, inner, _)) => inner,
                    _ => return Err(broken("a compressed element holds no complete array")),
                }
            }
            MI_MATRIX => content,
            _ => continue,
        };
        let matrix = matrix(content).ok_or_else(|| broken("an array is malformed"))?;
        match matrix.name.as_str() {
            "X" => images = Some(matrix),
            "y" => labels = Some(matrix),
            _ => {}
        }
    }
    images.zip(labels).ok_or_else(|| broken("it lacks X or y"))
}

/// Column-major [H, W, C] of each image to row-major.
fn row_major(content: &[u8], shape: ImageShape) -> Vec<u8> {
    let ImageShape {
        height,
        width,
        channels,
    } = shape;
    let mut pixels = vec![0; content.len()];
    let image_bytes = (height * width * channels).max(1);
    for (image, out) in content
        .chunks_exact(image_bytes)
        .zip(pixels.chunks_exact_mut(image_bytes))
    {
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    out[(y * width + x) * channels + c] = image[(c * width + x) * height + y];
                }
            }
        }
    }
    pixels
}

fn inflate(content: &[u8], origin: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(content)
        .take(limits.file_bytes + 1)
        .read_to_end(&mut out)
        .map_err(|e| Error::format(origin, FORMAT, e))?;
    if out.len() as u64 > limits.file_bytes {
        return Err(Error::TooLarge {
            origin: origin.to_string(),
            what: "unpacked bytes",
            size: out.len() as u64,
            limit: limits.file_bytes,
        });
    }
    Ok(out)
}

/// The array's values, if all are integers.
fn integers(matrix: &Matrix) -> Option<Vec<i64>> {
    fn each<const N: usize>(content: &[u8], value: impl Fn([u8; N]) -> i64) -> Vec<i64> {
        let values = content.as_chunks::<N>().0;
        values.iter().map(|bytes| value(*bytes)).collect()
    }
    fn whole<const N: usize>(content: &[u8], value: impl Fn([u8; N]) -> f64) -> Option<Vec<i64>> {
        let is_whole = |v: &f64| v.fract() == 0.0 && v.abs() < 1e9;
        let values = content.as_chunks::<N>().0.iter();
        values
            .map(|bytes| Some(value(*bytes)).filter(is_whole).map(|v| v as i64))
            .collect()
    }
    let content = &matrix.content[..];
    Some(match matrix.kind {
        MI_INT8 => each(content, |b| i64::from(i8::from_le_bytes(b))),
        MI_UINT8 => each(content, |b| i64::from(u8::from_le_bytes(b))),
        MI_INT16 => each(content, |b| i64::from(i16::from_le_bytes(b))),
        MI_UINT16 => each(content, |b| i64::from(u16::from_le_bytes(b))),
        MI_INT32 => each(content, |b| i64::from(i32::from_le_bytes(b))),
        MI_UINT32 => each(content, |b| i64::from(u32::from_le_bytes(b))),
        MI_INT64 => each(content, i64::from_le_bytes),
        // No label comes near the values that the cast would change.
        MI_UINT64 => each(content, |b| u64::from_le_bytes(b) as i64),
        MI_SINGLE => whole(content, |b| f64::from(f32::from_le_bytes(b)))?,
        MI_DOUBLE => whole(content, f64::from_le_bytes)?,
        _ => return None,
    })
}
