//! AVX-512 microkernels: f32 by fused multiply-add, bf16 by `vdpbf16ps`.
//!
//! Both see the source as 32-bit words, an f32 or a pair of bf16, and the panels as rows of sixteen words; only the
//! multiplication and the final store differ ([`Words`]). Eight rows by two panels fill sixteen accumulators, which hides the
//! latency of two multiplications a cycle and leaves the row pointers in registers.
#![allow(unsafe_code)]

use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE, Tile, pack_plain};
use crate::element::Element;
use crate::path::{KernelPath, Level, multiversion};
use crate::shape::LANES;
use half::bf16;
use std::arch::x86_64::*;
use std::marker::PhantomData;

const ROWS: usize = 8;

/// What f32 and bf16 pairs do differently with words of 32 bits.
pub(crate) trait Words: Copy + Send + Sync {
    type E: Element<Param = f32>;
    const GROUP: usize;
    /// The least path with the instructions.
    const LEAST: KernelPath;

    /// `sum + Σ a · b` in each of the sixteen lanes.
    ///
    /// # Safety
    /// The machine has the path's instructions.
    unsafe fn multiply(a: __m512i, b: __m512i, sum: __m512) -> __m512;

    /// Writes or adds sixteen results.
    ///
    /// # Safety
    /// Sixteen elements from `target` on are ours; the machine has the path's instructions.
    unsafe fn store(target: *mut Self::E, sum: __m512, accumulate: bool);

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
            unsafe fn with<W: Words>(tile: &Tile<'_, W::E>) {
                // SAFETY: the caller's promises.
                unsafe { gather::<W>(tile) }
            }
            // SAFETY: the caller's promises.
            unsafe { with::<Self>(tile) }
        }

        unsafe fn outer(tile: OuterTile<'_, Self::E, f32>) {
            /// # Safety
            /// As [`Microkernel::outer`].
            #[target_feature(enable = $features)]
            unsafe fn with<W: Words>(tile: OuterTile<'_, W::E, f32>) {
                // SAFETY: the caller's promises.
                unsafe { outer::<W>(tile) }
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

impl Words for Singles {
    type E = f32;
    const GROUP: usize = 1;
    const LEAST: KernelPath = KernelPath::Avx512;

    #[inline(always)]
    unsafe fn multiply(a: __m512i, b: __m512i, sum: __m512) -> __m512 {
        // SAFETY: AVX-512 F, says the caller.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum) }
    }

    #[inline(always)]
    unsafe fn store(target: *mut f32, sum: __m512, accumulate: bool) {
        // SAFETY: the caller's promises.
        unsafe {
            let sum = if accumulate {
                _mm512_add_ps(_mm512_loadu_ps(target), sum)
            } else {
                sum
            };
            _mm512_storeu_ps(target, sum);
        }
    }

    fn pack(row: &RowOfPixels<'_, f32>, packed: &mut [f32]) {
        pack_plain(row, packed);
    }

    compiled_with!("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl");
}

impl Words for Pairs {
    type E = bf16;
    const GROUP: usize = 2;
    const LEAST: KernelPath = KernelPath::Avx512Bf16;

    #[inline(always)]
    unsafe fn multiply(a: __m512i, b: __m512i, sum: __m512) -> __m512 {
        // SAFETY: AVX512-BF16, says the caller; the types are the same 512 bits.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    unsafe fn store(target: *mut bf16, sum: __m512, accumulate: bool) {
        // SAFETY: the caller's promises; the types are the same 256 bits.
        unsafe {
            let target = target.cast::<__m256i>();
            let sum = if accumulate {
                let old =
                    _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(target)));
                _mm512_add_ps(_mm512_castsi512_ps(old), sum)
            } else {
                sum
            };
            let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(sum));
            _mm256_storeu_si256(target, narrow);
        }
    }

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

/// The path's kernels for words of a kind. A value proves that the machine has the instructions.
pub(crate) struct Avx512<W>(PhantomData<W>);

impl<W: Words> Avx512<W> {
    /// # Panics
    /// If the path does not include what the words need.
    pub(crate) fn on(path: KernelPath) -> Self {
        path.assert_includes(W::LEAST);
        Self(PhantomData)
    }
}

impl<W> Clone for Avx512<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Avx512<W> {}

impl<W: Words> Microkernel for Avx512<W> {
    type E = W::E;
    type Session = ();
    const GROUP: usize = W::GROUP;
    const DEPTH_STEP: usize = W::GROUP;
    const OUTER_DEPTH: usize = 96 * W::GROUP;

    fn enter(self) {}

    unsafe fn gather(self, tile: &Tile<'_, W::E>) {
        // SAFETY: the caller's promises.
        unsafe { W::gather(tile) }
    }

    fn pack_input(self, row: &RowOfPixels<'_, W::E>, packed: &mut [W::E]) {
        W::pack(row, packed);
    }

    unsafe fn outer(self, tile: OuterTile<'_, W::E, f32>) {
        // SAFETY: the caller's promises.
        unsafe { W::outer(tile) }
    }
}

/// # Safety
/// As [`Microkernel::gather`].
#[inline(always)]
unsafe fn gather<W: Words>(tile: &Tile<'_, W::E>) {
    let mut row = 0;
    // SAFETY: rows stay below tile.rows; the rest is the caller's promise.
    unsafe {
        while row < tile.rows {
            let left = tile.rows - row;
            if tile.n_panels == 2 {
                some_rows::<W, 2>(tile, row, left);
            } else {
                some_rows::<W, 1>(tile, row, left);
            }
            row += ROWS;
        }
    }
}

