//! Driver of the weight gradient: sums of outer products over images and pixels.
//!
//! Rows of both maps are packed into panels of 16 channels in a scratch that fits the second-level cache; three packed
//! input rows roll along with the taps. Accumulators stay in memory between rows and in registers along a row.
#![allow(unsafe_code)]

use super::Conv;
use super::geometry::{Geometry, MAX_TAPS};
use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE};
use crate::act::{Act, LANES};
use crate::element::{Element, Float};
use crate::pool::Buffer;
use crate::shared::SharedMut;
use rayon::prelude::*;

/// Bytes of a packed input row to aim at.
const ROW_BYTES: usize = 128 << 10;
/// Divisions of the sum kept apart, for as many threads.
const JOBS: usize = 32;
/// Bytes of partial sums at most, beyond one set.
const PARTIAL_BYTES: usize = 16 << 20;
/// Multiplications below which a division is not worth its partial sums.
const MULTIPLICATIONS_PER_JOB: usize = 1 << 20;

/// How the work divides. Depends on shapes alone, because the order of summation does.
struct Division {
    x_panels: usize,
    dy_panels: usize,
    /// Panels of the output gradient in a group.
    per_group: usize,
    groups: usize,
    /// Images packed together.
    block: usize,
    /// Rows × image blocks, cut into this many runs.
    splits: usize,
    units: usize,
}

impl Division {
    fn new<K: Microkernel>(conv: Conv, x: &Act<K::E>, dy: &Act<K::E>) -> Self {
        let (x_panels, dy_panels) = (
            conv.in_channels.div_ceil(LANES),
            conv.out_channels.div_ceil(LANES),
        );
        let shape = dy.shape();
        let multiplications = shape.pixels() * shape.n * conv.taps() * x_panels * dy_panels * TILE;
        let wanted = (multiplications / MULTIPLICATIONS_PER_JOB).clamp(1, JOBS);
        let per_group = if dy_panels >= 16 { 2 } else { 4 }.min(dy_panels);
        let groups = dy_panels.div_ceil(per_group);
        let step = K::DEPTH_STEP.max(16);
        let image_bytes = x.shape().w * x_panels * LANES * size_of::<K::E>();
        let block =
            (ROW_BYTES / image_bytes / step * step).clamp(step, shape.n.next_multiple_of(step));
        let units = shape.n.div_ceil(block) * shape.h;
        let set = conv.taps() * x_panels * dy_panels * TILE * size_of::<<K::E as Element>::Param>();
        let splits = wanted
            .div_ceil(groups)
            .min(units)
            .min((PARTIAL_BYTES / set).max(1));
        Self {
            x_panels,
            dy_panels,
            per_group,
            groups,
            block,
            splits,
            units,
        }
    }
}

pub(crate) fn weight_gradient<K: Microkernel>(
    kernel: K,
    conv: Conv,
    x: &Act<K::E>,
    dy: &Act<K::E>,
    scale: <K::E as Element>::Param,
    dw: &mut [<K::E as Element>::Param],
) {
    let division = Division::new::<K>(conv, x, dy);
    let job_len = conv.taps() * division.x_panels * division.per_group * TILE;
    let jobs = division.groups * division.splits;
    let mut partial = Buffer::<<K::E as Element>::Param>::dirty(jobs * job_len);
    partial
        .par_chunks_exact_mut(job_len)
        .with_max_len(1)
        .enumerate()
        .for_each(|(job, acc)| {
            acc.fill(<K::E as Element>::Param::ZERO);
            sum_job(kernel, conv, &division, job, x, dy, acc);
        });
    scatter(conv, &division, job_len, &partial, scale, dw);
}

