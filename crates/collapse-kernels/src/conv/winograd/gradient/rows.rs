//! Steps of the gradient to the weights: both transforms, the products of a point, the end.
#![allow(unsafe_code)]

use super::super::blocks::Block;
use super::super::kernel::{BLOCK_ROWS, Kernel, Outer, Param, Work, line};
use super::super::points::{Adjoint, Linear};
use super::super::tile::{self, Window};
use super::Target;
use super::division::{Division, PART};
use crate::act::Act;
use crate::conv::outer::write_weights;
use crate::element::Float;
use crate::shape::LANES;
use crate::shared::SharedMut;
use std::marker::PhantomData;

/// Both maps and how they divide.
///
/// V and Y stand as `[point][line / 8][panel of sixteen channels][8 lines][16 words]`; a line is a row, or a pair of rows of two images
/// where the path multiplies pairs.
pub(super) struct Rows<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    pub(super) x: &'a Act<K::E>,
    pub(super) dy: &'a Act<K::E>,
    pub(super) division: &'a Division,
    pub(super) algorithm: PhantomData<T>,
}

/// Where a line begins among those of a point.
#[inline(always)]
fn line_start<K: Kernel>(line_index: usize, panels: usize) -> usize {
    (line_index / BLOCK_ROWS * panels * BLOCK_ROWS + line_index % BLOCK_ROWS) * line::<K>()
}

impl<K, T, const I: usize, const A: usize, const M: usize> Rows<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Adjoint<I, A, M>,
{
    /// V and Y of some images, numbered within the block, of a tile.
    ///
    /// # Safety
    /// Nobody else has these lines.
    #[inline(always)]
    unsafe fn transform(
        &self,
        kernel: K,
        block: &Block,
        tile: usize,
        images: std::ops::Range<usize>,
        v: &SharedMut<'_, K::E>,
        y: &SharedMut<'_, K::E>,
    ) {
        let division = self.division;
        let (line, column) = division.tiling.place(tile);
        let (xs, ys) = (self.x.shape(), self.dy.shape());
        let x_window = Window::<I>::new(
            (xs.h, xs.w),
            self.x.pixel_len(),
            (line * T::STEP, column * T::STEP),
            T::MARGIN,
        );
        let y_window =
            Window::<M>::new((ys.h, ys.w), self.dy.pixel_len(), (line * M, column * M), 0);
        let first_row = (tile - block.tiles.start) * block.images;
        for image in images.step_by(K::GROUP) {
            let line_index = (first_row + image) / K::GROUP;
            let image = block.first_image + image;
            // SAFETY: the windows keep to their maps; the lines are the caller's. Where images are paired, tensors hold an even number.
            unsafe {
                lines::<K, T::Input, I, A>(
                    kernel,
                    (self.x.data(), image * self.x.c_stride(), self.x.c_stride()),
                    &x_window,
                    (
                        v,
                        line_start::<K>(line_index, division.x_panels),
                        division.v_point,
                    ),
                );
                lines::<K, T::Spread, M, A>(
                    kernel,
                    (
                        self.dy.data(),
                        image * self.dy.c_stride(),
                        self.dy.c_stride(),
                    ),
                    &y_window,
                    (
                        y,
                        line_start::<K>(line_index, division.dy_panels),
                        division.y_point,
                    ),
                );
            }
        }
    }

    /// Writes the gradient of a job's channels from its sums.
    pub(super) fn collect(
        &self,
        kernel: K,
        job: usize,
        sums: &[Param<K>],
        target: &Target<'_, Param<K>>,
    ) {
        let division = self.division;
        let (part, group) = division.job(job);
        let (channels, columns) = (division.channels(part), division.columns(group));
        let mut taps = vec![
            [[Param::<K>::ZERO; LANES]; LANES * 9];
            channels.div_ceil(LANES) * (columns / LANES)
        ];
        kernel.run(Collecting::<K, T, I, A, M> {
            sums,
            channels,
            columns,
            taps: &mut taps,
            algorithm: PhantomData,
        });
        for (block, taps) in taps.iter().enumerate() {
            let (x_panel, dy_panel) = (
                part * PART / LANES + block / (columns / LANES),
                2 * group + block % (columns / LANES),
            );
            write_weights(
                target.conv,
                (x_panel, dy_panel),
                target.scale,
                taps,
                &target.dw,
            );
        }
    }

