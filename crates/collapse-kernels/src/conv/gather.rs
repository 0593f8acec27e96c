//! Driver of the gathered products: forward pass and gradient to the input.
#![allow(unsafe_code)]

use super::geometry::{Geometry, MAX_TAPS, Tap};
use super::kernel::{Microkernel, Store, Tile};
use super::pack::PanelLayout;
use crate::act::{Act, MATRIX_ROWS};
use crate::element::Element;
use crate::norm::{ChannelStatistics, PixelMoments, PixelMomentsView};
use crate::path::Level;
use crate::shape::LANES;
use crate::shared::SharedMut;
use rayon::prelude::*;
use std::ops::Range;

/// Weights of a group of panels stay below this, half of a common second-level cache.
const GROUP_BYTES: usize = 512 << 10;
/// Three rows of the source over a block of images stay below this, so that the next row of targets finds them in cache.
const SOURCE_BYTES: usize = 384 << 10;
/// Work below which another task costs more than it gains, in multiplications.
const MULTIPLICATIONS_PER_TASK: usize = 1 << 20;

/// How the work divides: panels into groups, images into blocks, pixels into chunks; a job is one of each.
struct Division {
    layout: PanelLayout,
    /// Panels of a group.
    per_group: usize,
    groups: usize,
    /// Images taken together.
    block: usize,
    blocks: usize,
    chunks: usize,
    pixels_per_chunk: usize,
    /// Pixels of a matrix handed to the microkernel at once.
    run_limit: usize,
}

impl Division {
    fn new<K: Microkernel>(geometry: &Geometry, source: &Act<K::E>, out: &Act<K::E>) -> Self {
        let layout = PanelLayout::new(geometry.conv, geometry.direction, K::GROUP);
        let (shape, n_stride) = (geometry.target, out.n_stride());
        let block = images_per_block(geometry, source, n_stride);
        let panel_bytes = layout.panel_len() * size_of::<K::E>();
        let per_group =
            (GROUP_BYTES / panel_bytes / 2 * 2).clamp(2, layout.panels.next_multiple_of(2));
        let groups = layout.panels.div_ceil(per_group);
        let multiplications = shape.pixels() * shape.n * layout.len();
        let tasks =
            (multiplications / MULTIPLICATIONS_PER_TASK).clamp(1, 8 * rayon::current_num_threads());
        let blocks = n_stride.div_ceil(block);
        let chunks = tasks.div_ceil(groups * blocks).clamp(1, shape.pixels());
        // Rows of neighbouring pixels are evenly spaced only where all images are taken.
        let run_limit = if blocks == 1 {
            (MATRIX_ROWS / n_stride).max(1)
        } else {
            1
        };
        Self {
            layout,
            per_group,
            groups,
            block,
            blocks,
            chunks,
            pixels_per_chunk: shape.pixels().div_ceil(chunks),
            run_limit,
        }
    }

    fn jobs(&self) -> usize {
        self.groups * self.blocks * self.chunks
    }
}

/// Fills `out` from `source`. Every element is one sum in the order of taps and channels, so neither the division
/// into tasks nor into runs shows in the result. Returns statistics if asked.
pub(crate) fn gather<K: Microkernel>(
    kernel: K,
    level: Level,
    geometry: &Geometry,
    source: &Act<K::E>,
    panels: &[K::E],
    out: &mut Act<K::E>,
    store: Store,
) -> Option<ChannelStatistics<<K::E as Element>::Param>> {
    let shape = geometry.target;
    let block = images_per_block(geometry, source, out.n_stride());
    let new_moments = || PixelMoments::<<K::E as Element>::Param>::new(shape, block);
    let mut moments = (store == Store::WriteAndMeasure).then(new_moments);
    if shape.is_empty() {
        return moments.map(|m| m.combine());
    }
    let division = Division::new::<K>(geometry, source, out);
    let (n_stride, c_stride, pixel_len) = (out.n_stride(), out.c_stride(), out.pixel_len());
    let gather = Gather {
        kernel,
        level,
        geometry,
        source,
        panels,
        division: &division,
        n_stride,
        c_stride,
        pixel_len,
        target: SharedMut::new(out.data_mut()),
        moments: moments.as_mut().map(PixelMoments::view),
        accumulate: store == Store::Add,
    };
    match division.jobs() {
        1 => gather.job(0),
        jobs => (0..jobs)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|job| gather.job(job)),
    }
    moments.map(|m| m.combine())
}

