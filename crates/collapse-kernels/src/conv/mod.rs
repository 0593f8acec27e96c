//! Convolution: forward, gradient to the input, gradient to the weights.
//!
//! In the layout H W N C every filter tap of a pixel is a plain matrix, images × channels, so a convolution is a
//! sum of matrix products gathered tap by tap: no im2col, no padded copy, and taps that fall into the zero
//! padding are never multiplied. The gradient to the input is the same gathering with the taps inverted
//! ([`geometry`]); a stride inserts no zeros. The drivers ([`gather`], [`outer`]) own loops, caches and threads; the
//! microkernels own registers. [`winograd`] does the same sums with fewer multiplications; [`algorithm`] says when.

pub(crate) mod algorithm;
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod element;
mod gather;
pub(crate) mod geometry;
mod kernel;
mod outer;
mod pack;
mod portable;
mod winograd;

pub use algorithm::{
    CONVOLUTION_VARIABLE, ConvolutionAlgorithm, convolution_algorithm, with_convolution,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use amx::hardware::{TileSession, tile_products};
pub(crate) use element::Packed;
pub use element::{Convolve, ConvolveParam, NetworkElement};

use crate::act::Act;
use crate::element::{Element, Float};
use crate::error::{Error, Result, check_len, check_shape};
use crate::norm::ChannelStatistics;
use crate::path::{KernelPath, kernel_path};
use crate::pool::Buffer;
use crate::shape::{LANES, Shape};
use geometry::{Direction, Geometry};
use kernel::Store;
use pack::{PanelLayout, pack_panel};

/// A convolution without bias, zero-padded by `kernel / 2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
}

impl Conv {
    /// A convolution with filters of `kernel` × `kernel`.
    ///
    /// # Errors
    /// If the kernel is not 1 or 3, the stride not 1 or 2, or a channel count is 0.
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Self> {
        let channels = in_channels.min(out_channels) > 0;
        if channels && matches!(kernel, 1 | 3) && matches!(stride, 1 | 2) {
            Ok(Self {
                in_channels,
                out_channels,
                kernel,
                stride,
            })
        } else {
            Err(Error::Conv {
                in_channels,
                out_channels,
                kernel,
                stride,
            })
        }
    }

    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// Side of the filter, 1 or 3.
    #[must_use]
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// Stride, 1 or 2.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Number of weights: out × in × kernel × kernel.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.in_channels * self.taps()
    }

    /// Shape of the output for an input of this shape.
    pub fn output_shape(&self, input: Shape) -> Shape {
        let side = |s: usize| s.div_ceil(self.stride);
        Shape {
            h: side(input.h),
            w: side(input.w),
            n: input.n,
            c: self.out_channels,
        }
    }

    /// Multiplications and additions of one forward pass, taps in the zero padding counted (the usual convention).
    pub fn flops(&self, input: Shape) -> f64 {
        let output = self.output_shape(input);
        2.0 * (output.pixels() * output.n) as f64 * self.weight_len() as f64
    }

    pub(crate) fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    fn check_input(&self, what: &'static str, shape: Shape) -> Result<()> {
        check_shape(what, shape, shape.with_channels(self.in_channels))
    }
}

/// Weights in the order the kernels of one path read them, or their transforms, for the forward pass and for the gradient to the input.
pub struct ConvWeights<T: Convolve> {
    conv: Conv,
    path: KernelPath,
    forward: T::Packed,
    to_input: T::Packed,
}

impl<T: Convolve> ConvWeights<T> {
    /// Packs master weights, `oihw` row-major [out, in, kernel, kernel], each times `scale` (1, or the factor of
    /// spectral normalisation), for the path and the algorithm in force.
    ///
    /// `map` is the height and width of the input they will meet, which decides the algorithm (see [`ConvolutionAlgorithm`]); any other
    /// map is served as well, if perhaps not as fast.
    ///
    /// # Errors
    /// If the slice does not have `conv.weight_len()` elements or an environment variable is wrong.
    pub fn pack(
        conv: Conv,
        map: (usize, usize),
        oihw: &[T::Param],
        scale: T::Param,
    ) -> Result<Self> {
        check_len("the convolution weights", oihw.len(), conv.weight_len())?;
        let path = kernel_path()?;
        let [forward, backward] = convolution_algorithm()?.tiles(conv, map, T::preference(path));
        let mut packed = Self {
            conv,
            path,
            forward: T::memory(path, conv, Direction::Forward, forward),
            to_input: T::memory(path, conv, Direction::ToInput, backward),
        };
        packed.repack(oihw, scale)?;
        Ok(packed)
    }

    /// Packs new values into the same memory.
    ///
    /// # Errors
    /// If the slice does not have `conv.weight_len()` elements.
    pub fn repack(&mut self, oihw: &[T::Param], scale: T::Param) -> Result<()> {
        check_len(
            "the convolution weights",
            oihw.len(),
            self.conv.weight_len(),
        )?;
        T::pack(
            self.path,
            self.conv,
            oihw,
            scale,
            &mut self.forward,
            &mut self.to_input,
        );
        Ok(())
    }

