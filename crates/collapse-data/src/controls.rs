//! Generated out-of-distribution controls: what a detector must reject without any second data set.
//!
//! All are drawn from the seed's stream named after the control, image by image in order.

use collapse_random::Stream;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use serde::{Deserialize, Serialize};

use crate::readers::Limits;
use crate::readers::decode::decode;
use crate::{Error, ImageSet, ImageShape, Part};

/// A way to make a control set out of the in-distribution test set (its size and shape, or its pixels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Independent uniform values in 0..=255.
    UniformNoise,
    /// Independent normal values of mean 127.5 and standard deviation 64, clipped.
    GaussianNoise,
    /// One uniform colour an image.
    ConstantColour,
    /// The test images with their Fourier phases drawn anew, the amplitudes kept.
    PhaseScrambled,
    /// The test images cut into a grid of patches (4×4 where the sides allow) that are permuted.
    PermutedPatches,
    /// The test images after a JPEG of quality 30, colours not subsampled: near-distribution, a good detector keeps most.
    JpegRoundTrip,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::UniformNoise,
        Self::GaussianNoise,
        Self::ConstantColour,
        Self::PhaseScrambled,
        Self::PermutedPatches,
        Self::JpegRoundTrip,
    ];

    /// Name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UniformNoise => "uniform-noise",
            Self::GaussianNoise => "gaussian-noise",
            Self::ConstantColour => "constant-colour",
            Self::PhaseScrambled => "phase-scrambled",
            Self::PermutedPatches => "permuted-patches",
            Self::JpegRoundTrip => "jpeg-round-trip",
        }
    }

    /// The control of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.name() == name)
    }

    /// What it shows, in a line.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::UniformNoise => "independent uniform values",
            Self::GaussianNoise => {
                "independent normal values, mean 127.5, standard deviation 64, clipped"
            }
            Self::ConstantColour => "one colour an image",
            Self::PhaseScrambled => "the test images with their Fourier phases drawn anew",
            Self::PermutedPatches => "the test images with 4×4 patches permuted",
            Self::JpegRoundTrip => "the test images after a JPEG of quality 30",
        }
    }

    /// Makes the control from the in-distribution `test` set: as many images, of the same shape, unlabelled.
    ///
    /// # Errors
    /// [`Error::Image`] if the JPEG coder refuses an image.
    pub fn make(self, test: &ImageSet, seed: u64) -> Result<ImageSet, Error> {
        let shape = test.shape();
        let mut stream = Stream::new(seed, self.name(), 0);
        let mut pixels = test.pixels().to_vec();
        let image_bytes = shape.height * shape.width * shape.channels;
        match self {
            Self::UniformNoise => fill_uniform(&mut pixels, &mut stream),
            Self::GaussianNoise => {
                for value in &mut pixels {
                    // `as` saturates, which is the clipping.
                    *value = (127.5 + 64.0 * stream.normal()).round() as u8;
                }
            }
            Self::ConstantColour => {
                for image in pixels.chunks_mut(image_bytes) {
                    let mut colour = [0u8; 3];
                    fill_uniform(&mut colour, &mut stream);
                    for pixel in image.chunks_mut(shape.channels) {
                        pixel.copy_from_slice(&colour[..shape.channels]);
                    }
                }
            }
            Self::PhaseScrambled => {
                let fourier = Fourier::new(shape.height, shape.width);
                for image in pixels.chunks_mut(image_bytes) {
                    fourier.scramble(image, shape.channels, &mut stream);
                }
            }
            Self::PermutedPatches => {
                for image in pixels.chunks_mut(image_bytes) {
                    permute_patches(image, shape, &mut stream);
                }
            }
            Self::JpegRoundTrip => {
                for (index, image) in pixels.chunks_mut(image_bytes).enumerate() {
                    jpeg_round_trip(image, shape).map_err(|detail| Error::Image {
                        origin: test.name().to_string(),
                        image: index.to_string(),
                        detail,
                    })?;
                }
            }
        }
        ImageSet::new(self.name(), Part::Test, shape, pixels, None, Vec::new())
    }
}

fn fill_uniform(bytes: &mut [u8], stream: &mut Stream) {
    for part in bytes.chunks_mut(4) {
        part.copy_from_slice(&stream.bits().to_le_bytes()[..part.len()]);
    }
}

/// Cosines and sines of a separable discrete Fourier transform; images are small, so a matrix does.
struct Fourier {
    height: usize,
    width: usize,
    rows: Vec<(f64, f64)>,
    columns: Vec<(f64, f64)>,
}

fn roots(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|k| (std::f64::consts::TAU * k as f64 / n as f64).sin_cos())
        .map(|(s, c)| (c, s))
        .collect()
}

