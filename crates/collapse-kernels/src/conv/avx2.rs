//! AVX2 + FMA microkernel for f32.
#![allow(unsafe_code)]

use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE, Tile, pack_plain};
use crate::act::LANES;
use std::arch::x86_64::*;

/// Six rows by two halves of a panel: twelve accumulators of sixteen registers.
const ROWS: usize = 6;

/// Only for paths whose instructions were detected.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Microkernel for Avx2 {
    type E = f32;
    type Session = ();
    const GROUP: usize = 1;
    const DEPTH_STEP: usize = 1;
    const OUTER_DEPTH: usize = 96;

    fn enter(self) {}

    unsafe fn gather(self, tile: &Tile<'_, f32>) {
        // SAFETY: the caller's promises.
        unsafe { gather(tile) }
    }

    fn pack_input(self, row: &RowOfPixels<'_, f32>, packed: &mut [f32]) {
        pack_plain(row, packed);
    }

    unsafe fn outer(self, tile: OuterTile<'_, f32, f32>) {
        // SAFETY: the caller's promises.
        unsafe { outer(tile) }
    }
}

/// # Safety
/// As [`Microkernel::gather`].
#[target_feature(enable = "avx2,fma")]
unsafe fn gather(tile: &Tile<'_, f32>) {
    for panel in 0..tile.n_panels {
        let mut row = 0;
        // SAFETY: rows stay below tile.rows; the rest is the caller's promise.
        unsafe {
            while row < tile.rows {
                match tile.rows - row {
                    1 => rows::<1>(tile, panel, row),
                    2 => rows::<2>(tile, panel, row),
                    3 => rows::<3>(tile, panel, row),
                    4 => rows::<4>(tile, panel, row),
                    5 => rows::<5>(tile, panel, row),
                    _ => rows::<ROWS>(tile, panel, row),
                }
                row += ROWS;
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::gather`]; `row + R ≤ tile.rows`, `panel < tile.n_panels`.
#[inline(always)]
unsafe fn rows<const R: usize>(tile: &Tile<'_, f32>, panel: usize, row: usize) {
    // SAFETY: all addresses are those the tile names.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for tap in tile.taps {
            let source = tile
                .source
                .as_ptr()
                .add(tap.source + row * tile.source_stride);
            let source: [*const f32; R] =
                std::array::from_fn(|r| source.add(r * tile.source_stride));
            let weights = tile
                .panels
                .as_ptr()
                .add(panel * tile.panel_len + tap.index * tile.tap_len);
            for k in 0..tile.depth {
                let low = _mm256_loadu_ps(weights.add(k * LANES));
                let high = _mm256_loadu_ps(weights.add(k * LANES + 8));
                for r in 0..R {
                    let a = _mm256_broadcast_ss(&*source[r].add(k));
                    sums[r][0] = _mm256_fmadd_ps(a, low, sums[r][0]);
                    sums[r][1] = _mm256_fmadd_ps(a, high, sums[r][1]);
                }
            }
        }
        for r in 0..R {
            for half in 0..2 {
                let target = tile
                    .out
                    .add((row + r) * tile.out_stride + panel * LANES + half * 8);
                let sum = if tile.accumulate {
                    _mm256_add_ps(_mm256_loadu_ps(target), sums[r][half])
                } else {
                    sums[r][half]
                };
                _mm256_storeu_ps(target, sum);
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::outer`].
#[target_feature(enable = "avx2,fma")]
unsafe fn outer(tile: OuterTile<'_, f32, f32>) {
    for a in 0..tile.n_x {
        for b in 0..tile.n_dy {
            let acc = tile.acc[a * tile.acc_panel + b * TILE..][..TILE].as_mut_ptr();
            // SAFETY: panels a and b of the tile and their accumulators; 6 + 6 + 4 channels make the panel.
            unsafe {
                let x = tile.x.as_ptr().add(a * tile.x_panel);
                let dy = tile.dy.as_ptr().add(b * tile.dy_panel);
                block::<6>(&tile, x, dy, acc);
                block::<6>(&tile, x.add(6), dy, acc.add(6 * LANES));
                block::<4>(&tile, x.add(12), dy, acc.add(12 * LANES));
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::outer`]; `x` points at the first of `R` channels of a panel, `acc` at the first of their rows.
#[inline(always)]
unsafe fn block<const R: usize>(
    tile: &OuterTile<'_, f32, f32>,
    x: *const f32,
    dy: *const f32,
    acc: *mut f32,
) {
    // SAFETY: a segment is `depth` rows of sixteen in both operands.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for segment in 0..tile.segments {
            let (x, dy) = (x.add(segment * tile.x_step), dy.add(segment * tile.dy_step));
            for d in 0..tile.depth {
                let low = _mm256_loadu_ps(dy.add(d * LANES));
                let high = _mm256_loadu_ps(dy.add(d * LANES + 8));
                for r in 0..R {
                    let a = _mm256_broadcast_ss(&*x.add(d * LANES + r));
                    sums[r][0] = _mm256_fmadd_ps(a, low, sums[r][0]);
                    sums[r][1] = _mm256_fmadd_ps(a, high, sums[r][1]);
                }
            }
        }
        for r in 0..R {
            for half in 0..2 {
                let target = acc.add(r * LANES + half * 8);
                _mm256_storeu_ps(
                    target,
                    _mm256_add_ps(_mm256_loadu_ps(target), sums[r][half]),
                );
            }
        }
    }
}
