//! Power iteration on a convolution, for spectral normalisation.
//!
//! Source: Mukhoti et al. (CVPR 2023), released code: the operator is the convolution of a 1×C×H×W input, not the matrix of its
//! weights; `v ← normalise(convᵀ(u))`, `u ← normalise(conv(v))`, σ = ⟨u, conv(v)⟩, norms kept from zero by 1e-12.
//!
//! A single image has too few rows for a microkernel. Its pixels stand for images instead: patches of the source of every
//! target pixel times the weights are one matrix product, and dσ/dW is another.

use crate::act::{Act, Shape};
use crate::conv::geometry::{Direction, Geometry, MAX_TAPS, Tap};
use crate::conv::{Conv, ConvWeights, conv_backward_weights};
use crate::element::Float;
use crate::error::{Result, check_len};

const EPSILON: f64 = 1e-12;

/// Order of the values of a patch.
#[derive(Clone, Copy)]
enum Order {
    /// That of packed weights.
    TapChannel,
    /// That of torch's weights.
    ChannelTap,
}

/// The convolution of one image and its maps.
struct Operator {
    conv: Conv,
    input: Shape,
    output: Shape,
}

impl Operator {
    fn new<P>(conv: Conv, h: usize, w: usize, u: &[P], v: &[P]) -> Result<Self> {
        let input = Shape {
            h,
            w,
            n: 1,
            c: conv.in_channels,
        };
        let output = conv.output_shape(input);
        check_len("the vector u [out, H, W]", u.len(), output.len())?;
        check_len("the vector v [in, H, W]", v.len(), input.len())?;
        Ok(Self {
            conv,
            input,
            output,
        })
    }

    /// conv(v), or convᵀ(u) towards the input, in the order of torch.
    fn apply<P: Float>(
        &self,
        direction: Direction,
        weights: &ConvWeights<P>,
        source: &[P],
    ) -> Result<Vec<P>> {
        let target = match direction {
            Direction::Forward => self.output,
            Direction::ToInput => self.input,
        };
        let patches = self.patches(direction, Order::TapChannel, source);
        let product = weights.times_patches(direction, &patches)?;
        let (pixels, stride) = (target.pixels(), product.c_stride());
        let mut out = vec![P::ZERO; target.len()];
        for (pixel, row) in product.data().chunks_exact(stride).take(pixels).enumerate() {
            for (channel, &value) in row[..target.c].iter().enumerate() {
                out[channel * pixels + pixel] = value;
            }
        }
        Ok(out)
    }

    /// What every target pixel sees of `source`, one row a pixel, zeros outside the map.
    fn patches<P: Float>(&self, direction: Direction, order: Order, source: &[P]) -> Act<P> {
        let (from, to) = match direction {
            Direction::Forward => (self.input, self.output),
            Direction::ToInput => (self.output, self.input),
        };
        let taps = self.conv.taps();
        let map = channels_last(source, from);
        let geometry = Geometry::new(self.conv, direction, from, to);
        let mut patches = Act::<P>::zeros(rows(to.pixels(), taps * from.c));
        let stride = patches.c_stride();
        let rows = patches.data_mut().chunks_exact_mut(stride);
        for (pixel, row) in rows.take(to.pixels()).enumerate() {
            let mut found = [Tap::default(); MAX_TAPS];
            let count = geometry.taps(pixel / to.w, pixel % to.w, from.c, &mut found);
            for tap in &found[..count] {
                let seen = &map[tap.source..][..from.c];
                match order {
                    Order::TapChannel => {
                        row[tap.index * from.c..][..from.c].copy_from_slice(seen);
                    }
                    Order::ChannelTap => {
                        for (values, &value) in row.chunks_exact_mut(taps).zip(seen) {
                            values[tap.index] = value;
                        }
                    }
                }
            }
        }
        patches
    }
}

/// `pixels` rows as a shape whose parts the drivers divide among threads and hand to microkernels many rows at once.
fn rows(pixels: usize, columns: usize) -> Shape {
    const IMAGES: usize = 16;
    const WIDTH: usize = 4;
    let groups = pixels.div_ceil(IMAGES);
    let w = groups.clamp(1, WIDTH);
    Shape {
        h: groups.div_ceil(w),
        w,
        n: IMAGES,
        c: columns,
    }
}

