//! The activation tensor.

use crate::element::{Element, Float};
use crate::error::{Result, check_len};
use crate::path::{Level, kernel_path, multiversion};
use crate::pool::Buffer;
use crate::shape::{LANES, Shape};
use rayon::prelude::*;

/// Rows of a matrix handed to a direct microkernel at once, from as many pixels as give so many images.
pub(crate) const MATRIX_ROWS: usize = 128;

/// Activations in the layout H W N C: all images and channels of a pixel stand together.
///
/// Channels are padded to a multiple of 16, the batch of bf16 tensors too, and pixels that would lie pages apart by a line of a cache;
/// the padding is zero and invisible from outside. Memory comes from the pool ([`crate::pool_statistics`]) and returns there.
pub struct Act<T: Element> {
    shape: Shape,
    n_stride: usize,
    c_stride: usize,
    /// From a pixel to the next.
    pixel_len: usize,
    data: Buffer<T>,
}

impl<T: Element> std::fmt::Debug for Act<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Act<{}>({})", T::NAME, self.shape)
    }
}

impl<T: Element> Act<T> {
    /// All zero.
    pub fn zeros(shape: Shape) -> Self {
        let mut act = Self::dirty(shape);
        act.data.fill(T::zeroed());
        act
    }

    /// Contents unspecified, padding images zero. Whoever asks writes every channel, padding included.
    pub(crate) fn dirty(shape: Shape) -> Self {
        let n_stride = shape.n.next_multiple_of(T::BATCH_ALIGN);
        let c_stride = shape.c.next_multiple_of(LANES);
        let pixel_len = n_stride * c_stride + gap::<T>(n_stride, c_stride);
        let mut act = Self {
            shape,
            n_stride,
            c_stride,
            pixel_len,
            data: Buffer::dirty(shape.pixels() * pixel_len),
        };
        let valid = act.valid_len();
        if pixel_len > valid {
            act.data
                .chunks_exact_mut(pixel_len)
                .for_each(|p| p[valid..].fill(T::zeroed()));
        }
        act
    }

    /// From a slice in torch's order [N, C, H, W].
    ///
    /// # Errors
    /// If the slice is not `shape.len()` long.
    pub fn from_nchw(shape: Shape, values: &[T::Param]) -> Result<Self> {
        check_len("the NCHW slice", values.len(), shape.len())?;
        let Shape { n, c, .. } = shape;
        let plane = shape.pixels();
        let mut act = Self::dirty(shape);
        let c_stride = act.c_stride;
        act.par_pixels_mut().enumerate().for_each(|(p, pixel)| {
            for (i, row) in pixel.chunks_exact_mut(c_stride).take(n).enumerate() {
                row[c..].fill(T::zeroed());
                for (k, v) in row[..c].iter_mut().enumerate() {
                    *v = T::narrow(values[(i * c + k) * plane + p]);
                }
            }
        });
        Ok(act)
    }

    /// From a dense slice in the order [H, W, N, C].
    ///
    /// # Errors
    /// If the slice is not `shape.len()` long.
    pub fn from_hwnc(shape: Shape, values: &[T::Param]) -> Result<Self> {
        check_len("the HWNC slice", values.len(), shape.len())?;
        let Shape { n, c, .. } = shape;
        let mut act = Self::dirty(shape);
        let c_stride = act.c_stride;
        if !shape.is_empty() {
            act.par_pixels_mut()
                .zip(values.par_chunks_exact(n * c))
                .for_each(|(pixel, source)| {
                    for (row, source) in
                        pixel.chunks_exact_mut(c_stride).zip(source.chunks_exact(c))
                    {
                        row[c..].fill(T::zeroed());
                        row.iter_mut()
                            .zip(source)
                            .for_each(|(v, &s)| *v = T::narrow(s));
                    }
                });
        }
        Ok(act)
    }

    /// To torch's order [N, C, H, W].
    pub fn to_nchw(&self) -> Vec<T::Param> {
        let Shape { n, c, .. } = self.shape;
        let plane = self.shape.pixels();
        let mut values = vec![T::Param::ZERO; self.shape.len()];
        for (p, pixel) in self.pixels().enumerate() {
            for (i, row) in pixel.chunks_exact(self.c_stride).take(n).enumerate() {
                for (k, v) in row[..c].iter().enumerate() {
                    values[(i * c + k) * plane + p] = v.widen();
                }
            }
        }
        values
    }

    /// To the dense order [H, W, N, C].
    pub fn to_hwnc(&self) -> Vec<T::Param> {
        let Shape { n, c, .. } = self.shape;
        let rows = self
            .pixels()
            .flat_map(|pixel| pixel.chunks_exact(self.c_stride).take(n));
        rows.flat_map(|row| row[..c].iter().map(|v| v.widen()))
            .collect()
    }

