//! PNG and JPEG to pixels, upright, many at once.

use std::io::Cursor;

use rayon::prelude::*;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Limits, orientation};
use crate::resize::{Resizer, luma};
use crate::{Error, Fit, ImageShape};

/// A decoded image: grey or RGB, 8 bits.
pub(crate) struct Decoded {
    pub(crate) shape: ImageShape,
    pub(crate) pixels: Vec<u8>,
}

/// Largest number of pixels of one image; a bomb beyond it is refused before it is decoded.
const MAX_PIXELS: usize = 1 << 28;
/// What the PNG decoder may allocate beside the pixels.
const PNG_BUFFERS: usize = 256 << 20;

/// Fails for a size that no image of `encoded_length` bytes may have.
fn check_size(
    width: usize,
    height: usize,
    encoded_length: usize,
    limits: &Limits,
) -> Result<(), String> {
    let side = limits.side as usize;
    if width > side || height > side || width * height > MAX_PIXELS {
        return Err(format!(
            "{width}×{height} pixels exceed the limit of {side} a side"
        ));
    }
    if width == 0 || height == 0 {
        return Err("it has no pixels".to_string());
    }
    // Deflate shrinks 1,032-fold at most, and a byte of a PNG holds eight pixels at most.
    if width * height / 8256 > encoded_length + 64 {
        return Err(format!(
            "{encoded_length} bytes cannot hold {width}×{height} pixels"
        ));
    }
    Ok(())
}

/// Decodes one PNG or JPEG and turns it as its EXIF orientation says. Transparency is dropped, 16 bits become 8.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, String> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        decode_png(bytes, limits)
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        decode_jpeg(bytes, limits)
    } else if bytes.is_empty() {
        Err("it is empty".to_string())
    } else {
        Err("it is neither PNG nor JPEG".to_string())
    }
}

fn decode_png(bytes: &[u8], limits: &Limits) -> Result<Decoded, String> {
    let failed = |error: png::DecodingError| error.to_string();
    let allowed = png::Limits { bytes: PNG_BUFFERS };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), allowed);
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height, bytes.len(), limits)?;
    let (color, depth) = reader.output_color_type();
    let samples = match color {
        png::ColorType::Grayscale => 1,
        png::ColorType::GrayscaleAlpha => 2,
        png::ColorType::Rgb => 3,
        png::ColorType::Rgba => 4,
        png::ColorType::Indexed => return Err("its palette is missing".to_string()),
    };
    let sample_bytes = match depth {
        png::BitDepth::Eight => 1,
        png::BitDepth::Sixteen => 2,
        _ => return Err("its bit depth is not one that is read".to_string()),
    };
    let mut raw = vec![0; width * height * samples * sample_bytes];
    reader.next_frame(&mut raw).map_err(failed)?;
    let channels = if samples < 3 { 1 } else { 3 };
    let pixels = if sample_bytes == 2 {
        raw.chunks_exact(2 * samples)
            .flat_map(|pixel| &pixel.as_chunks::<2>().0[..channels])
            .map(|sample| narrowed(u16::from_be_bytes(*sample)))
            .collect()
    } else if samples == channels {
        raw
    } else {
        raw.chunks_exact(samples)
            .flat_map(|pixel| &pixel[..channels])
            .copied()
            .collect()
    };
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif.map_or(1, orientation::of_exif);
    let shape = ImageShape::new(height, width, channels);
    let (shape, pixels) = orientation::upright(shape, pixels, orientation);
    Ok(Decoded { shape, pixels })
}

/// A 16-bit sample as 8 bits, rounded.
fn narrowed(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

fn decode_jpeg(bytes: &[u8], limits: &Limits) -> Result<Decoded, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(limits.side as usize)
        .set_max_height(limits.side as usize);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let failed = |error: zune_jpeg::errors::DecodeErrors| error.to_string();
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    check_size(width, height, bytes.len(), limits)?;
    let (channels, color) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        _ => (3, ColorSpace::RGB),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(color));
    let orientation = decoder.exif().map_or(1, |exif| orientation::of_exif(exif));
    let mut pixels = vec![0; width * height * channels];
    decoder.decode_into(&mut pixels).map_err(failed)?;
    let shape = ImageShape::new(height, width, channels);
    let (shape, pixels) = orientation::upright(shape, pixels, orientation);
    Ok(Decoded { shape, pixels })
}

/// How to decode the images of one set.
pub(crate) struct Decoding<'a> {
    /// Where they come from.
    pub(crate) origin: &'a str,
    /// What an image is called there, by its position.
    pub(crate) name_of: &'a (dyn Fn(usize) -> String + Sync),
    /// Shape to bring every image to. Without it, all must agree in height and width, and the result is grey only when
    /// every image is.
    pub(crate) wanted: Option<ImageShape>,
    pub(crate) fit: Fit,
    pub(crate) limits: &'a Limits,
}

impl Decoding<'_> {
    /// Decodes all of `encoded` to one shape: pixels [N, H, W, C].
    ///
    /// # Errors
    /// [`Error::Image`] naming the image, [`Error::TooLarge`], [`Error::Inconsistent`] when there is none.
    pub(crate) fn all<B>(&self, encoded: &[B]) -> Result<(ImageShape, Vec<u8>), Error>
    where
        B: std::ops::Deref<Target = [u8]> + Sync,
    {
        let Some(first) = encoded.first() else {
            return Err(Error::inconsistent(self.origin, "it holds no image"));
        };
        let shape = match self.wanted {
            Some(shape) => shape,
            None => self.one(0, first)?.shape,
        };
        if let Some(pixels) = self.all_as(shape, encoded)? {
            return Ok((shape, pixels));
        }
        // A colour image came after grey ones.
        let shape = ImageShape {
            channels: 3,
            ..shape
        };
        let pixels = self.all_as(shape, encoded)?.ok_or_else(|| {
            Error::inconsistent(self.origin, "its images cannot be brought to colour")
        })?;
        Ok((shape, pixels))
    }

    fn one(&self, index: usize, bytes: &[u8]) -> Result<Decoded, Error> {
        decode(bytes, self.limits).map_err(|detail| self.failure(index, detail))
    }

    fn failure(&self, index: usize, detail: String) -> Error {
        Error::Image {
            origin: self.origin.to_string(),
            image: (self.name_of)(index),
            detail,
        }
    }

    /// `None` when `shape` is the first image's, grey, and another has colours.
    fn all_as<B>(&self, shape: ImageShape, encoded: &[B]) -> Result<Option<Vec<u8>>, Error>
    where
        B: std::ops::Deref<Target = [u8]> + Sync,
    {
        let size = self.limits.set_size(self.origin, shape, encoded.len())?;
        let mut pixels = vec![0u8; size];
        let slot = size / encoded.len();
        let colour_after_grey = pixels
            .par_chunks_mut(slot.max(1))
            .zip(encoded)
            .enumerate()
            .map(|(index, (out, bytes))| {
                let decoded = self.one(index, bytes)?;
                if self.wanted.is_none() && shape.channels == 1 && decoded.shape.channels == 3 {
                    return Ok::<_, Error>(true);
                }
                place(decoded, shape, self.wanted.map(|_| self.fit), out)
                    .map_err(|detail| self.failure(index, detail))?;
                Ok(false)
            })
            .try_reduce(|| false, |a, b| Ok(a || b))?;
        Ok((!colour_after_grey).then_some(pixels))
    }
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
