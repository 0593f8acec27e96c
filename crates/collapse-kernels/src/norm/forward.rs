//! `out = act(bn(y) + residual)` in one pass.

use super::{Activation, Affine, BatchNorm, Place};
use crate::act::Act;
use crate::element::{Element, Float};
use crate::error::{Error, Result, check_shape};
use crate::path::{kernel_path, multiversion};
use crate::shape::{LANES, Shape};
use rayon::prelude::*;

/// What is added before the activation.
#[derive(Debug, Clone, Copy)]
pub enum Residual<'a, T: Element> {
    /// Nothing.
    None,
    /// A tensor of the same shape.
    Identity(&'a Act<T>),
    /// The parameter-free shortcut: average pool with kernel = stride (plain subsampling where a side is odd, as in DDU's
    /// code), then zero channels appended.
    PoolPad {
        /// The block's input.
        x: &'a Act<T>,
        /// 1 or 2 in a ResNet.
        stride: usize,
    },
    /// A second normalised branch.
    BatchNorm {
        /// Output of the shortcut's convolution.
        y: &'a Act<T>,
        /// Its batch norm.
        bn: BatchNorm<'a, T::Param>,
    },
}

/// The average-pool shortcut between two shapes.
///
/// Source: DDU's `AvgPoolShortCut`: where a side is odd the map is subsampled (kernel 1) instead of averaged, so that the
/// size ⌈side / stride⌉ is the convolution's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shortcut {
    input: Shape,
    stride: usize,
    window: usize,
}

impl Shortcut {
    pub(crate) fn new(input: Shape, output: Shape, stride: usize) -> Result<Self> {
        let fits = stride > 0
            && input.h.div_ceil(stride) == output.h
            && input.w.div_ceil(stride) == output.w
            && input.n == output.n
            && input.c <= output.c;
        if !fits {
            return Err(Error::Shortcut {
                input,
                output,
                stride,
            });
        }
        let divides = input.h.is_multiple_of(stride) && input.w.is_multiple_of(stride);
        Ok(Self {
            input,
            stride,
            window: if divides { stride } else { 1 },
        })
    }

    pub(crate) fn cells(&self) -> usize {
        self.window * self.window
    }

    /// The input pixels averaged into the output pixel (y, x).
    pub(crate) fn sources(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let Self {
            input,
            stride,
            window,
        } = *self;
        let first = y * stride * input.w + x * stride;
        (0..window * window).map(move |k| first + k / window * input.w + k % window)
    }

    /// The output coordinates that input pixel (y, x) goes to, if any.
    pub(crate) fn target(&self, y: usize, x: usize) -> Option<(usize, usize)> {
        let inside = y % self.stride < self.window && x % self.stride < self.window;
        inside.then_some((y / self.stride, x / self.stride))
    }
}

/// What a task adds to one pixel.
enum Added<'a, T: Element> {
    None,
    Same(&'a [T]),
    Pooled {
        pixels: Vec<&'a [T]>,
        c_stride: usize,
    },
    Normalised {
        y: &'a [T],
        affine: &'a Affine<T::Param>,
    },
}

