//! Microkernel in plain Rust: the reference the others are tested against, and the path of other architectures and of f64.
//!
//! Compiled for the vector instructions of the path as well; multiplication and addition stay apart, so the results are
//! those of the baseline.
#![allow(unsafe_code)]

use super::kernel::{
    Microkernel, OuterTile, RowOfPixels, TILE, Tile, finish, pack_plain, zero_sums,
};
use crate::element::Float;
use crate::path::Level;
use crate::shape::LANES;
use std::marker::PhantomData;

/// Rows in registers at once: sixteen 128-bit registers on the x86-64 baseline, thirty-two on AArch64.
const ROWS: usize = if cfg!(target_arch = "aarch64") { 4 } else { 2 };

pub(crate) struct Portable<P> {
    level: Level,
    element: PhantomData<P>,
}

impl<P> Portable<P> {
    pub(crate) const fn new(level: Level) -> Self {
        Self {
            level,
            element: PhantomData,
        }
    }
}

impl<P> Clone for Portable<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Portable<P> {}

impl<P: Float> Microkernel for Portable<P> {
    type E = P;
    type Session = ();
    const GROUP: usize = 1;
    const DEPTH_STEP: usize = 1;
    const OUTER_DEPTH: usize = 96;
    const PLAIN: bool = true;

    fn enter(self) {}

    unsafe fn gather(self, tile: &Tile<'_, P>) {
        // SAFETY: the caller's promise; a level above the baseline exists only where its instructions were detected.
        unsafe {
            match self.level {
                Level::Base => gather::<P, ROWS>(tile),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => wide::gather_avx2(tile),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => wide::gather_avx512(tile),
            }
        }
    }

    fn pack_input(self, row: &RowOfPixels<'_, P>, packed: &mut [P]) {
        pack_plain(row, packed);
    }

    unsafe fn outer(self, tile: OuterTile<'_, P, P>) {
        match self.level {
            Level::Base => outer::<P, ROWS>(tile),
            // SAFETY: a level above the baseline exists only where its instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { wide::outer_avx2(tile) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { wide::outer_avx512(tile) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Float, OuterTile, Tile, gather, outer};

    /// # Safety
    /// As for `Microkernel::gather`.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn gather_avx2<P: Float>(tile: &Tile<'_, P>) {
        // SAFETY: the caller's promise.
        unsafe { gather::<P, 2>(tile) }
    }

    /// # Safety
    /// As for `Microkernel::gather`.
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn gather_avx512<P: Float>(tile: &Tile<'_, P>) {
        // SAFETY: the caller's promise.
        unsafe { gather::<P, 6>(tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn outer_avx2<P: Float>(tile: OuterTile<'_, P, P>) {
        outer::<P, 2>(tile);
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn outer_avx512<P: Float>(tile: OuterTile<'_, P, P>) {
        outer::<P, 8>(tile);
    }
}

/// # Safety
/// As for [`Microkernel::gather`].
#[inline(always)]
unsafe fn gather<P: Float, const R: usize>(tile: &Tile<'_, P>) {
    for panel in 0..tile.n_panels {
        let mut row = 0;
        while row + R <= tile.rows {
            // SAFETY: the caller's promise, for a part of the tile.
            unsafe { rows::<P, R>(tile, panel, row) };
            row += R;
        }
        while row < tile.rows {
            // SAFETY: as above.
            unsafe { rows::<P, 1>(tile, panel, row) };
            row += 1;
        }
    }
}

/// `R` divides sixteen.
#[inline(always)]
fn outer<P: Float, const R: usize>(tile: OuterTile<'_, P, P>) {
    for a in 0..tile.n_x {
        let channels = LANES.min(tile.x_channels - a * LANES);
        for b in 0..tile.n_dy {
            let acc = &mut tile.acc[a * tile.acc_panel + b * TILE..][..TILE];
            let rows = acc.chunks_exact_mut(LANES * R).take(channels.div_ceil(R));
            for (i, acc) in rows.enumerate() {
                let mut sums = zero_sums::<P, R>();
                for segment in 0..tile.segments {
                    let x =
                        &tile.x[a * tile.x_panel + segment * tile.x_step..][..tile.depth * LANES];
                    let dy = &tile.dy[b * tile.dy_panel + segment * tile.dy_step..]
                        [..tile.depth * LANES];
                    for (x, dy) in x
                        .as_chunks::<LANES>()
                        .0
                        .iter()
                        .zip(dy.as_chunks::<LANES>().0)
                    {
                        for r in 0..R {
                            let factor = x[i * R + r];
                            for j in 0..LANES {
                                sums[r][j] = factor.multiply_add(dy[j], sums[r][j]);
                            }
                        }
                    }
                }
                // Row by row: over all sums at once, compilers for AArch64 leave the loops above scalar.
                for (acc, sums) in acc.as_chunks_mut::<LANES>().0.iter_mut().zip(&sums) {
                    acc.iter_mut().zip(sums).for_each(|(a, &s)| *a += s);
                }
            }
        }
    }
}

/// # Safety
/// As for [`Microkernel::gather`]; `row + R ≤ tile.rows`, `panel < tile.n_panels`.
#[inline(always)]
unsafe fn rows<P: Float, const R: usize>(tile: &Tile<'_, P>, panel: usize, row: usize) {
    let mut sums = zero_sums::<P, R>();
    for tap in tile.taps {
        let weights =
            &tile.panels[panel * tile.panel_len + tap.index * tile.tap_len..][..tile.depth * LANES];
        let source: [&[P]; R] = std::array::from_fn(|r| {
            &tile.source[tap.source + (row + r) * tile.source_stride..][..tile.depth]
        });
        for (k, weights) in weights.chunks_exact(LANES).enumerate() {
            for r in 0..R {
                let factor = source[r][k];
                for j in 0..LANES {
                    sums[r][j] = factor.multiply_add(weights[j], sums[r][j]);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        // SAFETY: the caller says rows and columns of the tile lie in the target and are ours alone.
        let target = unsafe {
            std::slice::from_raw_parts_mut(
                tile.out.add((row + r) * tile.out_stride + panel * LANES),
                LANES,
            )
        };
        finish::<P>(target, sums, tile.accumulate);
    }
}
