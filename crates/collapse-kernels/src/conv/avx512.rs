//! AVX-512 microkernels: f32 by fused multiply-add, bf16 by `vdpbf16ps`.
//!
//! Both see the source as 32-bit words, an f32 or a pair of bf16, and the panels as rows of sixteen words; only the
//! multiplication and the final store differ ([`registers`]). Eight rows by two panels fill sixteen accumulators, which hides the
//! latency of two multiplications a cycle and leaves the row pointers in registers.
#![allow(unsafe_code)]

mod registers;

use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE, Tile, pack_plain};
use crate::element::Element;
use crate::path::{KernelPath, Level, multiversion};
use crate::shape::LANES;
use half::bf16;
pub(super) use registers::Words;
use std::arch::x86_64::{__m256i, __m512i};
use std::marker::PhantomData;

const ROWS: usize = 8;
/// Rows at once by half registers where their distance is known to the compiler, so that one pointer serves them all.
const NARROW_ROWS: usize = 16;
/// Columns or channels of a panel that fit half a register.
const HALF: usize = LANES / 2;

/// What f32 and bf16 pairs do differently beside their registers.
pub(crate) trait Elements: Copy + Send + Sync {
    type E: Element<Param = f32>;
    const GROUP: usize;
    /// Whether a packed panel is the map as it stands.
    const PLAIN: bool;
    /// The least path with the instructions.
    const LEAST: KernelPath;

