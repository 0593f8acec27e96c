//! SVHN's cropped digits: MATLAB 5 files with `X` [32, 32, 3, N] and `y` [N, 1], column-major; label 10 is digit 0.

use std::io::Read;

use super::Limits;
use crate::{Error, ImageSet, ImageShape, Part, registry};

const FORMAT: &str = "MATLAB 5";
const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_INT32: u32 = 5;
const MI_UINT32: u32 = 6;
const MI_DOUBLE: u32 = 9;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;

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

fn matrix(content: &[u8]) -> Option<Matrix> {
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
    let (kind, content, _) = element(rest)?;
    Some(Matrix {
        name: String::from_utf8_lossy(name).into_owned(),
        sizes,
        kind,
        content: content.to_vec(),
    })
}

/// Whether `bytes` begin like a MATLAB 5 file.
pub(crate) fn is_mat(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MATLAB 5.0 MAT-file")
}

/// Number of images that the array `X` declares, from the beginning of the file alone; `None` if `X` is not
/// its first array.
pub(crate) fn n_images(bytes: &[u8]) -> Option<usize> {
    const ENOUGH: u64 = 256;
    let (head, body) = bytes.get(128..)?.split_first_chunk::<8>()?;
    let kind = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let mut start = Vec::new();
    match kind {
        MI_COMPRESSED => {
            flate2::read::ZlibDecoder::new(body)
                .take(ENOUGH)
                .read_to_end(&mut start)
                .ok()?;
            start.drain(..8.min(start.len()));
        }
        MI_MATRIX => start.extend_from_slice(&body[..body.len().min(ENOUGH as usize)]),
        _ => return None,
    }
    let (_, _flags, rest) = element(&start)?;
    let (kind, sizes, rest) = element(rest)?;
    let (_, name, _) = element(rest)?;
    let last = sizes.as_chunks::<4>().0.get(3)?;
    (kind == MI_INT32 && name == b"X")
        .then(|| usize::try_from(i32::from_le_bytes(*last)).ok())
        .flatten()
}

/// Reads the set.
///
/// # Errors
/// [`Error::Format`], [`Error::TooLarge`].
pub fn read(bytes: &[u8], name: &str, part: Part, limits: &Limits) -> Result<ImageSet, Error> {
    let broken = |detail: &str| Error::format(name, FORMAT, detail);
    if !is_mat(bytes) || bytes.len() < 128 {
        return Err(broken(
            "it does not begin with MATLAB 5.0 MAT-file (version 7.3 is HDF5: save with -v7)",
        ));
    }
    if bytes[126..128] != *b"IM" {
        return Err(broken("it is big-endian"));
    }
    let mut rest = &bytes[128..];
    let mut images = None;
    let mut labels = None;
    while !rest.is_empty() {
        let (kind, content, tail) =
            element(rest).ok_or_else(|| broken("it ends within an element"))?;
        rest = tail;
        let unpacked;
        let content = match kind {
            MI_COMPRESSED => {
                unpacked = inflate(content, name, limits)?;
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
    let (Some(images), Some(labels)) = (images, labels) else {
        return Err(broken("it lacks X or y"));
    };
    let &[height, width, channels, count] = &images.sizes[..] else {
        return Err(broken("X does not have four dimensions"));
    };
    let shape = ImageShape::new(height, width, channels);
    let size = limits.set_size(name, shape, count)?;
    if images.kind != MI_UINT8 || images.content.len() != size || channels != 3 {
        return Err(broken(
            "X is not an array of unsigned bytes in three channels of its declared size",
        ));
    }
    let labels = integers(&labels)
        .filter(|l| l.len() == count)
        .ok_or_else(|| broken("y does not hold one integer an image"))?;
    let labels: Vec<usize> = labels
        .into_iter()
        .map(|l| match l {
            10 => Some(0),
            0..=9 => usize::try_from(l).ok(),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| broken("a label is outside 0..=10"))?;
    // Column-major [H, W, C] of each image to row-major.
    let mut pixels = vec![0; size];
    let image_bytes = height * width * channels;
    for (image, out) in images
        .content
        .chunks_exact(image_bytes.max(1))
        .zip(pixels.chunks_exact_mut(image_bytes.max(1)))
    {
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    out[(y * width + x) * channels + c] = image[(c * width + x) * height + y];
                }
            }
        }
    }
    let classes = registry::classes_or_numbers("svhn", &labels);
    ImageSet::new(name, part, shape, pixels, Some(labels), classes)
}

fn inflate(content: &[u8], name: &str, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(content)
        .take(limits.file_bytes + 1)
        .read_to_end(&mut out)
        .map_err(|e| Error::format(name, FORMAT, e))?;
    if out.len() as u64 > limits.file_bytes {
        return Err(Error::TooLarge {
            origin: name.to_string(),
            what: "unpacked bytes",
            size: out.len() as u64,
            limit: limits.file_bytes,
        });
    }
    Ok(out)
}

fn integers(matrix: &Matrix) -> Option<Vec<i64>> {
    let c = &matrix.content[..];
    Some(match matrix.kind {
        MI_UINT8 => c.iter().map(|&b| i64::from(b)).collect(),
        MI_INT8 => c.iter().map(|&b| i64::from(b as i8)).collect(),
        3 => c
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| i64::from(i16::from_le_bytes(*b)))
            .collect(),
        4 => c
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| i64::from(u16::from_le_bytes(*b)))
            .collect(),
        MI_INT32 => c
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| i64::from(i32::from_le_bytes(*b)))
            .collect(),
        MI_UINT32 => c
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| i64::from(u32::from_le_bytes(*b)))
            .collect(),
        MI_DOUBLE => c
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .map(|v| (v.fract() == 0.0 && v.abs() < 1e9).then_some(v as i64))
            .collect::<Option<_>>()?,
        _ => return None,
    })
}
