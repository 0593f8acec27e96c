//! Driver of the gathered products: forward pass and gradient to the input.
#![allow(unsafe_code)]

use super::geometry::{Geometry, MAX_TAPS, Tap};
use super::kernel::{Microkernel, Store, Tile};
use super::pack::PanelLayout;
use crate::act::{Act, LANES};
use crate::element::Element;
use crate::norm::{ChannelStatistics, PixelMoments};
use crate::path::Level;
use crate::shared::SharedMut;
use rayon::prelude::*;

/// Weights of a group of panels stay below this, half of a common second-level cache.
const GROUP_BYTES: usize = 512 << 10;
/// Three rows of the source over a block of images stay below this, so that the next row of targets finds them in cache.
const SOURCE_BYTES: usize = 384 << 10;
/// Rows of a matrix handed to the microkernel at once.
const ROWS_PER_RUN: usize = 128;
/// Work below which another task costs more than it gains, in multiplications.
const MULTIPLICATIONS_PER_TASK: usize = 1 << 20;

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
    let layout = PanelLayout::new(geometry.conv, geometry.direction, K::GROUP);
    let shape = geometry.target;
    let pixels = shape.pixels();
    let block = images_per_block(geometry, source, out.n_stride());
    let new_moments = || PixelMoments::<<K::E as Element>::Param>::new(shape, block);
    let mut moments = (store == Store::WriteAndMeasure).then(new_moments);
    if shape.is_empty() {
        return moments.map(|m| m.combine());
    }
    let depth = match geometry.direction {
        super::geometry::Direction::Forward => geometry.conv.in_channels,
        super::geometry::Direction::ToInput => geometry.conv.out_channels,
    };

    let panel_bytes = layout.panel_len() * size_of::<K::E>();
    let per_group = (GROUP_BYTES / panel_bytes / 2 * 2).clamp(2, layout.panels.next_multiple_of(2));
    let groups = layout.panels.div_ceil(per_group);
    let multiplications = pixels * shape.n * layout.len();
    let tasks =
        (multiplications / MULTIPLICATIONS_PER_TASK).clamp(1, 8 * rayon::current_num_threads());
    let blocks = out.n_stride().div_ceil(block);
    let chunks = tasks.div_ceil(groups * blocks).clamp(1, pixels);
    let pixels_per_chunk = pixels.div_ceil(chunks);

    let (n_stride, c_stride, pixel_len) = (out.n_stride(), out.c_stride(), out.pixel_len());
    // Rows of neighbouring pixels are evenly spaced only where all images are taken.
    let run_limit = if blocks == 1 {
        (ROWS_PER_RUN / n_stride).max(1)
    } else {
        1
    };
    let target = SharedMut::new(out.data_mut());
    let moments_view = moments.as_mut().map(|m| m.view());

    let work = |job: usize| {
        let (group, image_block, chunk) =
            (job / chunks / blocks, job / chunks % blocks, job % chunks);
        let first_image = image_block * block;
        let images = block.min(n_stride - first_image);
        let group_panels = group * per_group..((group + 1) * per_group).min(layout.panels);
        let end = ((chunk + 1) * pixels_per_chunk).min(pixels);
        let _session = kernel.enter();
        let mut taps = [Tap::default(); MAX_TAPS];
        let mut p = chunk * pixels_per_chunk;
        while p < end {
            let (y, x) = (p / shape.w, p % shape.w);
            let run = geometry.run(x, run_limit).min(end - p);
            let count = geometry.taps(y, x, source.pixel_len(), &mut taps);
            taps[..count]
                .iter_mut()
                .for_each(|tap| tap.source += first_image * source.c_stride());
            for panel in group_panels.clone().step_by(2) {
                let tile = Tile {
                    source: source.data(),
                    taps: &taps[..count],
                    source_stride: source.c_stride(),
                    depth,
                    panels: &panels[panel * layout.panel_len()..],
                    panel_len: layout.panel_len(),
                    tap_len: layout.tap_len(),
                    n_panels: (group_panels.end - panel).min(2),
                    columns: shape.c - panel * LANES,
                    // SAFETY: this image of pixel p and column panel · 16 lie inside the target.
                    out: unsafe {
                        target.pointer(p * pixel_len + first_image * c_stride + panel * LANES)
                    },
                    out_stride: c_stride,
                    rows: if blocks == 1 { run * n_stride } else { images },
                    accumulate: store == Store::Add,
                };
                // SAFETY: the session is held; geometry keeps taps and pixels on their maps and packing gave
                // the panels their length; jobs differ in pixels, images or columns, so none shares elements.
                unsafe { kernel.gather(&tile) };
            }
            // A last block may hold padding alone.
            if let Some(moments) = moments_view.as_ref().filter(|_| first_image < shape.n) {
                for pixel in p..p + run {
                    // SAFETY: these columns of these pixels were just written by this job, no other touches them.
                    unsafe {
                        moments.measure(
                            level,
                            (pixel, image_block),
                            group_panels.clone(),
                            &target,
                            pixel_len,
                        )
                    };
                }
            }
            p += run;
        }
    };
    let jobs = groups * blocks * chunks;
    if jobs == 1 {
        work(0);
    } else {
        (0..jobs).into_par_iter().with_max_len(1).for_each(work);
    }
    moments.map(|m| m.combine())
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