    /// Height, width, images, channels.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// A second tensor with the same contents.
    pub fn duplicate(&self) -> Self {
        let mut copy = Self {
            data: Buffer::dirty(self.data.len()),
            ..*self
        };
        let chunk = self.pixel_len().max(1);
        copy.data
            .par_chunks_mut(chunk)
            .zip(self.data.par_chunks(chunk))
            .for_each(|(d, s)| d.copy_from_slice(s));
        copy
    }

    /// Changes the values in place, pixels in parallel: for the pixel of a given index (row by row) `work` makes
    /// what is then called with the channels of each image in turn.
    pub fn update_pixels<W: FnMut(&mut [T])>(&mut self, work: impl Fn(usize) -> W + Sync) {
        let Shape { n, c, .. } = self.shape;
        let c_stride = self.c_stride.max(1);
        self.par_pixels_mut().enumerate().for_each(|(p, pixel)| {
            let mut change = work(p);
            let rows = pixel.chunks_exact_mut(c_stride).take(n);
            rows.for_each(|row| change(&mut row[..c]));
        });
    }

    /// Whether every value is finite.
    pub fn is_finite(&self) -> bool {
        let level = kernel_path().map_or(Level::Base, |p| p.level());
        self.data
            .par_chunks(1 << 14)
            .all(|chunk| all_finite(level, chunk))
    }

    /// The same values in another element type.
    pub(crate) fn convert<U: Element<Param = T::Param>>(&self) -> Act<U> {
        let mut out = Act::<U>::dirty(self.shape);
        let level = kernel_path().map_or(Level::Base, |p| p.level());
        let valid = self.shape.n * self.c_stride;
        out.par_pixels_mut()
            .zip(self.par_pixels())
            .for_each(|(d, s)| convert(level, &s[..valid], &mut d[..valid]));
        out
    }

    pub(crate) fn c_stride(&self) -> usize {
        self.c_stride
    }

    pub(crate) fn n_stride(&self) -> usize {
        self.n_stride
    }

    pub(crate) fn pixel_len(&self) -> usize {
        self.pixel_len
    }

    /// Elements of a pixel that belong to real images (channel padding included).
    pub(crate) fn valid_len(&self) -> usize {
        self.shape.n * self.c_stride
    }

    pub(crate) fn data(&self) -> &[T] {
        &self.data
    }

    pub(crate) fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    pub(crate) fn pixel(&self, p: usize) -> &[T] {
        &self.data[p * self.pixel_len()..][..self.pixel_len()]
    }

    pub(crate) fn pixels(&self) -> std::slice::ChunksExact<'_, T> {
        self.data.chunks_exact(self.pixel_len().max(1))
    }

    /// Pixels in parallel, a task never smaller than 32 KiB.
    pub(crate) fn par_pixels(&self) -> impl IndexedParallelIterator<Item = &[T]> {
        self.data
            .par_chunks_exact(self.pixel_len().max(1))
            .with_min_len(self.pixels_per_task())
    }

    pub(crate) fn par_pixels_mut(&mut self) -> impl IndexedParallelIterator<Item = &mut [T]> {
        let (len, per_task) = (self.pixel_len().max(1), self.pixels_per_task());
        self.data.par_chunks_exact_mut(len).with_min_len(per_task)
    }

    fn pixels_per_task(&self) -> usize {
        (32 * 1024 / (self.pixel_len() * size_of::<T>()).max(1)).max(1)
    }
}

/// Elements after each pixel. Pixels that lie a multiple of a page apart fall into the same sets of a cache, and a tile reads dozens of
/// them at a time: a line between them spreads them. Where few images stand together, rows of neighbouring pixels are multiplied as
/// one matrix ([`MATRIX_ROWS`]), so there is none.
fn gap<T: Element>(n_stride: usize, c_stride: usize) -> usize {
    const PAGE: usize = 4096;
    const LINE: usize = 64;
    let bytes = n_stride * c_stride * size_of::<T>();
    if bytes > 0 && bytes.is_multiple_of(PAGE) && 2 * n_stride > MATRIX_ROWS {
        LINE / size_of::<T>()
    } else {
        0
    }
}

multiversion! {
    fn all_finite<'a, T: Element>(values: &'a [T]) -> bool {
        // NaN and infinities are what a subtraction from itself does not turn into zero.
        values.iter().fold(true, |all, v| all & (v.widen() - v.widen() == T::Param::ZERO))
    }
}

fn convert<T: Element, U: Element<Param = T::Param>>(
    _level: Level,
    source: &[T],
    target: &mut [U],
) {
    target
        .iter_mut()
        .zip(source)
        .for_each(|(t, s)| *t = U::narrow(s.widen()));
}