fn sum_job<K: Microkernel>(
    kernel: K,
    conv: Conv,
    division: &Division,
    job: usize,
    x: &Act<K::E>,
    dy: &Act<K::E>,
    acc: &mut [<K::E as Element>::Param],
) {
    let (split, group) = (job / division.groups, job % division.groups);
    let units =
        split * division.units / division.splits..(split + 1) * division.units / division.splits;
    let first_panel = group * division.per_group;
    let dy_panels = division.per_group.min(division.dy_panels - first_panel);
    let (xs, ys) = (x.shape(), dy.shape());
    let depth_limit = division.block.min(ys.n).next_multiple_of(K::DEPTH_STEP);
    let x_row_len = division.x_panels * xs.w * depth_limit * LANES;
    let mut x_rows = Buffer::<K::E>::dirty(x_row_len * conv.kernel);
    let mut dy_row = Buffer::<K::E>::dirty(dy_panels * ys.w * depth_limit * LANES);
    let mut held = [None; 3];
    let mut held_block = usize::MAX;
    let _session = kernel.enter();

    for unit in units {
        let (block, y) = (unit / ys.h, unit % ys.h);
        let first_image = block * division.block;
        let images = division.block.min(ys.n - first_image);
        let depth = images.next_multiple_of(K::DEPTH_STEP);
        if block != held_block {
            held = [None; 3];
            held_block = block;
        }
        kernel.pack_gradient(
            &RowOfPixels {
                data: &dy.data()[y * ys.w * dy.pixel_len()..],
                pixels: ys.w,
                pixel_stride: dy.pixel_len(),
                image_stride: dy.c_stride(),
                first_image,
                images,
                depth,
                first_panel,
                panels: dy_panels,
            },
            &mut dy_row,
        );
        for ky in 0..conv.kernel {
            let Some(iy) = (y * conv.stride + ky)
                .checked_sub(conv.kernel / 2)
                .filter(|&iy| iy < xs.h)
            else {
                continue;
            };
            let slot = iy % conv.kernel;
            let x_row = &mut x_rows[slot * x_row_len..][..x_row_len];
            if held[slot] != Some(iy) {
                kernel.pack_input(
                    &RowOfPixels {
                        data: &x.data()[iy * xs.w * x.pixel_len()..],
                        pixels: xs.w,
                        pixel_stride: x.pixel_len(),
                        image_stride: x.c_stride(),
                        first_image,
                        images,
                        depth,
                        first_panel: 0,
                        panels: division.x_panels,
                    },
                    x_row,
                );
                held[slot] = Some(iy);
            }
            for kx in 0..conv.kernel {
                let columns = Geometry::valid_columns(conv, kx, xs.w, ys.w);
                if columns.is_empty() {
                    continue;
                }
                let ix = columns.start * conv.stride + kx - conv.kernel / 2;
                let operands = Operands {
                    x: &x_row[ix * depth * LANES..],
                    x_panel: xs.w * depth * LANES,
                    x_panels: division.x_panels,
                    x_channels: conv.in_channels,
                    x_step: conv.stride * depth * LANES,
                    dy: &dy_row[columns.start * depth * LANES..],
                    dy_panel: ys.w * depth * LANES,
                    dy_panels,
                    dy_channels: conv.out_channels - first_panel * LANES,
                    dy_step: depth * LANES,
                };
                let acc = &mut acc
                    [(ky * conv.kernel + kx) * division.x_panels * division.per_group * TILE..];
                let acc_panel = division.per_group * TILE;
                if conv.stride == 1 {
                    // Neighbouring pixels of both maps are contiguous: cut the row where it suits the kernel.
                    let length = columns.len() * depth;
                    let chunk = (K::OUTER_DEPTH / K::DEPTH_STEP * K::DEPTH_STEP).min(length);
                    for start in (0..length).step_by(chunk) {
                        let offset = start * LANES;
                        operands.multiply(
                            kernel,
                            (offset, offset),
                            1,
                            chunk.min(length - start),
                            acc,
                            acc_panel,
                        );
                    }
                } else {
                    let chunk = (K::OUTER_DEPTH / depth).clamp(1, columns.len());
                    for start in (0..columns.len()).step_by(chunk) {
                        let segments = chunk.min(columns.len() - start);
                        let offsets = (start * operands.x_step, start * operands.dy_step);
                        operands.multiply(kernel, offsets, segments, depth, acc, acc_panel);
                    }
                }
            }
        }
    }
}

