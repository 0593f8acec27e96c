//! Gradient to the weights: per point the sum over rows of outer products, D = Σ Vᵀ Y with V = Bᵀ d B and Y = A dy Aᵀ; at the
//! end one Gᵀ D G.
//!
//! Small sums D are kept several times, by several tasks that each take rows of their own through transform and products
//! ([`by_rows`]). Large ones are kept once: tasks transform a stretch of rows together and then share out the channels ([`by_channels`]).
#![allow(unsafe_code)]

use super::blocks::{Block, Blocks, Tiling, padded};
use super::kernel::{BLOCK_ROWS, Kernel, Outer, Param, Work, line};
use super::points::{Algorithm, Linear};
use super::tile::{self, Window};
use crate::act::{Act, LANES};
use crate::conv::Conv;
use crate::conv::outer::write_weights;
use crate::element::Float;
use crate::pool::Buffer;
use crate::shared::SharedMut;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Input channels whose sums a task keeps in its second-level cache.
const PART: usize = 64;
/// Sums up to this size are kept several times.
const SEVERAL_BYTES: usize = 3 << 20;
/// Bytes of all sets of sums together, and sets at most.
const SETS_BYTES: usize = 24 << 20;
const MAX_SETS: usize = 16;
/// Sums up to this size stay in the second-level cache.
const SECOND_LEVEL_BYTES: usize = 768 << 10;
/// V and Y that tasks make together.
const STRETCH_BYTES: usize = 20 << 20;
/// Rows transformed by a task of [`by_channels`].
const ROWS_PER_TASK: usize = 16;

/// How the work divides. Depends on shapes alone, because the order of summation does.
struct Division {
    tiling: Tiling,
    blocks: Blocks,
    /// Sets of sums; 0 if there is one that all tasks share.
    sets: usize,
    /// Parts of the input channels, groups of the output channels.
    parts: usize,
    groups: usize,
    x_panels: usize,
    dy_panels: usize,
    /// Sums of one part and group.
    len: usize,
    /// Elements from point to point of V and of Y.
    v_point: usize,
    y_point: usize,
    in_channels: usize,
}

impl Division {
    fn new<K: Kernel, const A: usize, const M: usize>(conv: Conv, dy: &Act<K::E>) -> Self {
        let (x_panels, dy_panels) = (
            conv.in_channels.div_ceil(LANES),
            conv.out_channels.div_ceil(LANES),
        );
        let tiling = Tiling::new(dy.shape(), M);
        let images = dy.shape().n.next_multiple_of(K::GROUP);
        let (parts, groups) = (conv.in_channels.div_ceil(PART), dy_panels.div_ceil(2));
        let rows_of_part = conv.in_channels.next_multiple_of(BLOCK_ROWS).min(PART);
        let len = A * A * rows_of_part * 2 * LANES;
        let set_bytes = parts * groups * len * size_of::<Param<K>>();
        let row_bytes = A * A * (x_panels + dy_panels) * LANES * size_of::<K::E>();
        let several = set_bytes <= SEVERAL_BYTES;
        let rows = if !several {
            STRETCH_BYTES / row_bytes
        } else if set_bytes <= SECOND_LEVEL_BYTES {
            ROWS_PER_TASK
        } else {
            // As much traffic for V and Y as for the sums.
            set_bytes / row_bytes
        };
        let rows = (rows / ROWS_PER_TASK * ROWS_PER_TASK).max(ROWS_PER_TASK);
        let blocks = Blocks::new(images, tiling.count, rows);
        let sets = if several {
            (SETS_BYTES / set_bytes)
                .clamp(1, MAX_SETS)
                .min(blocks.len())
        } else {
            0
        };
        let lines = blocks.rows().next_multiple_of(BLOCK_ROWS * K::GROUP);
        Self {
            tiling,
            blocks,
            sets,
            parts,
            groups,
            x_panels,
            dy_panels,
            len,
            v_point: padded::<K::E>(lines * x_panels * LANES),
            y_point: padded::<K::E>(lines * dy_panels * LANES),
            in_channels: conv.in_channels,
        }
    }

    /// Pairs of a part of the input channels and a group of the output channels, each with sums of its own.
    fn jobs(&self) -> usize {
        self.parts * self.groups
    }

    /// Part and group of a job. Jobs of a part follow each other, so that V stays in cache.
    fn job(&self, job: usize) -> (usize, usize) {
        (job / self.groups, job % self.groups)
    }

