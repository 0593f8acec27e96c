//! Bilinear resizing with antialiasing, to the bit as Pillow does it for square images.
//!
//! Source: Pillow's `ImagingResample` for 8-bit images (which torchvision's `Resize` calls for PIL
//! images): a triangle filter stretched by the scale when shrinking, coefficients in 22-bit fixed
//! point, the horizontal pass first, and rounding to 8 bits between the passes. Pillow 13 runs the vertical pass
//! first for some tall images, which may differ by one grey level; for square images nothing differs. torchvision's
//! tensor path (`antialias=True` on float tensors) rounds only once and may differ by one grey level.

use rayon::prelude::*;

use crate::{Error, ImageSet, ImageShape};

const PRECISION_BITS: u32 = 32 - 8 - 2;

/// For every output position: first input position and its fixed-point weights.
struct Weights {
    start: Vec<usize>,
    weights: Vec<Vec<i32>>,
}

fn weights(input: usize, output: usize) -> Weights {
    let scale = input as f64 / output as f64;
    let filter_scale = scale.max(1.0);
    let support = filter_scale;
    let mut start = Vec::with_capacity(output);
    let mut all = Vec::with_capacity(output);
    for position in 0..output {
        let center = (position as f64 + 0.5) * scale;
        let low = ((center - support + 0.5).max(0.0)) as usize;
        let high = ((center + support + 0.5) as usize).min(input);
        let raw: Vec<f64> = (low..high)
            .map(|x| (1.0 - ((x as f64 - center + 0.5) / filter_scale).abs()).max(0.0))
            .collect();
        let sum: f64 = raw.iter().sum();
        let one = f64::from(1u32 << PRECISION_BITS);
        all.push(raw.iter().map(|w| (w / sum * one + 0.5) as i32).collect());
        start.push(low);
    }
    Weights {
        start,
        weights: all,
    }
}

fn round_clip(sum: i32) -> u8 {
    ((sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clamp(0, 255) as u8
}

/// A reusable plan for one pair of sizes.
pub(crate) struct Resizer {
    from: ImageShape,
    to: ImageShape,
    horizontal: Weights,
    vertical: Weights,
}

impl Resizer {
    /// Both shapes have the same number of channels and at least one pixel.
    pub(crate) fn new(from: ImageShape, height: usize, width: usize) -> Self {
        Self {
            from,
            to: ImageShape::new(height, width, from.channels),
            horizontal: weights(from.width, width),
            vertical: weights(from.height, height),
        }
    }

    pub(crate) fn resize(&self, image: &[u8], out: &mut [u8]) {
        let channels = self.from.channels;
        let (in_row, out_row) = (self.from.width * channels, self.to.width * channels);
        let mut between;
        let middle: &[u8] = if self.from.width == self.to.width {
            image
        } else {
            between = vec![0u8; self.from.height * out_row];
            for (source, target) in image
                .chunks_exact(in_row)
                .zip(between.chunks_exact_mut(out_row))
            {
                for x in 0..self.to.width {
                    let first = self.horizontal.start[x];
                    for c in 0..channels {
                        let mut sum = 0i32;
                        for (k, w) in self.horizontal.weights[x].iter().enumerate() {
                            sum += i32::from(source[(first + k) * channels + c]) * w;
                        }
                        target[x * channels + c] = round_clip(sum);
                    }
                }
            }
            &between
        };
        if self.from.height == self.to.height {
            out.copy_from_slice(middle);
            return;
        }
        for (y, target) in out.chunks_exact_mut(out_row).enumerate() {
            let first = self.vertical.start[y];
            for (x, value) in target.iter_mut().enumerate() {
                let mut sum = 0i32;
                for (k, w) in self.vertical.weights[y].iter().enumerate() {
                    sum += i32::from(middle[(first + k) * out_row + x]) * w;
                }
                *value = round_clip(sum);
            }
        }
    }
}

/// Red, green and blue to luma as Pillow's `convert("L")` (ITU-R 601-2, 16-bit fixed point).
pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// How an image reaches another height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fit {
    /// Bilinear with antialiasing, the aspect ratio given up.
    #[default]
    Resize,
    /// Centred on black; only towards larger sizes.
    Pad,
}

impl ImageSet {
    /// The same images in another shape: grey is repeated for three channels, colour becomes
    /// luma for one, and height and width follow `fit`. Labels and classes stay.
    ///
    /// # Errors
    /// [`Error::Parameter`] when `shape` is empty or too large, or padding would have to shrink.
    pub fn converted(&self, shape: ImageShape, fit: Fit) -> Result<Self, Error> {
        let from = self.shape();
        if from == shape {
            return Ok(self.clone());
        }
        let bytes = shape
            .bytes()
            .filter(|&b| b > 0 && b <= 1 << 26 && matches!(shape.channels, 1 | 3));
        let Some(bytes) = bytes else {
            return Err(Error::Parameter {
                name: "shape",
                value: shape.to_string(),
                remedy: "give at least one pixel, at most 64 MiB and 1 or 3 channels",
            });
        };
        if fit == Fit::Pad && (shape.height < from.height || shape.width < from.width) {
            return Err(Error::Parameter {
                name: "shape",
                value: shape.to_string(),
                remedy: "padding only enlarges; use Fit::Resize",
            });
        }
        let recoloured = ImageShape {
            channels: shape.channels,
            ..from
        };
        let resizer = Resizer::new(recoloured, shape.height, shape.width);
        let mut pixels = vec![0u8; bytes * self.len()];
        pixels
            .par_chunks_mut(bytes)
            .zip(self.pixels().par_chunks(self.image_bytes()))
            .for_each(|(out, image)| {
                let colour;
                let image = if from.channels == shape.channels {
                    image
                } else {
                    colour = recolour(image, shape.channels);
                    &colour
                };
                match fit {
                    Fit::Resize => resizer.resize(image, out),
                    Fit::Pad => pad(image, recoloured, out, shape),
                }
            });
        Self::from_parts(
            self.name().to_string(),
            self.part(),
            shape,
            pixels.into(),
            self.labels().map(<[usize]>::to_vec),
            self.shared_classes(),
        )
    }
}

fn recolour(image: &[u8], channels: usize) -> Vec<u8> {
    if channels == 3 {
        image.iter().flat_map(|&v| [v, v, v]).collect()
    } else {
        image
            .chunks_exact(3)
            .map(|p| luma(p[0], p[1], p[2]))
            .collect()
    }
}

pub(crate) fn pad(image: &[u8], from: ImageShape, out: &mut [u8], to: ImageShape) {
    let (top, left) = ((to.height - from.height) / 2, (to.width - from.width) / 2);
    let row = from.width * from.channels;
    for (y, source) in image.chunks_exact(row).enumerate() {
        let start = ((top + y) * to.width + left) * to.channels;
        out[start..start + row].copy_from_slice(source);
    }
}