    /// The convolution they belong to.
    pub fn conv(&self) -> Conv {
        self.conv
    }

    fn check_path(&self) -> Result<KernelPath> {
        let running = kernel_path()?;
        if running == self.path {
            Ok(running)
        } else {
            Err(Error::PackedForAnotherPath {
                packed: self.path,
                running,
            })
        }
    }
}

/// Rows of patches, [(tap, source channel)] each, times sixteen target channels of the weights, those of a panel: what the
/// convolution gathers, for callers that have gathered already. The panel is packed and used while it is in cache.
pub(crate) fn patches_times_panel<P: ConvolveParam>(
    path: KernelPath,
    conv: Conv,
    direction: Direction,
    panel: usize,
    oihw: &[P],
    patches: &Act<P>,
) -> Result<Act<P>> {
    let mut weights = Buffer::dirty(PanelLayout::new(conv, direction, 1).panel_len());
    pack_panel(path.level(), conv, direction, panel, oihw, &mut weights);
    // Real weights are packed without padding between taps, so that all taps together are the channels of a 1×1 convolution.
    let product = Conv::new(patches.shape().c, LANES, 1, 1)?;
    let target = patches.shape().with_channels(LANES);
    let geometry = Geometry::new(product, Direction::Forward, patches.shape(), target);
    let mut out = Act::dirty(target);
    let weights = Packed::direct(weights);
    P::multiply(path, &geometry, patches, &weights, &mut out, Store::Write);
    Ok(out)
}

/// The output of a convolution, and its statistics if they were asked for.
pub type Measured<T> = (Act<T>, Option<ChannelStatistics<<T as Element>::Param>>);

/// `y = conv(x)`; with `statistics` also mean and biased variance of every channel of `y`, taken while `y` is in cache.
///
/// # Errors
/// If `x` does not have the convolution's input channels, or the weights were packed for another path.
pub fn conv_forward<T: Convolve>(
    x: &Act<T>,
    w: &ConvWeights<T>,
    statistics: bool,
) -> Result<Measured<T>> {
    w.conv.check_input("the convolution input", x.shape())?;
    let path = w.check_path()?;
    let output = w.conv.output_shape(x.shape());
    let geometry = Geometry::new(w.conv, Direction::Forward, x.shape(), output);
    let store = if statistics {
        Store::WriteAndMeasure
    } else {
        Store::Write
    };
    let mut y = Act::dirty(output);
    let statistics = T::multiply(path, &geometry, x, &w.forward, &mut y, store);
    Ok((y, statistics))
}

/// Gradient of the loss to the input of shape `input`, given `dy`. With `accumulate` the gradient is added into that
/// tensor, whose storage is returned.
///
/// # Errors
/// If a shape does not belong to this convolution, or the weights were packed for another path.
pub fn conv_backward_data<T: Convolve>(
    dy: &Act<T>,
    w: &ConvWeights<T>,
    input: Shape,
    accumulate: Option<Act<T>>,
) -> Result<Act<T>> {
    w.conv.check_input("the convolution input", input)?;
    check_shape(
        "the output gradient",
        dy.shape(),
        w.conv.output_shape(input),
    )?;
    let path = w.check_path()?;
    let store = if accumulate.is_some() {
        Store::Add
    } else {
        Store::Write
    };
    let mut dx = accumulate.unwrap_or_else(|| Act::dirty(input));
    check_shape("the gradient to add to", dx.shape(), input)?;
    let geometry = Geometry::new(w.conv, Direction::ToInput, dy.shape(), input);
    T::multiply(path, &geometry, dy, &w.to_input, &mut dx, store);
    Ok(dx)
}

/// Gradient of the loss to the weights times `scale` (1, or the factor of spectral normalisation), written over `dw`
/// (row-major [out, in, kernel, kernel]).
///
/// # Errors
/// If a shape or the length of `dw` does not belong to this convolution, or the path variable is wrong.
pub fn conv_backward_weights<T: Convolve>(
    x: &Act<T>,
    dy: &Act<T>,
    conv: Conv,
    scale: T::Param,
    dw: &mut [T::Param],
) -> Result<()> {
    conv.check_input("the convolution input", x.shape())?;
    check_shape(
        "the output gradient",
        dy.shape(),
        conv.output_shape(x.shape()),
    )?;
    check_len("the weight gradient", dw.len(), conv.weight_len())?;
    if x.shape().is_empty() {
        dw.fill(T::Param::ZERO);
    } else {
        let path = kernel_path()?;
        let (algorithm, map) = (convolution_algorithm()?, algorithm::map(x.shape()));
        let preference = T::preference(path);
        let tile = algorithm::for_weights(algorithm, conv, map, preference, size_of::<T>());
        T::weight_gradient(path, tile, conv, x, dy, scale, dw);
    }
    Ok(())
}