    /// Output channels of a group with their padding.
    fn columns(&self, group: usize) -> usize {
        (self.dy_panels - 2 * group).min(2) * LANES
    }

    /// Input channels of a part, in whole blocks of eight.
    fn channels(&self, part: usize) -> usize {
        (self.in_channels - part * PART)
            .min(PART)
            .next_multiple_of(BLOCK_ROWS)
    }
}

/// Writes `scale` times the gradient over `dw`.
pub(super) fn weight_gradient<K, T, const I: usize, const A: usize, const M: usize>(
    kernel: K,
    conv: Conv,
    x: &Act<K::E>,
    dy: &Act<K::E>,
    scale: Param<K>,
    dw: &mut [Param<K>],
) where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    let division = Division::new::<K, A, M>(conv, dy);
    let rows = Rows::<K, T, I, A, M> {
        x,
        dy,
        division: &division,
        algorithm: PhantomData,
    };
    let target = Target {
        conv,
        scale,
        dw: SharedMut::new(dw),
    };
    if division.sets > 0 {
        by_rows(kernel, &rows, &target);
    } else {
        by_channels(kernel, &rows, &target);
    }
}

/// Every set of sums from its own rows; then their sum, by channels.
fn by_rows<K, T, const I: usize, const A: usize, const M: usize>(
    kernel: K,
    rows: &Rows<'_, K, T, I, A, M>,
    target: &Target<'_, Param<K>>,
) where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    let division = rows.division;
    let set_len = division.jobs() * division.len;
    let mut sums = Buffer::<Param<K>>::dirty(division.sets * set_len);
    sums.par_chunks_exact_mut(set_len)
        .with_max_len(1)
        .enumerate()
        .for_each(|(set, sums)| {
            let mut v = Buffer::<K::E>::dirty(A * A * division.v_point);
            let mut y = Buffer::<K::E>::dirty(A * A * division.y_point);
            let units = division.blocks.len();
            let units = set * units / division.sets..(set + 1) * units / division.sets;
            for unit in units.clone() {
                kernel.run(OwnRows {
                    rows,
                    block: division.blocks.get(unit),
                    v: &mut v,
                    y: &mut y,
                    sums,
                    first: unit == units.start,
                });
            }
        });
    let (first, others) = sums.split_at_mut(set_len);
    first
        .par_chunks_exact_mut(division.len)
        .enumerate()
        .for_each(|(job, sums)| {
            for set in others.chunks_exact(set_len) {
                let part = &set[job * division.len..][..division.len];
                sums.iter_mut().zip(part).for_each(|(s, &p)| *s += p);
            }
            rows.collect(kernel, job, sums, target);
        });
}

/// One set of sums: all tasks transform a stretch of rows, then each takes some channels.
fn by_channels<K, T, const I: usize, const A: usize, const M: usize>(
    kernel: K,
    rows: &Rows<'_, K, T, I, A, M>,
    target: &Target<'_, Param<K>>,
) where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    let division = rows.division;
    let stretches = division.blocks.len();
    // Sums of a single stretch never leave the cache of the task that makes them.
    let kept = if stretches > 1 {
        division.jobs() * division.len
    } else {
        0
    };
    let mut sums = Buffer::<Param<K>>::dirty(kept);
    let mut v = Buffer::<K::E>::dirty(A * A * division.v_point);
    let mut y = Buffer::<K::E>::dirty(A * A * division.y_point);
    for stretch in 0..stretches {
        let block = division.blocks.get(stretch);
        transform_together(kernel, rows, &block, &mut v, &mut y);
        let sums = SharedMut::new(&mut sums);
        (0..division.jobs())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|job| {
                let mut own;
                let sums = if kept > 0 {
                    // SAFETY: every job has sums of its own.
                    unsafe { sums.slice(job * division.len, division.len) }
                } else {
                    own = Buffer::<Param<K>>::dirty(division.len);
                    &mut own
                };
                kernel.run(OwnChannels {
                    rows,
                    block: &block,
                    v: &v,
                    y: &y,
                    job,
                    sums,
                    first: stretch == 0,
                });
                if stretch + 1 == stretches {
                    rows.collect(kernel, job, sums, target);
                }
            });
    }
}

