//! Products of columns by columns, a tile by a tile at a time: half of a Gram matrix.
//!
//! The rows are packed twice, by the columns of left and of right tiles, so that the inner loop reads memory in its order: per row two
//! vectors of the one and a number of the other for each column give two products of vectors a column. AVX-512 or AVX2 by [`pulp`]'s
//! safe face of them.

use std::arch::x86_64::_MM_HINT_T0;
use std::ops::Range;

use pulp::NullaryFnOnce;
use pulp::x86::{V3, V4};
use rayon::prelude::*;

/// Rows that are packed together: tiles of both sides stay in the first-level cache.
pub(crate) const DEPTH: usize = 256;
/// Rows that one task packs.
const BLOCK: usize = 64;
/// Numbers in a line of a cache.
const LINE: usize = 8;
/// Rows that it reads before it packs them: they stay in the first-level cache.
const READ: usize = 8;

/// The processor's vectors, that multiply tiles of `L` columns with tiles of `R`.
pub(crate) trait Simd<const L: usize, const R: usize>: Copy + Sync {
    /// `work` with these instructions.
    fn run<F: NullaryFnOnce>(self, work: F) -> F::Output;

    /// Has the cache line of a number ready for when it is read.
    fn prefetch(self, number: &f64);

    /// The products of the columns of two tiles, by columns of the right one.
    fn multiply(self, tiles: &Tiles<'_, Self, L, R>, left: usize, right: usize) -> [[f64; L]; R];
}

/// Tiles of the columns of two matrices of equally many rows: block after block of rows, in each of them tile after tile, in each row
/// after row.
pub(crate) struct Tiles<'a, S, const L: usize, const R: usize> {
    pub(crate) simd: S,
    /// Rows in all.
    pub(crate) depth: usize,
    /// Rows of a block.
    pub(crate) block: usize,
    pub(crate) left: &'a [[f64; L]],
    pub(crate) right: &'a [[f64; R]],
    /// Tiles side by side, of the left matrix and of the right one.
    pub(crate) side_by_side: (usize, usize),
}

/// `DEPTH` rows or fewer of a matrix, packed: block after block of rows, in each of them tile after tile, in each row after row.
pub(crate) struct Packed<S, const L: usize, const R: usize> {
    simd: S,
    depth: usize,
    d: usize,
    left: Vec<[f64; L]>,
    right: Vec<[f64; R]>,
}

impl<S: Simd<L, R>, const L: usize, const R: usize> Packed<S, L, R> {
    pub(crate) fn new(simd: S) -> Self {
        Self {
            simd,
            depth: 0,
            d: 0,
            left: Vec::new(),
            right: Vec::new(),
        }
    }

    /// Packs rows of `d` columns, at most [`DEPTH`], which `read` writes by their numbers.
    pub(crate) fn fill(
        &mut self,
        rows: Range<usize>,
        d: usize,
        read: &(impl Fn(usize, &mut [f64]) + Sync),
    ) {
        (self.depth, self.d) = (rows.len(), d);
        let n_blocks = rows.len().div_ceil(BLOCK);
        let (n_left, n_right) = (d.div_ceil(L) * BLOCK, d.div_ceil(R) * BLOCK);
        self.left.resize(n_blocks * n_left, [0.0; L]);
        self.right.resize(n_blocks * n_right, [0.0; R]);
        let simd = self.simd;
        let left = self.left.par_chunks_exact_mut(n_left);
        let blocks = left.zip(self.right.par_chunks_exact_mut(n_right));
        blocks.enumerate().for_each(|(block, (left, right))| {
            let start = rows.start + block * BLOCK;
            simd.run(Pack {
                rows: start..rows.end.min(start + BLOCK),
                d,
                read,
                left,
                right,
            });
        });
    }

    /// Adds the products of columns `start ..`, `height` of them, with columns `first ..` to these columns of a column-major panel of
    /// `height` rows, on and below the diagonal; `first` is a multiple of `R`.
    pub(crate) fn add_to(&self, columns: &mut [f64], first: usize, start: usize, height: usize) {
        let width = first + columns.len() / height;
        let tiles = Tiles {
            simd: self.simd,
            depth: self.depth,
            block: BLOCK,
            left: &self.left,
            right: &self.right,
            side_by_side: (self.d.div_ceil(L), self.d.div_ceil(R)),
        };
        for top in (0..height).step_by(L) {
            let last = (start + top + L).min(width);
            for column in (first..last).step_by(R) {
                for column in columns.chunks_exact(height).skip(column - first).take(R) {
                    let lines = column[top..height.min(top + L)].chunks(LINE);
                    lines.for_each(|line| self.simd.prefetch(&line[0]));
                }
                let sums = self.simd.multiply(&tiles, (start + top) / L, column / R);
                let out = (top, column..last);
                add_tile(columns, (first, start, height), out, &sums);
            }
        }
    }
}

/// Adds a tile to columns `first ..` of a panel of rows `start ..`: its rows from `top`, what lies on and below the diagonal of its
/// columns.
fn add_tile<const L: usize>(
    panel: &mut [f64],
    (first, start, height): (usize, usize, usize),
    (top, columns): (usize, Range<usize>),
    sums: &[[f64; L]],
) {
    for (j, sums) in columns.zip(sums) {
        let column = (j - first) * height;
        let below = &mut panel[column + top..column + height];
        match below.first_chunk_mut::<L>() {
            Some(below) if j <= start + top => {
                for i in 0..L {
                    below[i] += sums[i];
                }
            }
            _ => {
                let skip = j.saturating_sub(start + top);
                let pairs = below.iter_mut().zip(sums).skip(skip);
                pairs.for_each(|(out, sum)| *out += sum);
            }
        }
    }
}

