//! Mean and variance of every channel.
#![allow(unsafe_code)]

use crate::act::Act;
use crate::element::{Element, Float};
use crate::error::Result;
use crate::path::{Level, kernel_path, multiversion};
use crate::pool::Buffer;
use crate::shape::{LANES, Shape};
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

/// Means and squared deviations of every channel over the values of each *cell*, some pixels of some images, later joined in order
/// (Chan, Golub and LeVeque 1983), so that neither threads nor a large mean spoil the variance.
pub(crate) struct Moments<P: Float> {
    /// With their padding.
    channels: usize,
    mean: Buffer<P>,
    squares: Buffer<P>,
}

/// The view tasks write through.
pub(crate) struct MomentsView<'a, P> {
    channels: usize,
    mean: SharedMut<'a, P>,
    squares: SharedMut<'a, P>,
}

impl<P: Float> Moments<P> {
    pub(crate) fn new(cells: usize, channels: usize) -> Self {
        Self {
            channels,
            mean: Buffer::dirty(cells * channels),
            squares: Buffer::dirty(cells * channels),
        }
    }

    pub(crate) fn view(&mut self) -> MomentsView<'_, P> {
        MomentsView {
            channels: self.channels,
            mean: SharedMut::new(&mut self.mean),
            squares: SharedMut::new(&mut self.squares),
        }
    }

    /// The statistics of the first `c` channels; `count` says how many values a cell has.
    pub(crate) fn combine(&self, c: usize, count: impl Fn(usize) -> usize) -> ChannelStatistics<P> {
        let stride = self.channels.max(1);
        let total: usize = (0..self.mean.len() / stride).map(&count).sum();
        if total == 0 {
            return ChannelStatistics {
                mean: vec![P::ZERO; c],
                variance: vec![P::ZERO; c],
                count: total,
            };
        }
        let (mut means, mut squares) = (vec![0.0; stride], vec![0.0; stride]);
        for (cell, row) in self.mean.chunks_exact(stride).enumerate() {
            let values = count(cell) as f64;
            means
                .iter_mut()
                .zip(row)
                .for_each(|(m, v)| *m += values * v.to_f64());
        }
        means.iter_mut().for_each(|m| *m /= total as f64);
        let cells = self
            .mean
            .chunks_exact(stride)
            .zip(self.squares.chunks_exact(stride));
        for (cell, (mean_row, square_row)) in cells.enumerate() {
            let values = count(cell) as f64;
            for k in 0..stride {
                let apart = mean_row[k].to_f64() - means[k];
                squares[k] += square_row[k].to_f64() + values * apart * apart;
            }
        }
        ChannelStatistics {
            mean: means[..c].iter().map(|&m| P::from_f64(m)).collect(),
            variance: squares[..c]
                .iter()
                .map(|&s| P::from_f64(s / total as f64))
                .collect(),
            count: total,
        }
    }
}

impl<P: Float> MomentsView<'_, P> {
    /// Where mean and squared deviations of some channels of a cell go.
    ///
    /// # Safety
    /// Nobody else has these channels of this cell meanwhile.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn lanes(
        &self,
        cell: usize,
        channel: usize,
        len: usize,
    ) -> (&mut [P], &mut [P]) {
        let at = cell * self.channels + channel;
        // SAFETY: the caller's promise.
        unsafe { (self.mean.slice(at, len), self.squares.slice(at, len)) }
    }
}

/// [`Moments`] of every pixel over blocks of images.
pub(crate) struct PixelMoments<P: Float> {
    shape: Shape,
    /// Images in a block; the last block of a pixel may have fewer.
    block: usize,
    moments: Moments<P>,
}

/// The view tasks write through.
pub(crate) struct PixelMomentsView<'a, P> {
    images: usize,
    block: usize,
    moments: MomentsView<'a, P>,
}

impl<P: Float> PixelMoments<P> {
    pub(crate) fn new(shape: Shape, block: usize) -> Self {
        let block = block.clamp(1, shape.n.max(1));
        let cells = shape.pixels() * shape.n.div_ceil(block);
        Self {
            shape,
            block,
            moments: Moments::new(cells, shape.c.next_multiple_of(LANES)),
        }
    }

    pub(crate) fn view(&mut self) -> PixelMomentsView<'_, P> {
        PixelMomentsView {
            images: self.shape.n,
            block: self.block,
            moments: self.moments.view(),
        }
    }

    pub(crate) fn combine(&self) -> ChannelStatistics<P> {
        let Shape { n, c, .. } = self.shape;
        let blocks = n.div_ceil(self.block).max(1);
        self.moments
            .combine(c, |cell| (n - cell % blocks * self.block).min(self.block))
    }
}

impl<P: Float> PixelMomentsView<'_, P> {
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
            let (column, channels) = (panel * LANES, self.moments.channels);
            // SAFETY: the caller's promise; the moments of a pixel's channels are as much its own as its values.
            let (mean, squares) = unsafe { self.moments.lanes(cell, column, LANES) };
            // SAFETY: the last row ends inside the pixel.
            let first =
                unsafe { values.pointer(pixel * pixel_len + first_image * channels + column) };
            let rows = Rows {
                first,
                stride: channels,
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
    let Moments { mean, squares, .. } = &mut moments.moments;
    let means = mean
        .par_chunks_exact_mut(len)
        .zip(squares.par_chunks_exact_mut(len));
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
