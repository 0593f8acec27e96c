//! AVX2 + FMA microkernel for f32.
#![allow(unsafe_code)]

use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE, Tile, pack_plain};
use crate::path::KernelPath;
use crate::shape::LANES;
use std::arch::x86_64::*;

/// Lanes of a register: half a panel. Blocks are six rows of whole panels or twelve of half ones, twelve accumulators of
/// sixteen registers.
const HALF: usize = 8;

/// The path's kernels. A value proves that the machine has the instructions.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Panics
    /// If the path does not include AVX2 and FMA.
    pub(crate) fn on(path: KernelPath) -> Self {
        path.assert_includes(KernelPath::Avx2);
        Self(())
    }
}

impl Microkernel for Avx2 {
    type E = f32;
    type Session = ();
    const GROUP: usize = 1;
    const DEPTH_STEP: usize = 1;
    const OUTER_DEPTH: usize = 96;
    const PLAIN: bool = true;

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
        // SAFETY: the caller's promise.
        unsafe {
            if tile.columns > panel * LANES + HALF {
                strips::<2, 6>(tile, panel);
            } else {
                strips::<1, 12>(tile, panel);
            }
        }
    }
}

/// All rows of a panel, `R` at a time.
///
/// # Safety
/// As [`Microkernel::gather`]; `panel < tile.n_panels`, whose columns from 8 · `H` on are zero.
#[inline(always)]
unsafe fn strips<const H: usize, const R: usize>(tile: &Tile<'_, f32>, panel: usize) {
    let mut row = 0;
    // SAFETY: rows stay below tile.rows; the rest is the caller's promise.
    unsafe {
        // Rows come in sixteens: the last eight fill two blocks of four.
        while row + R <= tile.rows && tile.rows - row != 8 {
            rows::<H, R>(tile, panel, row);
            row += R;
        }
        while row + 4 <= tile.rows {
            rows::<H, 4>(tile, panel, row);
            row += 4;
        }
        while row < tile.rows {
            rows::<H, 1>(tile, panel, row);
            row += 1;
        }
    }
}

/// # Safety
/// As [`strips`]; `row + R ≤ tile.rows`.
#[inline(always)]
unsafe fn rows<const H: usize, const R: usize>(tile: &Tile<'_, f32>, panel: usize, row: usize) {
    // SAFETY: all addresses are those the tile names.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); H]; R];
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
                let right: [__m256; H] = std::array::from_fn(|half| {
                    _mm256_loadu_ps(weights.add(k * LANES + half * HALF))
                });
                for r in 0..R {
                    let left = _mm256_broadcast_ss(&*source[r].add(k));
                    for half in 0..H {
                        sums[r][half] = _mm256_fmadd_ps(left, right[half], sums[r][half]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let target = tile.out.add((row + r) * tile.out_stride + panel * LANES);
            for (half, &sum) in sums.iter().enumerate() {
                let target = target.add(half * HALF);
                let sum = if tile.accumulate {
                    _mm256_add_ps(_mm256_loadu_ps(target), sum)
                } else {
                    sum
                };
                _mm256_storeu_ps(target, sum);
            }
            if H == 1 && !tile.accumulate {
                _mm256_storeu_ps(target.add(HALF), _mm256_setzero_ps());
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
            let channels = LANES.min(tile.x_channels - a * LANES);
            // SAFETY: panels a and b of the tile and their accumulators.
            unsafe {
                let x = tile.x.as_ptr().add(a * tile.x_panel);
                let dy = tile.dy.as_ptr().add(b * tile.dy_panel);
                if tile.dy_channels > b * LANES + HALF {
                    blocks::<2, 6>(&tile, channels, x, dy, acc);
                } else {
                    blocks::<1, 8>(&tile, channels, x, dy, acc);
                }
            }
        }
    }
}

/// `channels` rows of accumulators, `R` at a time.
///
/// # Safety
/// As [`Microkernel::outer`]; `x`, `dy` and `acc` begin panels, that of `dy` zero from channel 8 · `H` on.
#[inline(always)]
unsafe fn blocks<const H: usize, const R: usize>(
    tile: &OuterTile<'_, f32, f32>,
    channels: usize,
    x: *const f32,
    dy: *const f32,
    acc: *mut f32,
) {
    let mut first = 0;
    // SAFETY: blocks stay below the panel's sixteen channels.
    unsafe {
        while first + R <= channels {
            block::<H, R>(tile, x.add(first), dy, acc.add(first * LANES));
            first += R;
        }
        while first + 4 <= channels {
            block::<H, 4>(tile, x.add(first), dy, acc.add(first * LANES));
            first += 4;
        }
        while first < channels {
            block::<H, 1>(tile, x.add(first), dy, acc.add(first * LANES));
            first += 1;
        }
    }
}

/// # Safety
/// As [`blocks`]; `x` points at the first of `R` channels of a panel, `acc` at the first of their rows.
#[inline(always)]
unsafe fn block<const H: usize, const R: usize>(
    tile: &OuterTile<'_, f32, f32>,
    x: *const f32,
    dy: *const f32,
    acc: *mut f32,
) {
    // SAFETY: a segment is `depth` rows of sixteen in both operands.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); H]; R];
        for segment in 0..tile.segments {
            let (x, dy) = (x.add(segment * tile.x_step), dy.add(segment * tile.dy_step));
            for d in 0..tile.depth {
                let right: [__m256; H] =
                    std::array::from_fn(|half| _mm256_loadu_ps(dy.add(d * LANES + half * HALF)));
                for r in 0..R {
                    let left = _mm256_broadcast_ss(&*x.add(d * LANES + r));
                    for half in 0..H {
                        sums[r][half] = _mm256_fmadd_ps(left, right[half], sums[r][half]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (half, &sum) in sums.iter().enumerate() {
                let target = acc.add(r * LANES + half * HALF);
                _mm256_storeu_ps(target, _mm256_add_ps(_mm256_loadu_ps(target), sum));
            }
        }
    }
}
