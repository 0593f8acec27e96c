//! Driver of the weight gradient: sums of outer products over images and pixels.
//!
//! Rows of both maps are packed into panels of 16 channels in a scratch that fits the second-level cache, unless the map is such a
//! panel; three packed input rows roll along with the taps. Accumulators stay in memory between rows and in registers along a row.
#![allow(unsafe_code)]

use super::Conv;
use super::geometry::{Geometry, MAX_TAPS};
use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE};
use crate::act::Act;
use crate::element::{Element, Float};
use crate::pool::{Buffer, reserve};
use crate::shape::{LANES, Shape};
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

/// Whether a map of so many panels is multiplied where it stands instead of being packed.
fn in_place<K: Microkernel>(panels: usize) -> bool {
    K::PLAIN && panels == 1
}

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
    /// Elements of a job's packed rows: of the input, as many as the filter has lines, and of the output gradient.
    fn row_lens<K: Microkernel>(
        &self,
        conv: Conv,
        group: usize,
        xs: Shape,
        ys: Shape,
    ) -> (usize, usize) {
        let depth = self.block.min(ys.n).next_multiple_of(K::DEPTH_STEP);
        let len = |all: usize, panels: usize, width: usize| match in_place::<K>(all) {
            true => 0,
            false => panels * width * depth * LANES,
        };
        let dy_panels = self.per_group.min(self.dy_panels - group * self.per_group);
        (
            len(self.x_panels, self.x_panels, xs.w) * conv.kernel,
            len(self.dy_panels, dy_panels, ys.w),
        )
    }

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
    reserve::<K::E, K::E>(division.row_lens::<K>(conv, 0, x.shape(), dy.shape()));
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

/// Sums the units of a job into `acc`.
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
    let mut rows = PackedRows::new(kernel, conv, division, group, (x, dy));
    let _session = kernel.enter();
    for unit in units {
        let (block, y) = (unit / dy.shape().h, unit % dy.shape().h);
        let images = rows.enter(block);
        rows.pack_gradient(y, images);
        for ky in 0..conv.kernel {
            let line = (y * conv.stride + ky).checked_sub(conv.kernel / 2);
            let Some(line) = line.filter(|&line| line < x.shape().h) else {
                continue;
            };
            rows.pack_input(line, images);
            for kx in 0..conv.kernel {
                let tap = ky * conv.kernel + kx;
                let tiles = division.x_panels * division.per_group * TILE;
                rows.sum_tap((line, y), kx, images, &mut acc[tap * tiles..]);
            }
        }
    }
}

/// Images taken together.
#[derive(Clone, Copy)]
struct Images {
    first: usize,
    count: usize,
    /// Their number rounded up to what the kernel packs.
    depth: usize,
}

/// The rows of both maps that a job works on, packed: one of the output gradient, and as many of the input as a filter sees, which roll
/// along with the taps.
struct PackedRows<'a, K: Microkernel> {
    kernel: K,
    conv: Conv,
    division: &'a Division,
    x: &'a Act<K::E>,
    dy: &'a Act<K::E>,
    first_panel: usize,
    dy_panels: usize,
    x_row_len: usize,
    x_rows: Buffer<K::E>,
    dy_row: Buffer<K::E>,
    /// Which line of the input each packed row is, of which block of images.
    held: [Option<usize>; 3],
    held_block: Option<usize>,
}

impl<'a, K: Microkernel> PackedRows<'a, K> {
    fn new(
        kernel: K,
        conv: Conv,
        division: &'a Division,
        group: usize,
        (x, dy): (&'a Act<K::E>, &'a Act<K::E>),
    ) -> Self {
        let first_panel = group * division.per_group;
        let dy_panels = division.per_group.min(division.dy_panels - first_panel);
        let (x_rows, dy_row) = division.row_lens::<K>(conv, group, x.shape(), dy.shape());
        Self {
            kernel,
            conv,
            division,
            x,
            dy,
            first_panel,
            dy_panels,
            x_row_len: x_rows / conv.kernel,
            x_rows: Buffer::dirty(x_rows),
            dy_row: Buffer::dirty(dy_row),
            held: [None; 3],
            held_block: None,
        }
    }

    /// Turns to a block of images.
    fn enter(&mut self, block: usize) -> Images {
        if self.held_block != Some(block) {
            self.held = [None; 3];
            self.held_block = Some(block);
        }
        let first = block * self.division.block;
        let count = self.division.block.min(self.dy.shape().n - first);
        Images {
            first,
            count,
            depth: count.next_multiple_of(K::DEPTH_STEP),
        }
    }

    fn pack_gradient(&mut self, line: usize, images: Images) {
        if in_place::<K>(self.division.dy_panels) {
            return;
        }
        let row = row_of_pixels(self.dy, line, images, (self.first_panel, self.dy_panels));
        self.kernel.pack_gradient(&row, &mut self.dy_row);
    }

