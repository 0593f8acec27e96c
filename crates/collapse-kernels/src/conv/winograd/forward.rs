//! Forward pass, and gradient to the input, which is the same with turned weights.
//!
//! A task takes a block of rows through all three steps while everything is in its core's caches: V = Bᵀ d B of all
//! channels, then for 16 or 32 output channels at a time the products M of every point, and Aᵀ M A.
#![allow(unsafe_code)]

use super::blocks::{Block, Blocks, Tiling, padded};
use super::kernel::{BLOCK_ROWS, Kernel, Param, Product, Work, line};
use super::points::{Algorithm, Linear};
use super::tile::{self, Window};
use super::transform::Transformed;
use crate::act::Act;
use crate::conv::kernel::Store;
use crate::norm::{ChannelStatistics, Moments, MomentsView};
use crate::pool::{Buffer, reserve};
use crate::shape::LANES;
use crate::shared::SharedMut;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Transformed weights up to this size stay in a common third-level cache, and few rows at a time (whose V and M stay in the second
/// level) are fastest.
const RESIDENT_BYTES: usize = 16 << 20;
/// Rows of a block with resident weights, in words of the element type; each further block reads all weights again, from memory
/// if they are larger.
const ROWS_RESIDENT: usize = 8;
const ROWS_STREAMED: usize = 32;
/// Tasks a thread gets.
const TASKS_PER_THREAD: usize = 8;

/// `out` (+)= the convolution of `source`; statistics if asked. Every element is one sum in the order of channels, so the division
/// into blocks does not show in it; the statistics are summed by blocks, which depend on shapes alone.
pub(super) fn multiply<K, T, const I: usize, const A: usize, const M: usize>(
    kernel: K,
    source: &Act<K::E>,
    weights: &Transformed<'_, K::E>,
    out: &mut Act<K::E>,
    store: Store,
) -> Option<ChannelStatistics<Param<K>>>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    let shape = out.shape();
    let (tiling, n) = (Tiling::new(shape, M), shape.n);
    let resident = weights.bytes() <= RESIDENT_BYTES;
    let rows = if resident {
        ROWS_RESIDENT * K::GROUP
    } else {
        ROWS_STREAMED
    };
    let blocks = Blocks::new(n, tiling.count, rows);
    let (c_stride, pixel_len) = (out.c_stride(), out.pixel_len());
    let cells = tiling.count * blocks.image_blocks;
    let mut moments =
        (store == Store::WriteAndMeasure).then(|| Moments::<Param<K>>::new(cells, c_stride));
    let moments_view = moments.as_mut().map(Moments::view);

    let v_point = padded::<K::E>(blocks.rows() * weights.words.next_multiple_of(LANES) * K::GROUP);
    let m_point = padded::<Param<K>>(blocks.rows() * 2 * LANES);
    let gather = Gather::<K, T, I, A, M> {
        source,
        weights,
        tiling,
        image_blocks: blocks.image_blocks,
        out: SharedMut::new(out.data_mut()),
        c_stride,
        pixel_len,
        add: store == Store::Add,
        moments: moments_view,
        v_point,
        m_point,
        algorithm: PhantomData,
    };
    let per_task = blocks
        .len()
        .div_ceil(TASKS_PER_THREAD * rayon::current_num_threads());
    reserve::<K::E, Param<K>>((A * A * v_point, A * A * m_point));
    (0..blocks.len())
        .into_par_iter()
        .with_min_len(per_task)
        .with_max_len(per_task)
        .for_each_init(
            || {
                (
                    Buffer::<K::E>::dirty(A * A * v_point),
                    Buffer::<Param<K>>::dirty(A * A * m_point),
                )
            },
            |(v, m), index| {
                kernel.run(OneBlock {
                    gather: &gather,
                    block: blocks.get(index),
                    v,
                    m,
                });
            },
        );
    moments.map(|moments| {
        moments.combine(shape.c, |cell| {
            let (h, w) = tiling.extent(cell / blocks.image_blocks);
            h * w * blocks.images_in(cell % blocks.image_blocks)
        })
    })
}

struct Gather<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    source: &'a Act<K::E>,
    weights: &'a Transformed<'a, K::E>,
    tiling: Tiling,
    image_blocks: usize,
    out: SharedMut<'a, K::E>,
    c_stride: usize,
    pixel_len: usize,
    add: bool,
    moments: Option<MomentsView<'a, Param<K>>>,
    /// Elements and sums from point to point.
    v_point: usize,
    m_point: usize,
    algorithm: PhantomData<T>,
}

struct OneBlock<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    gather: &'a Gather<'a, K, T, I, A, M>,
    block: Block,
    /// `[point][row / 8][channels / line][8 rows][line]`.
    v: &'a mut [K::E],
    /// `[point][row][columns]`.
    m: &'a mut [Param<K>],
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K> for OneBlock<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    #[inline(always)]
    fn run(mut self, kernel: K) {
        self.inputs(kernel);
        for group in 0..self.gather.weights.groups() {
            self.products(kernel, group);
            for tile in self.block.tiles.clone() {
                self.outputs(kernel, group, tile);
            }
        }
    }
}