    /// Zeros in the lines that fill the last eight.
    #[inline(always)]
    pub(super) fn clear_surplus(&self, block: &Block, v: &mut [K::E], y: &mut [K::E]) {
        let lines = block.rows() / K::GROUP;
        for surplus in lines..lines.next_multiple_of(BLOCK_ROWS) {
            for (data, panels, point) in [
                (&mut *v, self.division.x_panels, self.division.v_point),
                (&mut *y, self.division.dy_panels, self.division.y_point),
            ] {
                for p in 0..A * A {
                    let start = p * point + line_start::<K>(surplus, panels);
                    for panel in 0..panels {
                        data[start + panel * BLOCK_ROWS * line::<K>()..][..line::<K>()]
                            .fill(bytemuck::Zeroable::zeroed());
                    }
                }
            }
        }
    }

    /// D (+)= Vᵀ Y of a point for the channels of a job.
    #[inline(always)]
    fn multiply(
        &self,
        kernel: K,
        made: &Made<'_, K::E>,
        (point, job): (usize, usize),
        sums: &mut [Param<K>],
        first: bool,
    ) {
        let division = self.division;
        let (part, group) = division.job(job);
        let panel_len = BLOCK_ROWS * line::<K>();
        let blocks = (made.block.rows() / K::GROUP).div_ceil(BLOCK_ROWS);
        let (channels, columns) = (division.channels(part), division.columns(group));
        let v = &made.v[point * division.v_point + part * PART / LANES * panel_len..]
            [..((blocks - 1) * division.x_panels + channels.div_ceil(LANES)) * panel_len];
        let y = &made.y[point * division.y_point + 2 * group * panel_len..]
            [..((blocks - 1) * division.dy_panels + columns / LANES) * panel_len];
        let sums = &mut sums[point * channels * columns..][..channels * columns];
        for channel in (0..channels).step_by(LANES) {
            let outer = Outer {
                v: v[channel / LANES * panel_len..].as_ptr(),
                v_step: division.x_panels * panel_len,
                y: y.as_ptr(),
                y_step: division.dy_panels * panel_len,
                blocks,
                rows: (channels - channel).min(LANES),
                d: sums[channel * columns..].as_mut_ptr(),
                columns,
                accumulate: !first,
            };
            // SAFETY: the slices hold all blocks of the operands' panels and the sums of these channels.
            unsafe { kernel.outer(outer) };
        }
    }
}

/// V and Y of a block of rows.
pub(super) struct Made<'a, E> {
    pub(super) block: &'a Block,
    pub(super) v: &'a [E],
    pub(super) y: &'a [E],
}

