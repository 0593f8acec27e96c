//! Gradient to the weights: per point the sum over rows of outer products, D = Σ Vᵀ Y with V = Bᵀ d B and Y = A dy Aᵀ; at the
//! end one Gᵀ D G.
//!
//! Small sums D are kept several times, by several tasks that each take rows of their own through transform and products
//! ([`by_rows`]). Large ones are kept once: tasks transform a stretch of rows together and then share out the channels ([`by_channels`]).
#![allow(unsafe_code)]

mod division;
mod rows;

use super::blocks::Block;
use super::kernel::{Kernel, Param};
use super::points::Adjoint;
use crate::act::Act;
use crate::conv::Conv;
use crate::pool::{Buffer, reserve};
use crate::shared::SharedMut;
use division::{Division, ROWS_PER_TASK};
use rayon::prelude::*;
use rows::{Made, OwnChannels, OwnRows, Rows, Transforming};
use std::marker::PhantomData;

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
    T: Adjoint<I, A, M>,
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
    T: Adjoint<I, A, M>,
{
    let division = rows.division;
    let set_len = division.jobs() * division.len;
    let mut sums = Buffer::<Param<K>>::dirty(division.sets * set_len);
    reserve::<K::E, K::E>((A * A * division.v_point, A * A * division.y_point));
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
    T: Adjoint<I, A, M>,
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
    if kept == 0 {
        reserve::<Param<K>, Param<K>>((division.len, 0));
    }
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
                    made: Made {
                        block: &block,
                        v: &v,
                        y: &y,
                    },
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
    T: Adjoint<I, A, M>,
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
