//! Half of a Gram matrix, eight columns by six at a time.
//!
//! The rows are packed twice, by eights and by sixes of columns, so that the inner loop reads memory in its order: per row two vectors
//! of the one and six numbers of the other give twelve products of vectors. AVX2 by [`pulp`]'s safe face of it.

use std::ops::Range;

use pulp::NullaryFnOnce;
use pulp::x86::V3;
use rayon::prelude::*;

/// Columns of a left tile: rows of the result.
const LEFT: usize = 8;
/// Columns of a right tile: columns of the result.
const RIGHT: usize = 6;
/// Rows that are packed together: tiles of both sides stay in the first-level cache.
const DEPTH: usize = 256;
/// Right tiles that stay in the second-level cache while all left tiles pass.
const CHUNK: usize = 32;
/// Tiles that one task packs, and rows that it reads at a time.
const PACKED_TILES: usize = 16;
const PACKED_ROWS: usize = 8;

/// `DEPTH` rows or fewer of a row-major matrix, packed.
pub(crate) struct Packed {
    simd: V3,
    depth: usize,
    left: Vec<[f64; LEFT]>,
    right: Vec<[f64; RIGHT]>,
}

impl Packed {
    /// `None` where the processor lacks the instructions.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            simd: V3::try_new()?,
            depth: 0,
            left: Vec::new(),
            right: Vec::new(),
        })
    }

    /// Packs the first rows of row-major `rows` `[K, D]`, and returns the others.
    pub(crate) fn fill<'r>(&mut self, rows: &'r [f64], d: usize) -> &'r [f64] {
        let (rows, rest) = rows.split_at(rows.len().min(DEPTH * d));
        self.depth = rows.len() / d;
        pack(&mut self.left, rows, d);
        pack(&mut self.right, rows, d);
        rest
    }

    /// Adds the products of columns `start ..` (as many as `panel` has rows) with columns `0 ..= own column` to a column-major panel
    /// of `height` rows.
    pub(crate) fn add_to(&self, panel: &mut [f64], start: usize, height: usize) {
        let width = start + height;
        for first in (0..width).step_by(CHUNK * RIGHT) {
            for top in (0..height).step_by(LEFT) {
                let last = (start + top + LEFT).min(width).min(first + CHUNK * RIGHT);
                let left = self.tile(&self.left, (start + top) / LEFT);
                for column in (first..last).step_by(RIGHT) {
                    let right = self.tile(&self.right, column / RIGHT);
                    let sums = self.simd.vectorize(Tile {
                        simd: self.simd,
                        left,
                        right,
                    });
                    add_tile(panel, (start, height), (top, column..last), &sums);
                }
            }
        }
    }

    fn tile<'t, const W: usize>(&self, packed: &'t [[f64; W]], at: usize) -> &'t [[f64; W]] {
        &packed[at * self.depth..(at + 1) * self.depth]
    }
}

/// Adds a tile to a panel of rows `start ..`: its rows from `top`, what lies on and below the diagonal of its columns.
fn add_tile(
    panel: &mut [f64],
    (start, height): (usize, usize),
    (top, columns): (usize, Range<usize>),
    sums: &[[f64; LEFT]; RIGHT],
) {
    for (j, sums) in columns.zip(sums) {
        let below = &mut panel[j * height + top..(j + 1) * height];
        match below.first_chunk_mut::<LEFT>() {
            Some(below) if j <= start + top => {
                for i in 0..LEFT {
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

/// `W` columns after `W` columns, each by rows, zeros after the last column.
fn pack<const W: usize>(out: &mut Vec<[f64; W]>, rows: &[f64], d: usize) {
    let depth = rows.len() / d;
    out.resize(d.div_ceil(W) * depth, [0.0; W]);
    let groups = out.par_chunks_mut(PACKED_TILES * depth).enumerate();
    groups.for_each(|(group, out)| {
        // A few rows at a time, so that what is read and what is written stay in the first-level cache together.
        for (first, rows) in rows.chunks(PACKED_ROWS * d).enumerate() {
            for (tile, out) in out.chunks_exact_mut(depth).enumerate() {
                let start = (group * PACKED_TILES + tile) * W;
                let columns = start..d.min(start + W);
                let out = &mut out[first * PACKED_ROWS..];
                for (out, row) in out.iter_mut().zip(rows.chunks_exact(d)) {
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
    });
}

struct Tile<'a> {
    simd: V3,
    left: &'a [[f64; LEFT]],
    right: &'a [[f64; RIGHT]],
}

impl NullaryFnOnce for Tile<'_> {
    /// By columns.
    type Output = [[f64; LEFT]; RIGHT];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let V3 { avx, fma, .. } = self.simd;
        let mut sums = [[avx._mm256_setzero_pd(); 2]; RIGHT];
        for (left, right) in self.left.iter().zip(self.right) {
            let left: [core::arch::x86_64::__m256d; 2] = pulp::cast(*left);
            for (sums, right) in sums.iter_mut().zip(right) {
                let right = avx._mm256_set1_pd(*right);
                for (sum, left) in sums.iter_mut().zip(left) {
                    *sum = fma._mm256_fmadd_pd(left, right, *sum);
                }
            }
        }
        sums.map(pulp::cast)
    }
}