/// One line, of one image or of two, of every panel of channels and every point.
///
/// # Safety
/// The map holds the images and the window's pixels; nobody else has the line.
#[inline(always)]
unsafe fn lines<K: Kernel, L: Linear<N, A>, const N: usize, const A: usize>(
    kernel: K,
    (map, image, c_stride): (&[K::E], usize, usize),
    window: &Window<N>,
    (target, start, point): (&SharedMut<'_, K::E>, usize, usize),
) {
    for channel in (0..c_stride).step_by(K::LANES) {
        let source = map[image + channel..].as_ptr();
        let start = start + channel / LANES * BLOCK_ROWS * line::<K>() + channel % LANES * K::GROUP;
        // SAFETY: the caller's promise.
        unsafe {
            let first = tile::pixels::<K, L, N, A>(kernel, source, window);
            let second = if K::GROUP == 2 {
                tile::pixels::<K, L, N, A>(kernel, source.add(c_stride), window)
            } else {
                first
            };
            let target = target.pointer(start);
            for i in 0..A {
                let first = L::apply(kernel, first[i]);
                let second = L::apply(kernel, second[i]);
                for j in 0..A {
                    kernel.put_words(target.add((i * A + j) * point), [first[j], second[j]]);
                }
            }
        }
    }
}

/// A block of rows through both steps.
pub(super) struct OwnRows<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    pub(super) rows: &'a Rows<'a, K, T, I, A, M>,
    pub(super) block: Block,
    pub(super) v: &'a mut [K::E],
    pub(super) y: &'a mut [K::E],
    pub(super) sums: &'a mut [Param<K>],
    pub(super) first: bool,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K> for OwnRows<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Adjoint<I, A, M>,
{
    #[inline(always)]
    fn run(self, kernel: K) {
        let Self {
            rows,
            block,
            v,
            y,
            sums,
            first,
        } = self;
        let division = rows.division;
        {
            let (v, y) = (SharedMut::new(&mut *v), SharedMut::new(&mut *y));
            for tile in block.tiles.clone() {
                // SAFETY: this task's own memory.
                unsafe { rows.transform(kernel, &block, tile, 0..block.images, &v, &y) };
            }
        }
        rows.clear_surplus(&block, v, y);
        let made = Made {
            block: &block,
            v,
            y,
        };
        for point in 0..A * A {
            for (job, sums) in sums.chunks_exact_mut(division.len).enumerate() {
                rows.multiply(kernel, &made, (point, job), sums, first);
            }
        }
    }
}

/// Some images of a tile.
pub(super) struct Transforming<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    pub(super) rows: &'a Rows<'a, K, T, I, A, M>,
    pub(super) block: &'a Block,
    pub(super) tile: usize,
    pub(super) images: std::ops::Range<usize>,
    pub(super) v: &'a SharedMut<'a, K::E>,
    pub(super) y: &'a SharedMut<'a, K::E>,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K>
    for Transforming<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Adjoint<I, A, M>,
{
    #[inline(always)]
    fn run(self, kernel: K) {
        // SAFETY: tasks differ in tiles or images, so in lines.
        unsafe {
            self.rows
                .transform(kernel, self.block, self.tile, self.images, self.v, self.y)
        };
    }
}

/// All points of the channels of a job.
pub(super) struct OwnChannels<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    pub(super) rows: &'a Rows<'a, K, T, I, A, M>,
    pub(super) made: Made<'a, K::E>,
    pub(super) job: usize,
    pub(super) sums: &'a mut [Param<K>],
    pub(super) first: bool,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K>
    for OwnChannels<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Adjoint<I, A, M>,
{
    #[inline(always)]
    fn run(self, kernel: K) {
        for point in 0..A * A {
            let place = (point, self.job);
            self.rows
                .multiply(kernel, &self.made, place, self.sums, self.first);
        }
    }
}

/// Gᵀ D G of the channels of a job.
struct Collecting<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    sums: &'a [Param<K>],
    channels: usize,
    columns: usize,
    /// `[input channel / 16][output channel / 16][tap][16 input channels][16 output channels]`.
    taps: &'a mut [[[Param<K>; LANES]; LANES * 9]],
    algorithm: PhantomData<T>,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K> for Collecting<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Adjoint<I, A, M>,
{
    #[inline(always)]
    fn run(self, kernel: K) {
        let point = self.channels * self.columns;
        assert!(self.sums.len() >= A * A * point);
        for channel in 0..self.channels {
            for column in (0..self.columns).step_by(K::LANES) {
                let block = channel / LANES * (self.columns / LANES) + column / LANES;
                let (i, lane) = (channel % LANES, column % LANES);
                // SAFETY: sums at every point, sixteen outputs at every tap.
                unsafe {
                    let sums = self.sums[channel * self.columns + column..].as_ptr();
                    let half = tile::points::<K, T::Collect, A, 3>(kernel, sums, point);
                    for (ky, half) in half.into_iter().enumerate() {
                        let taps = T::Collect::apply(kernel, half);
                        for (kx, tap) in taps.into_iter().enumerate() {
                            let target = self.taps[block][(ky * 3 + kx) * LANES + i].as_mut_ptr();
                            kernel.store_sums(target.add(lane), tap);
                        }
                    }
                }
            }
        }
    }
}
