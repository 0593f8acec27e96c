//! Mean and variance of every channel.
#![allow(unsafe_code)]

use crate::act::{Act, LANES, Shape};
use crate::element::{Element, Float};
use crate::error::Result;
use crate::path::{Level, kernel_path, multiversion};
use crate::pool::Buffer;
use crate::shared::SharedMut;
use rayon::prelude::*;
use std::ops::Range;

/// Statistics of each channel over pixels and images.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics<P> {
    /// Mean.
    pub mean: Vec<P>,
    /// Biased variance: divided by `count`.
    pub variance: Vec<P>,
    /// Values per channel, h · w · n.
    pub count: usize,
}

/// Mean and squared deviations of every pixel over blocks of images, later joined in order (Chan, Golub and LeVeque
/// 1983), so that neither threads nor a large mean spoil the variance.
pub(crate) struct PixelMoments<P: Float> {
    shape: Shape,
    /// Images in a block; the last block of a pixel may have fewer.
    block: usize,
    mean: Buffer<P>,
    squares: Buffer<P>,
}

/// The view tasks write through.
pub(crate) struct MomentsView<'a, P> {
    images: usize,
    block: usize,
    channels: usize,
    mean: SharedMut<'a, P>,
    squares: SharedMut<'a, P>,
}

impl<P: Float> PixelMoments<P> {
    pub(crate) fn new(shape: Shape, block: usize) -> Self {
        let block = block.clamp(1, shape.n.max(1));
        let len = shape.pixels() * shape.n.div_ceil(block) * shape.c.next_multiple_of(LANES);
        Self {
            shape,
            block,
            mean: Buffer::dirty(len),
            squares: Buffer::dirty(len),
        }
    }

    pub(crate) fn view(&mut self) -> MomentsView<'_, P> {
        MomentsView {
            images: self.shape.n,
            block: self.block,
            channels: self.shape.c.next_multiple_of(LANES),
            mean: SharedMut::new(&mut self.mean),
            squares: SharedMut::new(&mut self.squares),
        }
    }

    pub(crate) fn combine(&self) -> ChannelStatistics<P> {
        let Shape { n, c, .. } = self.shape;
        let stride = c.next_multiple_of(LANES);
        let count = self.shape.pixels() * n;
        if count == 0 {
            return ChannelStatistics {
                mean: vec![P::ZERO; c],
                variance: vec![P::ZERO; c],
                count,
            };
        }
        let (mut means, mut squares) = (vec![0.0; stride], vec![0.0; stride]);
        let blocks = n.div_ceil(self.block);
        let images = |cell: usize| (n - cell % blocks * self.block).min(self.block) as f64;
        for (cell, row) in self.mean.chunks_exact(stride).enumerate() {
            means
                .iter_mut()
                .zip(row)
                .for_each(|(m, v)| *m += images(cell) * v.to_f64());
        }
        means.iter_mut().for_each(|m| *m /= count as f64);
        let cells = self
            .mean
            .chunks_exact(stride)
            .zip(self.squares.chunks_exact(stride));
        for (cell, (mean_row, square_row)) in cells.enumerate() {
            for k in 0..stride {
                let apart = mean_row[k].to_f64() - means[k];
                squares[k] += square_row[k].to_f64() + images(cell) * apart * apart;
            }
        }
        ChannelStatistics {
            mean: means[..c].iter().map(|&m| P::from_f64(m)).collect(),
            variance: squares[..c]
                .iter()
                .map(|&s| P::from_f64(s / count as f64))
                .collect(),
            count,
        }
    }
}