struct Gather<'a, K: Microkernel> {
    kernel: K,
    level: Level,
    geometry: &'a Geometry,
    source: &'a Act<K::E>,
    panels: &'a [K::E],
    division: &'a Division,
    /// Of the target.
    n_stride: usize,
    c_stride: usize,
    pixel_len: usize,
    target: SharedMut<'a, K::E>,
    moments: Option<PixelMomentsView<'a, <K::E as Element>::Param>>,
    accumulate: bool,
}

/// Some pixels of a line, some images and some panels of a job.
struct Run {
    pixels: Range<usize>,
    image_block: usize,
    first_image: usize,
    /// Rows of the matrix.
    rows: usize,
    panels: Range<usize>,
}

impl<K: Microkernel> Gather<'_, K> {
    /// Takes a job run by run.
    fn job(&self, job: usize) {
        let division = self.division;
        let (group, image_block, chunk) = (
            job / division.chunks / division.blocks,
            job / division.chunks % division.blocks,
            job % division.chunks,
        );
        let first_image = image_block * division.block;
        let images = division.block.min(self.n_stride - first_image);
        let end = ((chunk + 1) * division.pixels_per_chunk).min(self.geometry.target.pixels());
        let panels = group * division.per_group
            ..((group + 1) * division.per_group).min(division.layout.panels);
        let _session = self.kernel.enter();
        let mut pixel = chunk * division.pixels_per_chunk;
        while pixel < end {
            let column = pixel % self.geometry.target.w;
            let length = self
                .geometry
                .run(column, division.run_limit)
                .min(end - pixel);
            let run = Run {
                pixels: pixel..pixel + length,
                image_block,
                first_image,
                rows: if division.blocks == 1 {
                    length * self.n_stride
                } else {
                    images
                },
                panels: panels.clone(),
            };
            self.multiply(&run);
            self.measure(&run);
            pixel += length;
        }
    }

    /// The sums of a run.
    fn multiply(&self, run: &Run) {
        let (geometry, source, layout) = (self.geometry, self.source, self.division.layout);
        let (pixel, width) = (run.pixels.start, geometry.target.w);
        let mut taps = [Tap::default(); MAX_TAPS];
        let count = geometry.taps(pixel / width, pixel % width, source.pixel_len(), &mut taps);
        taps[..count]
            .iter_mut()
            .for_each(|tap| tap.source += run.first_image * source.c_stride());
        let (depth, _) = geometry.direction.channels(geometry.conv);
        let start = pixel * self.pixel_len + run.first_image * self.c_stride;
        for panel in run.panels.clone().step_by(2) {
            let tile = Tile {
                source: source.data(),
                taps: &taps[..count],
                source_stride: source.c_stride(),
                depth,
                panels: &self.panels[panel * layout.panel_len()..],
                panel_len: layout.panel_len(),
                tap_len: layout.tap_len(),
                n_panels: (run.panels.end - panel).min(2),
                columns: geometry.target.c - panel * LANES,
                // SAFETY: this image of the pixel and column panel · 16 lie inside the target.
                out: unsafe { self.target.pointer(start + panel * LANES) },
                out_stride: self.c_stride,
                rows: run.rows,
                accumulate: self.accumulate,
            };
            // SAFETY: the session is held; geometry keeps taps and pixels on their maps and packing gave
            // the panels their length; jobs differ in pixels, images or columns, so none shares elements.
            unsafe { self.kernel.gather(&tile) };
        }
    }

    /// Their moments, if they are wanted. A last block may hold padding alone.
    fn measure(&self, run: &Run) {
        let wanted = run.first_image < self.geometry.target.n;
        if let Some(moments) = self.moments.as_ref().filter(|_| wanted) {
            for pixel in run.pixels.clone() {
                // SAFETY: these columns of these pixels were just written by this job, no other touches them.
                unsafe {
                    moments.measure(
                        self.level,
                        (pixel, run.image_block),
                        run.panels.clone(),
                        &self.target,
                        self.pixel_len,
                    )
                };
            }
        }
    }
}

/// Images taken together, by shapes alone because statistics are summed by blocks.
fn images_per_block<T: Element>(geometry: &Geometry, source: &Act<T>, n_stride: usize) -> usize {
    const STEP: usize = 32;
    let image_bytes = geometry.conv.kernel * geometry.source.w * source.c_stride() * size_of::<T>();
    let block = (SOURCE_BYTES / image_bytes / STEP * STEP).max(STEP);
    if block >= n_stride || geometry.conv.kernel == 1 {
        n_stride.max(1)
    } else {
        block
    }
}