/// Writes some rows, the first of which is row `first` of a block, into the tiles of the block: zeros after the last column.
#[inline(always)]
fn pack<const W: usize>(block: &mut [[f64; W]], first: usize, rows: &[f64], d: usize) {
    for (tile, out) in block.chunks_exact_mut(BLOCK).enumerate() {
        let columns = tile * W..d.min((tile + 1) * W);
        for (out, row) in out[first..].iter_mut().zip(rows.chunks_exact(d)) {
            let values = &row[columns.clone()];
            match values.first_chunk::<W>() {
                Some(values) => *out = *values,
                None => {
                    *out = [0.0; W];
                    out[..values.len()].copy_from_slice(values);
                }
            }
        }
    }
}

/// One block of rows.
struct Pack<'a, F, const L: usize, const R: usize> {
    rows: Range<usize>,
    d: usize,
    read: &'a F,
    left: &'a mut [[f64; L]],
    right: &'a mut [[f64; R]],
}

impl<F: Fn(usize, &mut [f64]), const L: usize, const R: usize> NullaryFnOnce for Pack<'_, F, L, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, d, read, .. } = self;
        let mut some = vec![0.0; READ * d];
        for first in (0..rows.len()).step_by(READ) {
            let count = READ.min(rows.len() - first);
            let some = &mut some[..count * d];
            for (row, out) in some.chunks_exact_mut(d).enumerate() {
                read(rows.start + first + row, out);
            }
            pack(self.left, first, some, d);
            pack(self.right, first, some, d);
        }
    }
}

/// One tile by one tile.
struct Tile<'a, S, const L: usize, const R: usize> {
    tiles: &'a Tiles<'a, S, L, R>,
    left: usize,
    right: usize,
}

impl<S, const L: usize, const R: usize> Tile<'_, S, L, R> {
    /// Calls `take` with the packed rows of both tiles, block by block.
    #[inline(always)]
    fn each(&self, mut take: impl FnMut(&[f64; L], &[f64; R])) {
        let tiles = self.tiles;
        let (n_left, n_right) = tiles.side_by_side;
        let left = tiles.left.chunks_exact(n_left * tiles.block);
        let right = tiles.right.chunks_exact(n_right * tiles.block);
        for (block, (left, right)) in left.zip(right).enumerate() {
            let count = tiles.block.min(tiles.depth - block * tiles.block);
            let left = &left[self.left * tiles.block..][..count];
            let right = &right[self.right * tiles.block..][..count];
            left.iter()
                .zip(right)
                .for_each(|(left, right)| take(left, right));
        }
    }
}

impl Simd<8, 6> for V3 {
    fn run<F: NullaryFnOnce>(self, work: F) -> F::Output {
        self.vectorize(work)
    }

    fn prefetch(self, number: &f64) {
        let number: *const f64 = number;
        self.sse._mm_prefetch::<_MM_HINT_T0>(number.cast());
    }

    fn multiply(self, tiles: &Tiles<'_, Self, 8, 6>, left: usize, right: usize) -> [[f64; 8]; 6] {
        self.vectorize(Tile { tiles, left, right })
    }
}

impl NullaryFnOnce for Tile<'_, V3, 8, 6> {
    type Output = [[f64; 8]; 6];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let V3 { avx, fma, .. } = self.tiles.simd;
        let mut sums = [[avx._mm256_setzero_pd(); 2]; 6];
        self.each(|left, right| {
            let left: [core::arch::x86_64::__m256d; 2] = pulp::cast(*left);
            for (sums, right) in sums.iter_mut().zip(right) {
                let right = avx._mm256_set1_pd(*right);
                for (sum, left) in sums.iter_mut().zip(left) {
                    *sum = fma._mm256_fmadd_pd(left, right, *sum);
                }
            }
        });
        sums.map(pulp::cast)
    }
}

impl Simd<16, 8> for V4 {
    fn run<F: NullaryFnOnce>(self, work: F) -> F::Output {
        self.vectorize(work)
    }

    fn prefetch(self, number: &f64) {
        let number: *const f64 = number;
        self.sse._mm_prefetch::<_MM_HINT_T0>(number.cast());
    }

    fn multiply(self, tiles: &Tiles<'_, Self, 16, 8>, left: usize, right: usize) -> [[f64; 16]; 8] {
        self.vectorize(Tile { tiles, left, right })
    }
}

impl NullaryFnOnce for Tile<'_, V4, 16, 8> {
    type Output = [[f64; 16]; 8];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let V4 { avx512f, .. } = self.tiles.simd;
        let mut sums = [[avx512f._mm512_setzero_pd(); 2]; 8];
        self.each(|left, right| {
            let left: [core::arch::x86_64::__m512d; 2] = pulp::cast(*left);
            for (sums, right) in sums.iter_mut().zip(right) {
                let right = avx512f._mm512_set1_pd(*right);
                for (sum, left) in sums.iter_mut().zip(left) {
                    *sum = avx512f._mm512_fmadd_pd(left, right, *sum);
                }
            }
        });
        sums.map(pulp::cast)
    }
}