/// One image from torch's order [C, H, W] to [H, W, C].
fn channels_last<P: Float>(image: &[P], shape: Shape) -> Vec<P> {
    let mut out = vec![P::ZERO; image.len()];
    for (channel, plane) in image.chunks_exact(shape.pixels().max(1)).enumerate() {
        for (row, &value) in out.chunks_exact_mut(shape.c).zip(plane) {
            row[channel] = value;
        }
    }
    out
}

fn norm<P: Float>(x: &[P]) -> f64 {
    x.iter()
        .map(|v| v.to_f64() * v.to_f64())
        .sum::<f64>()
        .sqrt()
}

fn normalise<P: Float>(x: &mut [P]) {
    let scale = P::from_f64(1.0 / norm(x).max(EPSILON));
    x.iter_mut().for_each(|v| *v = *v * scale);
}

/// `iterations` rounds of the power iteration on the weights `oihw` over an h × w map; updates `u` [out · H_out · W_out] and
/// `v` [in · h · w], both flattened as torch flattens [1, C, H, W], and returns σ.
///
/// # Errors
/// If a length does not fit the convolution, or the path variable is wrong.
pub fn conv_power_iteration<P: Float>(
    conv: Conv,
    h: usize,
    w: usize,
    oihw: &[P],
    u: &mut [P],
    v: &mut [P],
    iterations: usize,
) -> Result<P> {
    let operator = Operator::new(conv, h, w, u, v)?;
    let weights = ConvWeights::<P>::pack(conv, oihw, P::ONE)?;
    let mut image = None;
    for _ in 0..iterations {
        v.copy_from_slice(&operator.apply(Direction::ToInput, &weights, u)?);
        normalise(v);
        let forward = operator.apply(Direction::Forward, &weights, v)?;
        u.copy_from_slice(&forward);
        normalise(u);
        image = Some(forward);
    }
    let image = match image {
        Some(image) => image,
        None => operator.apply(Direction::Forward, &weights, v)?,
    };
    Ok(inner(u, &image))
}

fn inner<P: Float>(a: &[P], b: &[P]) -> P {
    P::from_f64(a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum())
}

/// σ = ⟨u, conv(v)⟩ with `u` and `v` as they are.
///
/// # Errors
/// As [`conv_power_iteration`].
pub fn conv_sigma<P: Float>(
    conv: Conv,
    h: usize,
    w: usize,
    oihw: &[P],
    u: &[P],
    v: &[P],
) -> Result<P> {
    let operator = Operator::new(conv, h, w, u, v)?;
    let weights = ConvWeights::<P>::pack(conv, oihw, P::ONE)?;
    Ok(inner(u, &operator.apply(Direction::Forward, &weights, v)?))
}

/// dσ/dW [out, in, kernel, kernel] with `u` and `v` held constant.
///
/// # Errors
/// As [`conv_power_iteration`].
pub fn conv_sigma_gradient<P: Float>(
    conv: Conv,
    h: usize,
    w: usize,
    u: &[P],
    v: &[P],
) -> Result<Vec<P>> {
    let operator = Operator::new(conv, h, w, u, v)?;
    let patches = operator.patches(Direction::Forward, Order::ChannelTap, v);
    let mut outputs = Act::<P>::zeros(patches.shape().with_channels(conv.out_channels));
    let stride = outputs.c_stride();
    let image = channels_last(u, operator.output);
    for (row, values) in outputs
        .data_mut()
        .chunks_exact_mut(stride)
        .zip(image.chunks_exact(conv.out_channels))
    {
        row[..values.len()].copy_from_slice(values);
    }
    let product = Conv::new(patches.shape().c, conv.out_channels, 1, 1)?;
    let mut gradient = vec![P::ZERO; conv.weight_len()];
    conv_backward_weights(&patches, &outputs, product, &mut gradient)?;
    Ok(gradient)
}