impl<K, T, const I: usize, const A: usize, const M: usize> OneBlock<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    /// Elements of eight rows of a point of V.
    #[inline(always)]
    fn v_block(&self) -> usize {
        self.gather.weights.words.next_multiple_of(LANES) * K::GROUP * BLOCK_ROWS
    }

    /// V. The rows that fill the last eight are left as they are: they are multiplied, and nobody reads what becomes of them.
    #[inline(always)]
    fn inputs(&mut self, kernel: K) {
        let Gather {
            source,
            tiling,
            v_point,
            ..
        } = *self.gather;
        let shape = source.shape();
        let mut row = 0;
        for tile in self.block.tiles.clone() {
            let (y, x) = tiling.place(tile);
            let window = Window::<I>::new(
                (shape.h, shape.w),
                source.pixel_len(),
                (y * T::STEP, x * T::STEP),
                T::MARGIN,
            );
            for image in self.block.first_image..self.block.first_image + self.block.images {
                let from = source.data()[image * source.c_stride()..].as_ptr();
                let to = row / BLOCK_ROWS * self.v_block() + row % BLOCK_ROWS * line::<K>();
                let to = self.v[to..].as_mut_ptr();
                for channel in (0..source.c_stride()).step_by(K::LANES) {
                    // SAFETY: the window keeps to the map, the channels to the image; V holds every row of the block in lines
                    // of channels.
                    unsafe {
                        let half =
                            tile::pixels::<K, T::Input, I, A>(kernel, from.add(channel), &window);
                        let to = to.add(
                            channel / line::<K>() * BLOCK_ROWS * line::<K>()
                                + channel % line::<K>(),
                        );
                        for (i, half) in half.into_iter().enumerate() {
                            let points = T::Input::apply(kernel, half);
                            for (j, point) in points.into_iter().enumerate() {
                                kernel.put(to.add((i * A + j) * v_point), point);
                            }
                        }
                    }
                }
                row += 1;
            }
        }
    }

    /// M of all rows for the columns of a group.
    #[inline(always)]
    fn products(&mut self, kernel: K, group: usize) {
        let Gather {
            weights,
            v_point,
            m_point,
            ..
        } = *self.gather;
        let columns = weights.columns(group);
        let blocks = self.block.rows().div_ceil(BLOCK_ROWS);
        for point in 0..A * A {
            let u = weights.point(group, point).as_ptr();
            for block in 0..blocks {
                let v = &self.v[point * v_point + block * self.v_block()..][..self.v_block()];
                let m = &mut self.m[point * m_point + block * BLOCK_ROWS * columns..]
                    [..BLOCK_ROWS * columns];
                let product = Product {
                    v: v.as_ptr(),
                    u,
                    words: weights.words,
                    m: m.as_mut_ptr(),
                    columns,
                };
                // SAFETY: eight rows in lines of channels, the panel of a point, eight rows of its columns.
                unsafe { kernel.product(product) };
            }
        }
    }

    /// The output pixels of a tile for the columns of a group.
    #[inline(always)]
    fn outputs(&mut self, kernel: K, group: usize, tile: usize) {
        let Gather {
            tiling,
            c_stride,
            pixel_len,
            m_point,
            add,
            ..
        } = *self.gather;
        let columns = self.gather.weights.columns(group);
        let (y, x) = tiling.place(tile);
        let (h, w) = tiling.extent(tile);
        let width = tiling.width();
        let first_row = (tile - self.block.tiles.start) * self.block.images;
        for strip in (0..columns).step_by(K::LANES) {
            let channel = group * 2 * LANES + strip;
            let mut sample = Sample::new(kernel);
            for image in 0..self.block.images {
                let place = (y * M * width + x * M) * pixel_len
                    + (self.block.first_image + image) * c_stride
                    + channel;
                let m = self.m[(first_row + image) * columns + strip..].as_ptr();
                // SAFETY: rows and points of M as `products` wrote them; pixels inside the extent are on the map, and no other task
                // has this tile of these images.
                unsafe {
                    let target = self.gather.out.pointer(place);
                    let half = tile::points::<K, T::Output, A, M>(kernel, m, m_point);
                    for (i, half) in half.into_iter().enumerate().take(h) {
                        let pixels = T::Output::apply(kernel, half);
                        for (j, mut value) in pixels.into_iter().enumerate().take(w) {
                            let target = target.add((i * width + j) * pixel_len);
                            if add {
                                value = kernel.add(kernel.load(target, !0), value);
                            }
                            let stored = kernel.put(target, value);
                            if self.gather.moments.is_some() {
                                if i + j + image == 0 {
                                    sample.shift = stored;
                                }
                                sample.take(kernel, stored);
                            }
                        }
                    }
                }
            }
            if let Some(moments) = &self.gather.moments {
                let cell = tile * self.gather.image_blocks + self.block.image_block;
                let (mean, squares) = sample.moments(kernel, h * w * self.block.images);
                // SAFETY: nobody else has these channels of the cell.
                unsafe {
                    let (to_mean, to_squares) = moments.lanes(cell, channel, K::LANES);
                    kernel.store_sums(to_mean.as_mut_ptr(), mean);
                    kernel.store_sums(to_squares.as_mut_ptr(), squares);
                }
            }
        }
    }
}

/// Sums of values and of their squares, both less a shift, which is one of the values: what cancels is then at most as many times the
/// sum of squared deviations as there are values, however large the mean.
struct Sample<K: Kernel> {
    shift: K::V,
    sum: K::V,
    squares: K::V,
}

impl<K: Kernel> Sample<K> {
    #[inline(always)]
    fn new(kernel: K) -> Self {
        Self {
            shift: kernel.zero(),
            sum: kernel.zero(),
            squares: kernel.zero(),
        }
    }

    #[inline(always)]
    fn take(&mut self, kernel: K, value: K::V) {
        let apart = kernel.sub(value, self.shift);
        self.sum = kernel.add(self.sum, apart);
        self.squares = kernel.multiply_add(apart, apart, self.squares);
    }

    /// Mean and squared deviations.
    #[inline(always)]
    fn moments(&self, kernel: K, count: usize) -> (K::V, K::V) {
        let mean = kernel.scale(1.0 / count as f64, self.sum);
        let negative = kernel.scale(-1.0, mean);
        (
            kernel.add(self.shift, mean),
            kernel.multiply_add(negative, self.sum, self.squares),
        )
    }
}
