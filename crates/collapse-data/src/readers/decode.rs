//! PNG and JPEG to pixels, many at once.

use std::io::Cursor;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::{ColorType, DynamicImage, ImageDecoder};
use rayon::prelude::*;

use super::Limits;
use crate::resize::{Resizer, luma};
use crate::{Error, Fit, ImageShape};

/// A decoded image: grey or RGB, 8 bits.
pub(crate) struct Decoded {
    pub(crate) shape: ImageShape,
    pub(crate) pixels: Vec<u8>,
}

/// Largest number of pixels of one image; a bomb beyond it is refused before it is decoded.
const MAX_PIXELS: u64 = 1 << 28;

fn check_size(width: u32, height: u32, limits: &Limits) -> Result<(), String> {
    if width > limits.side
        || height > limits.side
        || u64::from(width) * u64::from(height) > MAX_PIXELS
    {
        return Err(format!(
            "{width}×{height} pixels exceed the limit of {} a side",
            limits.side
        ));
    }
    if width == 0 || height == 0 {
        return Err("it has no pixels".to_string());
    }
    Ok(())
}

fn finish(
    decoder: impl ImageDecoder,
    encoded_length: usize,
    limits: &Limits,
) -> Result<Decoded, String> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    // Neither PNG nor JPEG shrinks an image much more than a thousandfold.
    if decoder.total_bytes() / 4096 > encoded_length as u64 + 64 {
        return Err(format!(
            "{encoded_length} bytes cannot hold {width}×{height} pixels"
        ));
    }
    let (h, w) = (height as usize, width as usize);
    match decoder.color_type() {
        ColorType::L8 | ColorType::Rgb8 => {
            let channels = if decoder.color_type() == ColorType::L8 {
                1
            } else {
                3
            };
            let mut pixels = vec![0; h * w * channels];
            decoder.read_image(&mut pixels).map_err(|e| e.to_string())?;
            Ok(Decoded {
                shape: ImageShape::new(h, w, channels),
                pixels,
            })
        }
        other => {
            let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
            Ok(if other.has_color() {
                Decoded {
                    shape: ImageShape::new(h, w, 3),
                    pixels: image.into_rgb8().into_raw(),
                }
            } else {
                Decoded {
                    shape: ImageShape::new(h, w, 1),
                    pixels: image.into_luma8().into_raw(),
                }
            })
        }
    }
}

/// Decodes one PNG or JPEG.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, String> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let mut allowed = image::Limits::default();
        allowed.max_image_width = Some(limits.side);
        allowed.max_image_height = Some(limits.side);
        allowed.max_alloc = Some(256 << 20);
        let decoder =
            PngDecoder::with_limits(Cursor::new(bytes), allowed).map_err(|e| e.to_string())?;
        finish(decoder, bytes.len(), limits)
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
        finish(decoder, bytes.len(), limits)
    } else {
        Err("it is neither PNG nor JPEG".to_string())
    }
}

/// Decodes all of `encoded` to one shape: [N, H, W, C].
///
/// Without `wanted`, all images must agree in height and width, and the result is grey only when every image is.
pub(crate) fn decode_all(
    encoded: &[&[u8]],
    origin: &str,
    wanted: Option<ImageShape>,
    fit: Fit,
    limits: &Limits,
) -> Result<(ImageShape, Vec<u8>), Error> {
    let fail = |index: usize, detail: String| Error::Image {
        origin: origin.to_string(),
        index,
        detail,
    };
    let Some(first) = encoded.first() else {
        return Err(Error::inconsistent(origin, "it holds no image"));
    };
    let mut shape = match wanted {
        Some(shape) => shape,
        None => decode(first, limits).map_err(|e| fail(0, e))?.shape,
    };
    let target = |shape: ImageShape| -> Result<Option<Vec<u8>>, Error> {
        let size = limits.set_size(origin, shape, encoded.len())?;
        let mut pixels = vec![0u8; size];
        let slot = size / encoded.len();
        let colour_after_grey = pixels
            .par_chunks_mut(slot.max(1))
            .zip(encoded)
            .enumerate()
            .map(|(index, (out, bytes))| {
                let decoded = decode(bytes, limits).map_err(|e| fail(index, e))?;
                if wanted.is_none() && shape.channels == 1 && decoded.shape.channels == 3 {
                    return Ok(true);
                }
                place(decoded, shape, wanted.map(|_| fit), out).map_err(|e| fail(index, e))?;
                Ok(false)
            })
            .try_reduce(|| false, |a, b| Ok(a || b))?;
        Ok((!colour_after_grey).then_some(pixels))
    };
    if let Some(pixels) = target(shape)? {
        return Ok((shape, pixels));
    }
    shape.channels = 3;
    let pixels = target(shape)?
        .ok_or_else(|| Error::inconsistent(origin, "its images cannot be brought to colour"))?;
    Ok((shape, pixels))
}

/// Brings one decoded image into its slot; `fit` is `None` where sizes must already agree.
fn place(
    decoded: Decoded,
    shape: ImageShape,
    fit: Option<Fit>,
    out: &mut [u8],
) -> Result<(), String> {
    let Decoded {
        shape: from,
        pixels,
    } = decoded;
    let pixels = match (from.channels, shape.channels) {
        (1, 3) => pixels.iter().flat_map(|&v| [v, v, v]).collect(),
        (3, 1) => pixels
            .chunks_exact(3)
            .map(|p| luma(p[0], p[1], p[2]))
            .collect(),
        _ => pixels,
    };
    if (from.height, from.width) == (shape.height, shape.width) {
        out.copy_from_slice(&pixels);
        return Ok(());
    }
    let from = ImageShape {
        channels: shape.channels,
        ..from
    };
    match fit {
        Some(Fit::Resize) => Resizer::new(from, shape.height, shape.width).resize(&pixels, out),
        Some(Fit::Pad) if from.height <= shape.height && from.width <= shape.width => {
            crate::resize::pad(&pixels, from, out, shape);
        }
        Some(Fit::Pad) => return Err(format!("{from} pixels cannot be padded to {shape}")),
        None => {
            return Err(format!(
                "its size {from} differs from the first image's {shape}; ask for a shape"
            ));
        }
    }
    Ok(())
}