/// Packed rows of both maps, from the first pixel that a tap pairs on.
struct Operands<'a, E> {
    x: &'a [E],
    x_panel: usize,
    x_panels: usize,
    x_channels: usize,
    x_step: usize,
    dy: &'a [E],
    dy_panel: usize,
    dy_panels: usize,
    dy_channels: usize,
    dy_step: usize,
}

impl<E: Element> Operands<'_, E> {
    /// All tiles over `segments` of `depth` images (times pixels), the first beginning at these offsets of x and dy.
    fn multiply<K: Microkernel<E = E>>(
        &self,
        kernel: K,
        (x_start, dy_start): (usize, usize),
        segments: usize,
        depth: usize,
        acc: &mut [E::Param],
        acc_panel: usize,
    ) {
        for a in (0..self.x_panels).step_by(2) {
            for b in (0..self.dy_panels).step_by(2) {
                let tile = OuterTile {
                    x: &self.x[a * self.x_panel + x_start..],
                    x_panel: self.x_panel,
                    n_x: (self.x_panels - a).min(2),
                    x_channels: self.x_channels - a * LANES,
                    dy: &self.dy[b * self.dy_panel + dy_start..],
                    dy_panel: self.dy_panel,
                    n_dy: (self.dy_panels - b).min(2),
                    dy_channels: self.dy_channels - b * LANES,
                    segments,
                    depth,
                    x_step: self.x_step,
                    dy_step: self.dy_step,
                    acc: &mut acc[a * acc_panel + b * TILE..],
                    acc_panel,
                };
                // SAFETY: the driver holds the session; both rows were packed by this kernel, and the valid columns
                // keep every segment inside them.
                unsafe { kernel.outer(tile) };
            }
        }
    }
}

/// Adds the partial sums in order and writes them, scaled, as [out, in, kernel, kernel], sixteen outputs a task.
fn scatter<P: Float>(
    conv: Conv,
    division: &Division,
    job_len: usize,
    partial: &[P],
    scale: P,
    dw: &mut [P],
) {
    let taps = conv.taps();
    let dw = SharedMut::new(dw);
    (0..division.dy_panels).into_par_iter().for_each(|panel| {
        let (group, b) = (panel / division.per_group, panel % division.per_group);
        for a in 0..division.x_panels {
            let mut sums = [[P::ZERO; LANES]; LANES * MAX_TAPS];
            for tap in 0..taps {
                let sums = &mut sums.as_flattened_mut()[tap * TILE..][..TILE];
                let tile = (tap * division.x_panels + a) * division.per_group + b;
                for split in 0..division.splits {
                    let part = &partial
                        [(split * division.groups + group) * job_len + tile * TILE..][..TILE];
                    sums.iter_mut().zip(part).for_each(|(s, &p)| *s += p);
                }
            }
            write_weights(conv, (a, panel), scale, &sums, &dw);
        }
    });
}

/// Writes the gradient of sixteen input by sixteen output channels, `sums` = `[tap][input channel][output channel]`, times `scale` into
/// `dw` = `[out][in][tap]`. Tasks that do so at the same time have panels of their own.
pub(super) fn write_weights<P: Float>(
    conv: Conv,
    (x_panel, dy_panel): (usize, usize),
    scale: P,
    sums: &[[P; LANES]; LANES * MAX_TAPS],
    dw: &SharedMut<'_, P>,
) {
    let taps = conv.taps();
    // [out][in][tap], so that both sides are walked in order.
    let mut block = [P::ZERO; TILE * MAX_TAPS];
    for (k, sums) in sums.iter().enumerate().take(taps * LANES) {
        let (tap, i) = (k / LANES, k % LANES);
        for (o, &sum) in sums.iter().enumerate() {
            block[(o * LANES + i) * taps + tap] = sum * scale;
        }
    }
    let (first_in, first_out) = (x_panel * LANES, dy_panel * LANES);
    let len = LANES.min(conv.in_channels - first_in) * taps;
    for o in 0..LANES.min(conv.out_channels - first_out) {
        let at = ((first_out + o) * conv.in_channels + first_in) * taps;
        // SAFETY: the task's own panels.
        let dw = unsafe { dw.slice(at, len) };
        dw.copy_from_slice(&block[o * LANES * taps..][..len]);
    }
}