/// # Safety
/// As [`Microkernel::gather`]; `row + left ≤ tile.rows`, `P ≤ tile.n_panels`.
#[inline(always)]
unsafe fn some_rows<W: Words, const P: usize>(tile: &Tile<'_, W::E>, row: usize, left: usize) {
    // SAFETY: at most `left` rows; the rest is the caller's promise.
    unsafe {
        match left {
            1 => rows::<W, 1, P>(tile, row),
            2 => rows::<W, 2, P>(tile, row),
            3 => rows::<W, 3, P>(tile, row),
            4 => rows::<W, 4, P>(tile, row),
            5 => rows::<W, 5, P>(tile, row),
            6 => rows::<W, 6, P>(tile, row),
            7 => rows::<W, 7, P>(tile, row),
            _ => rows::<W, ROWS, P>(tile, row),
        }
    }
}

/// # Safety
/// As [`Microkernel::gather`]; `row + R ≤ tile.rows`, `P ≤ tile.n_panels`.
#[inline(always)]
unsafe fn rows<W: Words, const R: usize, const P: usize>(tile: &Tile<'_, W::E>, row: usize) {
    // SAFETY: all addresses are those the tile names. A source row holds its channels rounded up to sixteen, so that the
    // second half of a last pair exists, and is zero.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); P]; R];
        let words = tile.depth.div_ceil(W::GROUP);
        for tap in tile.taps {
            let source = tile
                .source
                .as_ptr()
                .add(tap.source + row * tile.source_stride);
            let source: [*const i32; R] =
                std::array::from_fn(|r| source.add(r * tile.source_stride).cast());
            let weights = tile.panels.as_ptr().add(tap.index * tile.tap_len);
            let weights: [*const __m512i; P] =
                std::array::from_fn(|p| weights.add(p * tile.panel_len).cast());
            for k in 0..words {
                let b: [__m512i; P] =
                    std::array::from_fn(|p| _mm512_loadu_si512(weights[p].add(k)));
                for r in 0..R {
                    let a = _mm512_set1_epi32(source[r].add(k).read_unaligned());
                    for p in 0..P {
                        sums[r][p] = W::multiply(a, b[p], sums[r][p]);
                    }
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                W::store(
                    tile.out.add((row + r) * tile.out_stride + p * LANES),
                    sums[r][p],
                    tile.accumulate,
                );
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::outer`].
#[inline(always)]
unsafe fn outer<W: Words>(tile: OuterTile<'_, W::E, f32>) {
    for a in 0..tile.n_x {
        let acc = tile.acc[a * tile.acc_panel..].as_mut_ptr();
        // SAFETY: panels a and b of the tile; both hold `segments` segments, the accumulators n_dy tiles.
        unsafe {
            let x = tile.x.as_ptr().add(a * tile.x_panel).cast();
            match (tile.n_dy, tile.x_channels - a * LANES) {
                (2, ..=4) => block::<W, 4, 2>(&tile, x, 0, acc),
                (2, ..=8) => block::<W, 8, 2>(&tile, x, 0, acc),
                (2, _) => {
                    block::<W, 8, 2>(&tile, x, 0, acc);
                    block::<W, 8, 2>(&tile, x, 8, acc);
                }
                (_, ..=4) => block::<W, 4, 1>(&tile, x, 0, acc),
                (_, ..=8) => block::<W, 8, 1>(&tile, x, 0, acc),
                _ => block::<W, 16, 1>(&tile, x, 0, acc),
            }
        }
    }
}

/// `R` input channels from `first` on by `P` panels of the gradient.
///
/// # Safety
/// As [`Microkernel::outer`]; `x` is a panel of the tile, `acc` its accumulators.
#[inline(always)]
unsafe fn block<W: Words, const R: usize, const P: usize>(
    tile: &OuterTile<'_, W::E, f32>,
    x: *const i32,
    first: usize,
    acc: *mut f32,
) {
    // SAFETY: a segment is depth / GROUP rows of sixteen words in both operands.
    unsafe {
        let target = |r: usize, p: usize| acc.add(p * TILE + (first + r) * LANES);
        let mut sums = [[_mm512_setzero_ps(); P]; R];
        for segment in 0..tile.segments {
            let x = x.add(segment * tile.x_step / W::GROUP + first);
            let dy = tile.dy.as_ptr().add(segment * tile.dy_step);
            let dy: [*const __m512i; P] = std::array::from_fn(|p| dy.add(p * tile.dy_panel).cast());
            for d in 0..tile.depth / W::GROUP {
                let b: [__m512i; P] = std::array::from_fn(|p| _mm512_loadu_si512(dy[p].add(d)));
                for r in 0..R {
                    let a = _mm512_set1_epi32(x.add(d * LANES + r).read_unaligned());
                    for p in 0..P {
                        sums[r][p] = W::multiply(a, b[p], sums[r][p]);
                    }
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                _mm512_storeu_ps(
                    target(r, p),
                    _mm512_add_ps(_mm512_loadu_ps(target(r, p)), sums[r][p]),
                );
            }
        }
    }
}
