//! Products of columns by columns, a tile by a tile at a time: half of a Gram matrix.
//!
//! The rows are packed by the columns of left tiles and, where these do not consist of right ones, of right tiles too, so that the inner
//! loop reads memory in its order.

use std::ops::Range;

use pulp::NullaryFnOnce;
use rayon::prelude::*;

use crate::source::ReadRow;
use crate::tiles::{Simd, Tiles};

/// Rows that are packed together: tiles of both sides stay in the first-level cache.
pub(crate) const DEPTH: usize = 128;
/// Rows that one task packs.
const BLOCK: usize = 64;
/// Numbers in a line of a cache.
const LINE: usize = 8;
/// Rows that it reads before it packs them: they stay in the first-level cache.
const READ: usize = 8;

/// `DEPTH` rows or fewer of a matrix, packed: block after block of rows, in each of them tile after tile, in each row after row.
pub(crate) struct Packed<S, const L: usize, const R: usize> {
    simd: S,
    depth: usize,
    d: usize,
    left: Vec<[f64; L]>,
    right: Vec<[f64; R]>,
}

impl<S: Simd<L, R>, const L: usize, const R: usize> Packed<S, L, R> {
    /// Whether right tiles are parts of left ones.
    const IN_ONE: bool = L.is_multiple_of(R);

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
    pub(crate) fn fill(&mut self, rows: Range<usize>, d: usize, read: &impl ReadRow) {
        (self.depth, self.d) = (rows.len(), d);
        let n_blocks = rows.len().div_ceil(BLOCK);
        let (n_left, n_right) = (d.div_ceil(L) * BLOCK, d.div_ceil(R) * BLOCK);
        self.left.resize(n_blocks * n_left, [0.0; L]);
        let mut right: Vec<&mut [[f64; R]]> = Vec::new();
        match Self::IN_ONE {
            true => right.resize_with(n_blocks, Default::default),
            false => {
                self.right.resize(n_blocks * n_right, [0.0; R]);
                right.extend(self.right.chunks_exact_mut(n_right));
            }
        }
        let simd = self.simd;
        let blocks = self.left.par_chunks_exact_mut(n_left).zip(right);
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
        self.simd.run(Add {
            packed: self,
            columns,
            first,
            start,
            height,
        });
    }
}

/// Some columns of a panel.
struct Add<'a, S, const L: usize, const R: usize> {
    packed: &'a Packed<S, L, R>,
    columns: &'a mut [f64],
    first: usize,
    start: usize,
    height: usize,
}

impl<S: Simd<L, R>, const L: usize, const R: usize> NullaryFnOnce for Add<'_, S, L, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            packed,
            columns,
            first,
            start,
            height,
        } = self;
        let simd = packed.simd;
        let width = first + columns.len() / height;
        let tiles = Tiles {
            simd,
            depth: packed.depth,
            block: BLOCK,
            left: &packed.left,
            right: (!Packed::<S, L, R>::IN_ONE).then_some(&packed.right),
            side_by_side: (packed.d.div_ceil(L), packed.d.div_ceil(R)),
        };
        for top in (0..height).step_by(L) {
            let last = (start + top + L).min(width);
            for column in (first..last).step_by(R) {
                for column in columns.chunks_exact(height).skip(column - first).take(R) {
                    let lines = column[top..height.min(top + L)].chunks(LINE);
                    lines.for_each(|line| simd.prefetch(&line[0]));
                }
                let sums = simd.multiply(&tiles, (start + top) / L, column / R);
                let out = (top, column..last);
                add_tile(columns, (first, start, height), out, &sums);
            }
        }
    }
}

/// Adds a tile to columns `first ..` of a panel of rows `start ..`: its rows from `top`, what lies on and below the diagonal of its
/// columns.
#[inline(always)]
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

impl<F: ReadRow, const L: usize, const R: usize> NullaryFnOnce for Pack<'_, F, L, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, d, read, .. } = self;
        let mut some = vec![0.0; READ * d];
        for first in (0..rows.len()).step_by(READ) {
            let count = READ.min(rows.len() - first);
            let some = &mut some[..count * d];
            for (row, out) in some.chunks_exact_mut(d).enumerate() {
                read.read_row(rows.start + first + row, out);
            }
            pack(self.left, first, some, d);
            pack(self.right, first, some, d);
        }
    }
}
