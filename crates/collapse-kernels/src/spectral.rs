//! Power iteration on a convolution, for spectral normalisation.
//!
//! Source: Mukhoti et al. (CVPR 2023), released code: the operator is the convolution of a 1×C×H×W input, not the matrix of its
//! weights; `v ← normalise(convᵀ(u))`, `u ← normalise(conv(v))`, σ = ⟨u, conv(v)⟩, norms kept from zero by 1e-12.
//!
//! A single image has too few rows for a microkernel. Its pixels stand for images instead: patches of the source of every
//! target pixel times the weights are one matrix product, and dσ/dW is another.

use crate::act::Act;
use crate::conv::ConvolveParam;
use crate::conv::geometry::{Direction, Geometry, MAX_TAPS, Tap};
use crate::conv::{Conv, conv_backward_weights, patches_times_panel};
use crate::element::Float;
use crate::error::{Result, check_len};
use crate::path::kernel_path;
use crate::pool::Buffer;
use crate::shape::{LANES, Shape};
use rayon::prelude::*;

const EPSILON: f64 = 1e-12;
/// Values copied below which another task costs more than it gains.
const VALUES_PER_TASK: usize = 16 << 10;

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

    /// conv(v), or convᵀ(u) towards the input, in the order of torch. Sixteen channels of the weights at a time go through cache.
    fn apply<P: ConvolveParam>(
        &self,
        direction: Direction,
        oihw: &[P],
        source: &[P],
    ) -> Result<Buffer<P>> {
        check_len(
            "the convolution weights",
            oihw.len(),
            self.conv.weight_len(),
        )?;
        let path = kernel_path()?;
        let target = match direction {
            Direction::Forward => self.output,
            Direction::ToInput => self.input,
        };
        let pixels = target.pixels();
        let patches = self.patches(direction, Order::TapChannel, source);
        let mut out = Buffer::dirty(target.len());
        out.par_chunks_mut((LANES * pixels).max(1))
            .enumerate()
            .try_for_each(|(panel, out)| {
                let product =
                    patches_times_panel(path, self.conv, direction, panel, oihw, &patches)?;
                let rows = product.data().as_chunks::<LANES>().0;
                for (channel, plane) in out.chunks_exact_mut(pixels).enumerate() {
                    for (value, row) in plane.iter_mut().zip(rows) {
                        *value = row[channel];
                    }
                }
                Ok(())
            })?;
        Ok(out)
    }

    /// What every target pixel sees of `source`, one row a pixel, zeros outside the map.
    fn patches<P: ConvolveParam>(
        &self,
        direction: Direction,
        order: Order,
        source: &[P],
    ) -> Act<P> {
        let (from, to) = match direction {
            Direction::Forward => (self.input, self.output),
            Direction::ToInput => (self.output, self.input),
        };
        let taps = self.conv.taps();
        let map = channels_last(source, from);
        let geometry = Geometry::new(self.conv, direction, from, to);
        let mut patches = Act::<P>::zeros(rows(to.pixels(), taps * from.c));
        let stride = patches.c_stride();
        let fill = |(pixel, row): (usize, &mut [P])| {
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
        };
        patches
            .data_mut()
            .par_chunks_exact_mut(stride)
            .take(to.pixels())
            .with_min_len((VALUES_PER_TASK / stride).max(1))
            .enumerate()
            .for_each(fill);
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
fn channels_last<P: Float>(image: &[P], shape: Shape) -> Buffer<P> {
    let mut out = Buffer::<P>::dirty(image.len());
    for (channel, plane) in image.chunks_exact(shape.pixels().max(1)).enumerate() {
        for (row, &value) in out.chunks_exact_mut(shape.c).zip(plane) {
            row[channel] = value;
        }
    }
    out
}

/// Inner product of two vectors of one length, summed in f64: sixteen interleaved sums, so that it vectorises in a fixed order.
pub fn inner_product<P: Float>(a: &[P], b: &[P]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for j in 0..LANES {
            sums[j] += a[j].to_f64() * b[j].to_f64();
        }
    }
    for (j, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[j] += a.to_f64() * b.to_f64();
    }
    sums.iter().sum()
}

fn normalise<P: Float>(x: &mut [P]) {
    let scale = P::from_f64(1.0 / inner_product(x, x).sqrt().max(EPSILON));
    x.iter_mut().for_each(|v| *v = *v * scale);
}

/// `iterations` rounds of the power iteration on the weights `oihw` over an h × w map; updates `u` [out · H_out · W_out] and
/// `v` [in · h · w], both flattened as torch flattens [1, C, H, W], and returns σ.
///
/// # Errors
/// If a length does not fit the convolution, or the path variable is wrong.
pub fn conv_power_iteration<P: ConvolveParam>(
    conv: Conv,
    h: usize,
    w: usize,
    oihw: &[P],
    u: &mut [P],
    v: &mut [P],
    iterations: usize,
) -> Result<P> {
    let operator = Operator::new(conv, h, w, u, v)?;
    let mut image = None;
    for _ in 0..iterations {
        v.copy_from_slice(&operator.apply(Direction::ToInput, oihw, u)?);
        normalise(v);
        let forward = operator.apply(Direction::Forward, oihw, v)?;
        u.copy_from_slice(&forward);
        normalise(u);
        image = Some(forward);
    }
    let image = match image {
        Some(image) => image,
        None => operator.apply(Direction::Forward, oihw, v)?,
    };
    Ok(P::from_f64(inner_product(u, &image)))
}

/// σ = ⟨u, conv(v)⟩ with `u` and `v` as they are.
///
/// # Errors
/// As [`conv_power_iteration`].
pub fn conv_sigma<P: ConvolveParam>(
    conv: Conv,
    h: usize,
    w: usize,
    oihw: &[P],
    u: &[P],
    v: &[P],
) -> Result<P> {
    let operator = Operator::new(conv, h, w, u, v)?;
    let image = operator.apply(Direction::Forward, oihw, v)?;
    Ok(P::from_f64(inner_product(u, &image)))
}

/// Adds `factor · dσ/dW` to `gradient` [out, in, kernel, kernel], with `u` and `v` held constant.
///
/// # Errors
/// As [`conv_power_iteration`].
pub fn add_conv_sigma_gradient<P: ConvolveParam>(
    conv: Conv,
    h: usize,
    w: usize,
    u: &[P],
    v: &[P],
    factor: P,
    gradient: &mut [P],
) -> Result<()> {
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
    check_len("the weight gradient", gradient.len(), conv.weight_len())?;
    let mut change = Buffer::dirty(conv.weight_len());
    conv_backward_weights(&patches, &outputs, product, factor, &mut change)?;
    gradient
        .par_iter_mut()
        .with_min_len(VALUES_PER_TASK)
        .zip(change.par_iter())
        .for_each(|(g, &change)| *g += change);
    Ok(())
}