    fn pack(row: &RowOfPixels<'_, Self::E>, packed: &mut [Self::E]);

    /// [`gather`] compiled with the path's instructions.
    ///
    /// # Safety
    /// As [`Microkernel::gather`].
    unsafe fn gather(tile: &Tile<'_, Self::E>);

    /// [`outer`] compiled with the path's instructions.
    ///
    /// # Safety
    /// As [`Microkernel::outer`].
    unsafe fn outer(tile: OuterTile<'_, Self::E, f32>);
}

macro_rules! compiled_with {
    ($features:literal) => {
        unsafe fn gather(tile: &Tile<'_, Self::E>) {
            /// # Safety
            /// As [`Microkernel::gather`].
            #[target_feature(enable = $features)]
            unsafe fn with<S: Elements>(tile: &Tile<'_, S::E>)
            where
                __m512i: Words<S::E>,
                __m256i: Words<S::E>,
            {
                // SAFETY: the caller's promises.
                unsafe { gather::<S>(tile) }
            }
            // SAFETY: the caller's promises.
            unsafe { with::<Self>(tile) }
        }

        unsafe fn outer(tile: OuterTile<'_, Self::E, f32>) {
            /// # Safety
            /// As [`Microkernel::outer`].
            #[target_feature(enable = $features)]
            unsafe fn with<S: Elements>(tile: OuterTile<'_, S::E, f32>)
            where
                __m512i: Words<S::E>,
                __m256i: Words<S::E>,
            {
                // SAFETY: the caller's promises.
                unsafe { outer::<S>(tile) }
            }
            // SAFETY: the caller's promises.
            unsafe { with::<Self>(tile) }
        }
    };
}

#[derive(Clone, Copy)]
pub(crate) struct Singles;

#[derive(Clone, Copy)]
pub(crate) struct Pairs;

impl Elements for Singles {
    type E = f32;
    const GROUP: usize = 1;
    const PLAIN: bool = true;
    const LEAST: KernelPath = KernelPath::Avx512;

    fn pack(row: &RowOfPixels<'_, f32>, packed: &mut [f32]) {
        pack_plain(row, packed);
    }

    compiled_with!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl");
}

impl Elements for Pairs {
    type E = bf16;
    const GROUP: usize = 2;
    const PLAIN: bool = false;
    const LEAST: KernelPath = KernelPath::Avx512Bf16;

    fn pack(row: &RowOfPixels<'_, bf16>, packed: &mut [bf16]) {
        pack_pairs(Level::Avx512, row, packed);
    }

    compiled_with!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16");
}

multiversion! {
    /// `[panel][pixel][depth / 2][16][2]`: the images of a pair side by side.
    pub(crate) fn pack_pairs<'a, E: Element>(row: &RowOfPixels<'a, E>, packed: &mut [E]) {
        let zeros = [E::zeroed(); LANES];
        for panel in 0..row.panels {
            let panel_data = &mut packed[panel * row.panel_len()..][..row.panel_len()];
            for (pixel, segment) in panel_data.chunks_exact_mut(row.depth * LANES).enumerate() {
                for (pair, lanes) in segment.chunks_exact_mut(2 * LANES).enumerate() {
                    let even = if 2 * pair < row.images { row.lanes(panel, pixel, 2 * pair) } else { &zeros };
                    let odd = if 2 * pair + 1 < row.images { row.lanes(panel, pixel, 2 * pair + 1) } else { &zeros };
                    for j in 0..LANES {
                        lanes[2 * j] = even[j];
                        lanes[2 * j + 1] = odd[j];
                    }
                }
            }
        }
    }
}

/// The path's kernels for elements of a kind. A value proves that the machine has the instructions.
pub(crate) struct Avx512<S>(PhantomData<S>);

impl<S: Elements> Avx512<S> {
    /// # Panics
    /// If the path does not include what the elements need.
    pub(crate) fn on(path: KernelPath) -> Self {
        path.assert_includes(S::LEAST);
        Self(PhantomData)
    }
}

impl<S> Clone for Avx512<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Avx512<S> {}

impl<S: Elements> Microkernel for Avx512<S> {
    type E = S::E;
    type Session = ();
    const GROUP: usize = S::GROUP;
    const DEPTH_STEP: usize = S::GROUP;
    const OUTER_DEPTH: usize = 96 * S::GROUP;
    const PLAIN: bool = S::PLAIN;

    fn enter(self) {}

    unsafe fn gather(self, tile: &Tile<'_, S::E>) {
        // SAFETY: the caller's promises.
        unsafe { S::gather(tile) }
    }

    fn pack_input(self, row: &RowOfPixels<'_, S::E>, packed: &mut [S::E]) {
        S::pack(row, packed);
    }

    unsafe fn outer(self, tile: OuterTile<'_, S::E, f32>) {
        // SAFETY: the caller's promises.
        unsafe { S::outer(tile) }
    }
}

/// # Safety
/// As [`Microkernel::gather`].
#[inline(always)]
unsafe fn gather<S: Elements>(tile: &Tile<'_, S::E>)
where
    __m512i: Words<S::E>,
    __m256i: Words<S::E>,
{
    // SAFETY: the caller's promise.
    unsafe {
        match (tile.n_panels, tile.columns) {
            (2, _) => all_rows::<S, __m512i, 2>(tile),
            (_, ..=HALF) => all_rows::<S, __m256i, 1>(tile),
            _ => all_rows::<S, __m512i, 1>(tile),
        }
    }
}

/// # Safety
/// As [`Microkernel::gather`]; `P ≤ tile.n_panels`, and the columns beyond the register's are zero.
#[inline(always)]
unsafe fn all_rows<S: Elements, R: Words<S::E>, const P: usize>(tile: &Tile<'_, S::E>) {
    let mut row = 0;
    // SAFETY: rows stay below tile.rows; the rest is the caller's promise.
    unsafe {
        if R::LANES < LANES && tile.source_stride == LANES {
            while row + NARROW_ROWS <= tile.rows {
                rows::<S, R, NARROW_ROWS, P, LANES>(tile, row);
                row += NARROW_ROWS;
            }
        }
        while row < tile.rows {
            match tile.rows - row {
                1 => rows::<S, R, 1, P, 0>(tile, row),
                2 => rows::<S, R, 2, P, 0>(tile, row),
                3 => rows::<S, R, 3, P, 0>(tile, row),
                4 => rows::<S, R, 4, P, 0>(tile, row),
                5 => rows::<S, R, 5, P, 0>(tile, row),
                6 => rows::<S, R, 6, P, 0>(tile, row),
                7 => rows::<S, R, 7, P, 0>(tile, row),
                _ => rows::<S, R, ROWS, P, 0>(tile, row),
            }
            row += ROWS;
        }
    }
}

/// # Safety
/// As [`all_rows`]; `row + N ≤ tile.rows`, and `D` is the tile's `source_stride` or 0.
#[inline(always)]
unsafe fn rows<S: Elements, R: Words<S::E>, const N: usize, const P: usize, const D: usize>(
    tile: &Tile<'_, S::E>,
    row: usize,
) {
    let stride = if D > 0 { D } else { tile.source_stride };
    // SAFETY: all addresses are those the tile names. A source row holds its channels rounded up to sixteen, so that the
    // second half of a last pair exists, and is zero.
    unsafe {
        let mut sums = [[R::zero(); P]; N];
        let words = tile.depth.div_ceil(S::GROUP);
        for tap in tile.taps {
            let source = tile.source.as_ptr().add(tap.source + row * stride);
            let source: [*const i32; N] = std::array::from_fn(|r| source.add(r * stride).cast());
            let weights = tile.panels.as_ptr().add(tap.index * tile.tap_len);
            let weights: [*const i32; P] =
                std::array::from_fn(|p| weights.add(p * tile.panel_len).cast());
            for k in 0..words {
                let b: [R; P] = std::array::from_fn(|p| R::words(weights[p].add(k * LANES)));
                for r in 0..N {
                    let a = R::broadcast(source[r].add(k).read_unaligned());
                    for p in 0..P {
                        sums[r][p] = a.multiply(b[p], sums[r][p]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let target = tile.out.add((row + r) * tile.out_stride);
            for (p, &sum) in sums.iter().enumerate() {
                R::store(target.add(p * LANES), sum, tile.accumulate);
            }
            if R::LANES < LANES && !tile.accumulate {
                R::store(target.add(HALF), R::zero(), false);
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::outer`].
#[inline(always)]
unsafe fn outer<S: Elements>(tile: OuterTile<'_, S::E, f32>)
where
    __m512i: Words<S::E>,
    __m256i: Words<S::E>,
{
    for a in 0..tile.n_x {
        let acc = tile.acc[a * tile.acc_panel..].as_mut_ptr();
        let channels = tile.x_channels - a * LANES;
        // SAFETY: panels a and b of the tile; both hold `segments` segments, the accumulators n_dy tiles.
        unsafe {
            let x = tile.x.as_ptr().add(a * tile.x_panel).cast();
            match (tile.n_dy, tile.dy_channels, channels) {
                (2, _, ..=4) => block::<S, __m512i, 4, 2>(&tile, x, 0, acc),
                (2, _, ..=HALF) => block::<S, __m512i, 8, 2>(&tile, x, 0, acc),
                (2, _, _) => {
                    block::<S, __m512i, 8, 2>(&tile, x, 0, acc);
                    block::<S, __m512i, 8, 2>(&tile, x, 8, acc);
                }
                (_, ..=HALF, ..=4) => block::<S, __m256i, 4, 1>(&tile, x, 0, acc),
                (_, ..=HALF, ..=HALF) => block::<S, __m256i, 8, 1>(&tile, x, 0, acc),
                (_, ..=HALF, _) => block::<S, __m256i, 16, 1>(&tile, x, 0, acc),
                (_, _, ..=4) => block::<S, __m512i, 4, 1>(&tile, x, 0, acc),
                (_, _, ..=HALF) => block::<S, __m512i, 8, 1>(&tile, x, 0, acc),
                _ => block::<S, __m512i, 16, 1>(&tile, x, 0, acc),
            }
        }
    }
}

/// `N` input channels from `first` on by `P` panels of the gradient.
///
/// # Safety
/// As [`Microkernel::outer`]; `x` is a panel of the tile, `acc` its accumulators, and channels of the gradient beyond the
/// register's are zero.
#[inline(always)]
unsafe fn block<S: Elements, R: Words<S::E>, const N: usize, const P: usize>(
    tile: &OuterTile<'_, S::E, f32>,
    x: *const i32,
    first: usize,
    acc: *mut f32,
) {
    // SAFETY: a segment is depth / GROUP rows of sixteen words in both operands.
    unsafe {
        let mut sums = [[R::zero(); P]; N];
        for segment in 0..tile.segments {
            let x = x.add(segment * tile.x_step / S::GROUP + first);
            let dy = tile.dy.as_ptr().add(segment * tile.dy_step);
            let dy: [*const i32; P] = std::array::from_fn(|p| dy.add(p * tile.dy_panel).cast());
            for d in 0..tile.depth / S::GROUP {
                let b: [R; P] = std::array::from_fn(|p| R::words(dy[p].add(d * LANES)));
                for r in 0..N {
                    let a = R::broadcast(x.add(d * LANES + r).read_unaligned());
                    for p in 0..P {
                        sums[r][p] = a.multiply(b[p], sums[r][p]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (p, &sum) in sums.iter().enumerate() {
                R::add_to(acc.add(p * TILE + (first + r) * LANES), sum);
            }
        }
    }
}