/// V and Y of all rows of a block, by all tasks.
fn transform_together<K, T, const I: usize, const A: usize, const M: usize>(
    kernel: K,
    rows: &Rows<'_, K, T, I, A, M>,
    block: &Block,
    v: &mut [K::E],
    y: &mut [K::E],
) where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    let pieces = block.images.div_ceil(ROWS_PER_TASK);
    {
        let (v, y) = (SharedMut::new(&mut *v), SharedMut::new(&mut *y));
        (0..block.tiles.len() * pieces)
            .into_par_iter()
            .for_each(|task| {
                let (tile, piece) = (task / pieces, task % pieces);
                kernel.run(Transforming {
                    rows,
                    block,
                    tile: block.tiles.start + tile,
                    images: piece * ROWS_PER_TASK..((piece + 1) * ROWS_PER_TASK).min(block.images),
                    v: &v,
                    y: &y,
                });
            });
    }
    rows.clear_surplus(block, v, y);
}

/// Where the gradient goes.
struct Target<'a, P> {
    conv: Conv,
    scale: P,
    /// `[out][in][3][3]`.
    dw: SharedMut<'a, P>,
}

/// Both maps and how they divide.
///
/// V and Y stand as `[point][line / 8][panel of sixteen channels][8 lines][16 words]`; a line is a row, or a pair of rows of two images
/// where the path multiplies pairs.
struct Rows<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    x: &'a Act<K::E>,
    dy: &'a Act<K::E>,
    division: &'a Division,
    algorithm: PhantomData<T>,
}

/// Where a line begins among those of a point.
#[inline(always)]
fn line_start<K: Kernel>(line_index: usize, panels: usize) -> usize {
    (line_index / BLOCK_ROWS * panels * BLOCK_ROWS + line_index % BLOCK_ROWS) * line::<K>()
}

impl<K, T, const I: usize, const A: usize, const M: usize> Rows<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
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
    fn collect(&self, kernel: K, job: usize, sums: &[Param<K>], target: &Target<'_, Param<K>>) {
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
    fn clear_surplus(&self, block: &Block, v: &mut [K::E], y: &mut [K::E]) {
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

    /// D (+)= Vᵀ Y for a part of the input channels and a group of the output channels.
    #[inline(always)]
    fn multiply(
        &self,
        kernel: K,
        block: &Block,
        (v, y): (&[K::E], &[K::E]),
        point: usize,
        (part, group): (usize, usize),
        sums: &mut [Param<K>],
        first: bool,
    ) {
        let division = self.division;
        let panel_len = BLOCK_ROWS * line::<K>();
        let blocks = (block.rows() / K::GROUP).div_ceil(BLOCK_ROWS);
        let (channels, columns) = (division.channels(part), division.columns(group));
        let v = &v[point * division.v_point + part * PART / LANES * panel_len..]
            [..((blocks - 1) * division.x_panels + channels.div_ceil(LANES)) * panel_len];
        let y = &y[point * division.y_point + 2 * group * panel_len..]
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
struct OwnRows<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    rows: &'a Rows<'a, K, T, I, A, M>,
    block: Block,
    v: &'a mut [K::E],
    y: &'a mut [K::E],
    sums: &'a mut [Param<K>],
    first: bool,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K> for OwnRows<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
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
        for point in 0..A * A {
            for (job, sums) in sums.chunks_exact_mut(division.len).enumerate() {
                rows.multiply(
                    kernel,
                    &block,
                    (v, y),
                    point,
                    division.job(job),
                    sums,
                    first,
                );
            }
        }
    }
}

/// Some images of a tile.
struct Transforming<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    rows: &'a Rows<'a, K, T, I, A, M>,
    block: &'a Block,
    tile: usize,
    images: std::ops::Range<usize>,
    v: &'a SharedMut<'a, K::E>,
    y: &'a SharedMut<'a, K::E>,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K>
    for Transforming<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
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

/// Some channels of all points.
struct OwnChannels<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    rows: &'a Rows<'a, K, T, I, A, M>,
    block: &'a Block,
    v: &'a [K::E],
    y: &'a [K::E],
    job: usize,
    sums: &'a mut [Param<K>],
    first: bool,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K>
    for OwnChannels<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    #[inline(always)]
    fn run(self, kernel: K) {
        let place = self.rows.division.job(self.job);
        for point in 0..A * A {
            let operands = (self.v, self.y);
            self.rows.multiply(
                kernel, self.block, operands, point, place, self.sums, self.first,
            );
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
    T: Algorithm<I, A, M>,
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