/// Batch norm, residual and activation.
///
/// # Errors
/// If a shape or a parameter's length does not fit `y`, or the path variable is wrong.
pub fn bn_act_forward<T: Element>(
    y: &Act<T>,
    bn: &BatchNorm<T::Param>,
    act: Activation,
    residual: Residual<T>,
) -> Result<Act<T>> {
    let shape = y.shape();
    bn.check(shape.c)?;
    let (mut shortcut, mut shortcut_affine) = (None, None);
    match residual {
        Residual::None => {}
        Residual::Identity(x) => check_shape("the residual", x.shape(), shape)?,
        Residual::PoolPad { x, stride } => {
            shortcut = Some((x, Shortcut::new(x.shape(), shape, stride)?))
        }
        Residual::BatchNorm { y: branch, bn } => {
            check_shape("the residual branch", branch.shape(), shape)?;
            bn.check(shape.c)?;
            shortcut_affine = Some(bn.affine());
        }
    }
    let level = kernel_path()?.level();
    let affine = bn.affine();
    let slope = act.slope::<T::Param>();
    let mut out = Act::dirty(shape);
    let valid = y.valid_len();
    out.par_pixels_mut().enumerate().for_each(|(p, target)| {
        let added = match (residual, shortcut, &shortcut_affine) {
            (Residual::Identity(x), ..) => Added::Same(&x.pixel(p)[..valid]),
            (_, Some((x, shortcut)), _) => Added::Pooled {
                pixels: shortcut
                    .sources(p / shape.w, p % shape.w)
                    .map(|q| x.pixel(q))
                    .collect(),
                c_stride: x.c_stride(),
            },
            (Residual::BatchNorm { y, .. }, _, Some(affine)) => Added::Normalised {
                y: &y.pixel(p)[..valid],
                affine,
            },
            _ => Added::None,
        };
        forward_pixel(
            level,
            &y.pixel(p)[..valid],
            &affine,
            slope,
            &added,
            &mut target[..valid],
        );
    });
    Ok(out)
}

multiversion! {
    fn forward_pixel<'a, T: Element>(
        y: &[T],
        affine: &Affine<T::Param>,
        slope: T::Param,
        added: &Added<'a, T>,
        out: &mut [T],
    ) {
        match added {
            Added::None => each_block(y, affine, slope, out, |_, _| [T::Param::ZERO; LANES]),
            Added::Same(x) => {
                let (x, _) = x.as_chunks::<LANES>();
                let blocks = affine.scale.len();
                each_block(y, affine, slope, out, |n, b| x[n * blocks + b].map(T::widen));
            }
            Added::Normalised { y: branch, affine: other } => {
                let (branch, _) = branch.as_chunks::<LANES>();
                let blocks = affine.scale.len();
                each_block(y, affine, slope, out, |n, b| {
                    let v = &branch[n * blocks + b];
                    let mut sum = [T::Param::ZERO; LANES];
                    for j in 0..LANES {
                        sum[j] = v[j].widen() * other.scale[b][j] + other.shift[b][j];
                    }
                    sum
                });
            }
            Added::Pooled { pixels, c_stride } => {
                let scale = T::Param::ONE / T::Param::from_f64(pixels.len() as f64);
                let blocks = c_stride / LANES;
                each_block(y, affine, slope, out, |n, b| {
                    let mut sum = [T::Param::ZERO; LANES];
                    if b < blocks {
                        for pixel in pixels {
                            let v = &pixel.as_chunks::<LANES>().0[n * blocks + b];
                            for j in 0..LANES {
                                sum[j] += v[j].widen();
                            }
                        }
                    }
                    sum.map(|s| s * scale)
                });
            }
        }
    }
}

#[inline(always)]
fn each_block<T: Element>(
    y: &[T],
    affine: &Affine<T::Param>,
    slope: T::Param,
    out: &mut [T],
    added: impl Fn(usize, usize) -> [T::Param; LANES],
) {
    let (y, _) = y.as_chunks::<LANES>();
    let (out, _) = out.as_chunks_mut::<LANES>();
    let mut place = Place::default();
    for (v, out) in y.iter().zip(out) {
        let Place { image, block } = place;
        let (scale, shift) = (&affine.scale[block], &affine.shift[block]);
        let added = added(image, block);
        // Written once all lanes are known: stores between the loads keep some compilers from using vectors.
        let mut lanes = [T::Param::ZERO; LANES];
        for j in 0..LANES {
            let sum = v[j].widen() * scale[j] + shift[j] + added[j];
            let factor = if sum > T::Param::ZERO {
                T::Param::ONE
            } else {
                slope
            };
            lanes[j] = sum * factor;
        }
        for j in 0..LANES {
            out[j] = T::narrow(lanes[j]);
        }
        place.advance(affine.scale.len());
    }
}