impl Fourier {
    fn new(height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            rows: roots(height),
            columns: roots(width),
        }
    }

    /// Unnormalised transform along both axes; `sign` -1 forwards, 1 backwards.
    fn transform(&self, plane: &mut [(f64, f64)], sign: f64) {
        let line = |values: &[(f64, f64)], roots: &[(f64, f64)]| -> Vec<(f64, f64)> {
            let n = values.len();
            (0..n)
                .map(|k| {
                    values.iter().enumerate().fold((0.0, 0.0), |sum, (j, v)| {
                        let (c, s) = roots[k * j % n];
                        let s = sign * s;
                        (sum.0 + v.0 * c - v.1 * s, sum.1 + v.0 * s + v.1 * c)
                    })
                })
                .collect()
        };
        for row in plane.chunks_mut(self.width) {
            let out = line(row, &self.columns);
            row.copy_from_slice(&out);
        }
        for x in 0..self.width {
            let column: Vec<_> = (0..self.height)
                .map(|y| plane[y * self.width + x])
                .collect();
            for (y, value) in line(&column, &self.rows).into_iter().enumerate() {
                plane[y * self.width + x] = value;
            }
        }
    }

    /// Adds the phases of one white-noise plane to all channels, so colours stay related and the result is real.
    fn scramble(&self, image: &mut [u8], channels: usize, stream: &mut Stream) {
        let n = self.height * self.width;
        let mut noise: Vec<(f64, f64)> =
            (0..n).map(|_| (stream.open_uniform() - 0.5, 0.0)).collect();
        self.transform(&mut noise, -1.0);
        for c in 0..channels {
            let mut plane: Vec<(f64, f64)> = (0..n)
                .map(|i| (f64::from(image[i * channels + c]), 0.0))
                .collect();
            self.transform(&mut plane, -1.0);
            // The mean keeps its sign; every other coefficient is turned by the noise's phase.
            for (value, turn) in plane.iter_mut().zip(&noise).skip(1) {
                let length = turn.0.hypot(turn.1).max(f64::MIN_POSITIVE);
                let (c, s) = (turn.0 / length, turn.1 / length);
                *value = (value.0 * c - value.1 * s, value.0 * s + value.1 * c);
            }
            self.transform(&mut plane, 1.0);
            for (i, value) in plane.iter().enumerate() {
                image[i * channels + c] = (value.0 / n as f64).round() as u8;
            }
        }
    }
}

fn permute_patches(image: &mut [u8], shape: ImageShape, stream: &mut Stream) {
    let grid = if shape.height.is_multiple_of(4) && shape.width.is_multiple_of(4) {
        4
    } else {
        1
    };
    let (h, w) = (shape.height / grid, shape.width / grid);
    let order = stream.permutation(grid * grid);
    let original = image.to_vec();
    let row = w * shape.channels;
    for (to, &from) in order.iter().enumerate() {
        for y in 0..h {
            let start = |patch: usize| {
                ((patch / grid * h + y) * shape.width + patch % grid * w) * shape.channels
            };
            image[start(to)..start(to) + row]
                .copy_from_slice(&original[start(from)..start(from) + row]);
        }
    }
}

fn jpeg_round_trip(image: &mut [u8], shape: ImageShape) -> Result<(), String> {
    let side = |n: usize| u16::try_from(n).map_err(|_| format!("{n} pixels exceed JPEG's sides"));
    let colour = if shape.channels == 1 {
        ColorType::Luma
    } else {
        ColorType::Rgb
    };
    let mut encoded = Vec::new();
    let mut encoder = Encoder::new(&mut encoded, 30);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder
        .encode(image, side(shape.width)?, side(shape.height)?, colour)
        .map_err(|e| e.to_string())?;
    let decoded = decode(&encoded, &Limits::default())?;
    image.copy_from_slice(&decoded.pixels);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_set() -> ImageSet {
        let shape = ImageShape::new(8, 12, 3);
        let pixels = (0..5 * 288u32).map(|i| (i * i / 7 % 200) as u8).collect();
        ImageSet::new(
            "t",
            Part::Test,
            shape,
            pixels,
            Some(vec![0; 5]),
            vec!["a".into()],
        )
        .unwrap()
    }

    #[test]
    fn controls_follow_the_seed_and_differ_from_the_originals() {
        let test = test_set();
        for control in Control::ALL {
            let made = control.make(&test, 1).unwrap();
            assert_eq!((made.len(), made.shape()), (test.len(), test.shape()));
            assert_eq!(made.pixels(), control.make(&test, 1).unwrap().pixels());
            assert_ne!(made.pixels(), test.pixels(), "{}", control.name());
        }
    }

    #[test]
    fn permuting_keeps_pixels_and_scrambling_keeps_the_mean() {
        let test = test_set();
        let permuted = Control::PermutedPatches.make(&test, 3).unwrap();
        let sorted = |set: &ImageSet| {
            let mut bytes = set.image(2).unwrap().to_vec();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(&permuted), sorted(&test));
        let scrambled = Control::PhaseScrambled.make(&test, 3).unwrap();
        for (a, b) in scrambled
            .channel_statistics()
            .mean
            .iter()
            .zip(test.channel_statistics().mean)
        {
            assert!((a - b).abs() < 0.02);
        }
    }
}