impl<P: Float> MomentsView<'_, P> {
    /// Measures the 16-channel `panels` of a block of images of a pixel of `values`.
    ///
    /// # Safety
    /// Nobody writes these channels of these images of `values`, or measures them, meanwhile.
    pub(crate) unsafe fn measure<T: Element<Param = P>>(
        &self,
        level: Level,
        (pixel, block): (usize, usize),
        panels: Range<usize>,
        values: &SharedMut<'_, T>,
        pixel_len: usize,
    ) {
        let first_image = block * self.block;
        let count = (self.images - first_image).min(self.block);
        let cell = pixel * self.images.div_ceil(self.block) + block;
        for panel in panels {
            let column = panel * LANES;
            let at = cell * self.channels + column;
            // SAFETY: the caller's promise; the moments of a pixel's channels are as much its own as its values.
            let (mean, squares) =
                unsafe { (self.mean.slice(at, LANES), self.squares.slice(at, LANES)) };
            // SAFETY: the last row ends inside the pixel.
            let first =
                unsafe { values.pointer(pixel * pixel_len + first_image * self.channels + column) };
            let rows = Rows {
                first,
                stride: self.channels,
                count,
                borrow: std::marker::PhantomData,
            };
            measure(level, rows, mean, squares);
        }
    }
}

/// 16 neighbouring channels of every image of a pixel. Made only where nobody writes them.
struct Rows<'a, T> {
    first: *const T,
    stride: usize,
    count: usize,
    borrow: std::marker::PhantomData<&'a T>,
}

impl<'a, T> Rows<'a, T> {
    #[inline(always)]
    fn row(&self, r: usize) -> &'a [T; LANES] {
        debug_assert!(r < self.count);
        // SAFETY: `measure` made the rows inside one pixel; nobody writes them, says its caller.
        unsafe { &*self.first.add(r * self.stride).cast() }
    }
}

multiversion! {
    fn measure<'a, T: Element>(rows: Rows<'a, T>, mean: &mut [T::Param], squares: &mut [T::Param]) {
        let mut sum = [T::Param::ZERO; LANES];
        for r in 0..rows.count {
            let row = rows.row(r);
            for j in 0..LANES {
                sum[j] += row[j].widen();
            }
        }
        let scale = T::Param::ONE / T::Param::from_f64(rows.count as f64);
        let centre = sum.map(|s| s * scale);
        let mut square = [T::Param::ZERO; LANES];
        // The mean is rounded; what it misses corrects the squares (the two-pass formula with compensation).
        let mut rest = [T::Param::ZERO; LANES];
        for r in 0..rows.count {
            let row = rows.row(r);
            for j in 0..LANES {
                let apart = row[j].widen() - centre[j];
                square[j] += apart * apart;
                rest[j] += apart;
            }
        }
        for j in 0..LANES {
            square[j] -= rest[j] * rest[j] * scale;
            rest[j] = centre[j] + rest[j] * scale;
        }
        mean.copy_from_slice(&rest);
        squares.copy_from_slice(&square);
    }
}

/// Mean and biased variance of every channel.
///
/// # Errors
/// If the path variable is wrong.
pub fn channel_statistics<T: Element>(x: &Act<T>) -> Result<ChannelStatistics<T::Param>> {
    Ok(channel_statistics_on(kernel_path()?.level(), x))
}

pub(crate) fn channel_statistics_on<T: Element>(
    level: Level,
    x: &Act<T>,
) -> ChannelStatistics<T::Param> {
    let mut moments = PixelMoments::<T::Param>::new(x.shape(), x.shape().n);
    let stride = x.c_stride();
    let len = stride.max(1);
    let means = moments
        .mean
        .par_chunks_exact_mut(len)
        .zip(moments.squares.par_chunks_exact_mut(len));
    means
        .zip(x.par_pixels())
        .for_each(|((mean, squares), pixel)| {
            for column in (0..stride).step_by(LANES) {
                let rows = Rows {
                    first: pixel[column..].as_ptr(),
                    stride,
                    count: x.shape().n,
                    borrow: std::marker::PhantomData,
                };
                measure(
                    level,
                    rows,
                    &mut mean[column..column + LANES],
                    &mut squares[column..column + LANES],
                );
            }
        });
    moments.combine()
}