    /// Packs a line of the input unless it is there already.
    fn pack_input(&mut self, line: usize, images: Images) {
        let slot = line % self.conv.kernel;
        if self.held[slot] == Some(line) || in_place::<K>(self.division.x_panels) {
            return;
        }
        let row = row_of_pixels(self.x, line, images, (0, self.division.x_panels));
        let packed = &mut self.x_rows[slot * self.x_row_len..][..self.x_row_len];
        self.kernel.pack_input(&row, packed);
        self.held[slot] = Some(line);
    }

    /// Where the images of a line of the input are to be read.
    fn input_line(&self, line: usize, images: Images) -> Line<'_, K::E> {
        if in_place::<K>(self.division.x_panels) {
            return Line::of(self.x, line, images);
        }
        let slot = line % self.conv.kernel;
        let packed = &self.x_rows[slot * self.x_row_len..][..self.x_row_len];
        Line::packed(packed, self.x.shape().w, images)
    }

    /// The same for the output gradient.
    fn gradient_line(&self, line: usize, images: Images) -> Line<'_, K::E> {
        if in_place::<K>(self.division.dy_panels) {
            return Line::of(self.dy, line, images);
        }
        Line::packed(&self.dy_row, self.dy.shape().w, images)
    }

    /// Adds the products of a line of the input, shifted by a tap, with a line of the gradient.
    fn sum_tap(
        &self,
        (x_line, dy_line): (usize, usize),
        kx: usize,
        images: Images,
        acc: &mut [<K::E as Element>::Param],
    ) {
        let (conv, division, depth) = (self.conv, self.division, images.depth);
        let columns = Geometry::valid_columns(conv, kx, self.x.shape().w, self.dy.shape().w);
        if columns.is_empty() {
            return;
        }
        let column = columns.start * conv.stride + kx - conv.kernel / 2;
        let x = self.input_line(x_line, images);
        let dy = self.gradient_line(dy_line, images);
        let operands = Operands {
            x: &x.data[column * x.pixel..],
            x_panel: x.panel,
            x_panels: division.x_panels,
            x_channels: conv.in_channels,
            x_step: conv.stride * x.pixel,
            dy: &dy.data[columns.start * dy.pixel..],
            dy_panel: dy.panel,
            dy_panels: self.dy_panels,
            dy_channels: conv.out_channels - self.first_panel * LANES,
            dy_step: dy.pixel,
        };
        let acc_panel = division.per_group * TILE;
        let contiguous = depth * LANES;
        if (operands.x_step, operands.dy_step) == (contiguous, contiguous) {
            // Neighbouring pixels of both maps follow each other: cut the row where it suits the kernel.
            let length = columns.len() * depth;
            let chunk = (K::OUTER_DEPTH / K::DEPTH_STEP * K::DEPTH_STEP).min(length);
            for start in (0..length).step_by(chunk) {
                let offsets = (start * LANES, start * LANES);
                let depth = chunk.min(length - start);
                operands.multiply(self.kernel, offsets, 1, depth, acc, acc_panel);
            }
        } else {
            let chunk = (K::OUTER_DEPTH / depth).clamp(1, columns.len());
            for start in (0..columns.len()).step_by(chunk) {
                let segments = chunk.min(columns.len() - start);
                let offsets = (start * operands.x_step, start * operands.dy_step);
                operands.multiply(self.kernel, offsets, segments, depth, acc, acc_panel);
            }
        }
    }
}

/// The images of a line of a map, from its first pixel on.
struct Line<'a, E> {
    data: &'a [E],
    /// Elements from panel to panel and from pixel to pixel.
    panel: usize,
    pixel: usize,
}

impl<'a, E: Element> Line<'a, E> {
    /// In the map itself, which has one panel.
    fn of(map: &'a Act<E>, line: usize, images: Images) -> Self {
        let pixel = map.pixel_len();
        let first = line * map.shape().w * pixel + images.first * LANES;
        Self {
            data: &map.data()[first..],
            panel: 0,
            pixel,
        }
    }

    fn packed(data: &'a [E], width: usize, images: Images) -> Self {
        let pixel = images.depth * LANES;
        Self {
            data,
            panel: width * pixel,
            pixel,
        }
    }
}

/// Some panels of some images of a line of a map.
fn row_of_pixels<E: Element>(
    map: &Act<E>,
    line: usize,
    images: Images,
    (first_panel, panels): (usize, usize),
) -> RowOfPixels<'_, E> {
    let pixels = map.shape().w;
    RowOfPixels {
        data: &map.data()[line * pixels * map.pixel_len()..],
        pixels,
        pixel_stride: map.pixel_len(),
        image_stride: map.c_stride(),
        first_image: images.first,
        images: images.count,
        depth: images.depth,
        first_panel,
        panels,
    }
}

/// Lines of both maps, from the first pixel that a tap pairs on.
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
                // SAFETY: the driver holds the session; both lines are as this kernel packs them, and the valid columns
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
