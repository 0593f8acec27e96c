//! Tiles of columns times tiles of columns, in registers.
//!
//! Per row two vectors of the left tile and a number of the right one for each column give two products of vectors a column. AVX-512 or
//! AVX2 by [`pulp`]'s safe face of them.

use std::arch::x86_64::_MM_HINT_T0;

use pulp::NullaryFnOnce;
use pulp::x86::{V3, V4};

/// The processor's vectors, that multiply tiles of `L` columns with tiles of `R`.
pub(crate) trait Simd<const L: usize, const R: usize>: Copy + Sync {
    /// `work` with these instructions.
    fn run<F: NullaryFnOnce>(self, work: F) -> F::Output;

    /// Has the cache line of a number ready for when it is read.
    fn prefetch(self, number: &f64);

    /// The products of the columns of two tiles, by columns of the right one.
    fn multiply(self, tiles: &Tiles<'_, Self, L, R>, left: usize, right: usize) -> [[f64; L]; R];

    /// The products of the columns of a tile with vectors that are at least as long.
    fn multiply_vectors(self, tile: &[[f64; L]], vectors: [&[f64]; R]) -> [[f64; L]; R];
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
    /// `None` where both are one matrix and each right tile is a part of a left one.
    pub(crate) right: Option<&'a [[f64; R]]>,
    /// Tiles side by side, of the left matrix and of the right one.
    pub(crate) side_by_side: (usize, usize),
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
        for block in 0..tiles.depth.div_ceil(tiles.block) {
            let first = block * tiles.block;
            let count = tiles.block.min(tiles.depth - first);
            let left = |tile: usize| &tiles.left[first * n_left + tile * tiles.block..][..count];
            let rows = left(self.left).iter();
            match tiles.right {
                Some(right) => {
                    let right = &right[first * n_right + self.right * tiles.block..][..count];
                    rows.zip(right).for_each(|(left, right)| take(left, right));
                }
                None => {
                    let parts = L / R;
                    let (whole, part) = (left(self.right / parts), self.right % parts);
                    rows.zip(whole)
                        .for_each(|(left, whole)| take(left, &whole.as_chunks::<R>().0[part]));
                }
            }
        }
    }
}

/// One tile by vectors.
struct Vectors<'a, S, const L: usize, const R: usize> {
    simd: S,
    tile: &'a [[f64; L]],
    vectors: [&'a [f64]; R],
}

/// Rows of a tile whose numbers are sought in the vectors together.
const AT_ONCE: usize = 8;

/// [`Simd`] of `$simd`: tiles of `$left` columns, two vectors, by tiles of `$right`.
macro_rules! simd {
    ($simd:ident, $left:literal x $right:literal, $feature:ident, $fma:ident:
     $vector:ident, $zero:ident, $set:ident, $fmadd:ident) => {
        impl Simd<$left, $right> for $simd {
            fn run<F: NullaryFnOnce>(self, work: F) -> F::Output {
                self.vectorize(work)
            }

            #[inline(always)]
            fn prefetch(self, number: &f64) {
                let number: *const f64 = number;
                self.sse._mm_prefetch::<_MM_HINT_T0>(number.cast());
            }

            fn multiply(
                self,
                tiles: &Tiles<'_, Self, $left, $right>,
                left: usize,
                right: usize,
            ) -> [[f64; $left]; $right] {
                self.vectorize(Tile { tiles, left, right })
            }

            fn multiply_vectors(
                self,
                tile: &[[f64; $left]],
                vectors: [&[f64]; $right],
            ) -> [[f64; $left]; $right] {
                self.vectorize(Vectors {
                    simd: self,
                    tile,
                    vectors,
                })
            }
        }

        impl NullaryFnOnce for Tile<'_, $simd, $left, $right> {
            type Output = [[f64; $left]; $right];

            #[inline(always)]
            fn call(self) -> Self::Output {
                let simd = self.tiles.simd;
                let mut sums = [[simd.$feature.$zero(); 2]; $right];
                self.each(|left, right| {
                    let left: [core::arch::x86_64::$vector; 2] = pulp::cast(*left);
                    for (sums, right) in sums.iter_mut().zip(right) {
                        let right = simd.$feature.$set(*right);
                        for (sum, left) in sums.iter_mut().zip(left) {
                            *sum = simd.$fma.$fmadd(left, right, *sum);
                        }
                    }
                });
                sums.map(pulp::cast)
            }
        }

        impl NullaryFnOnce for Vectors<'_, $simd, $left, $right> {
            type Output = [[f64; $left]; $right];

            #[inline(always)]
            fn call(self) -> Self::Output {
                let Self {
                    simd,
                    tile,
                    vectors,
                } = self;
                let mut sums = [[simd.$feature.$zero(); 2]; $right];
                let mut add = |left: &[f64; $left], numbers: &[&[f64]; $right], k: usize| {
                    let left: [core::arch::x86_64::$vector; 2] = pulp::cast(*left);
                    for (sums, numbers) in sums.iter_mut().zip(numbers) {
                        let right = simd.$feature.$set(numbers[k]);
                        for (sum, left) in sums.iter_mut().zip(left) {
                            *sum = simd.$fma.$fmadd(left, right, *sum);
                        }
                    }
                };
                let (parts, rest) = tile.as_chunks::<AT_ONCE>();
                for (at, part) in parts.iter().enumerate() {
                    let mut numbers: [&[f64]; $right] = [&[]; $right];
                    for (numbers, vector) in numbers.iter_mut().zip(vectors) {
                        *numbers = &vector.as_chunks::<AT_ONCE>().0[at];
                    }
                    for (k, left) in part.iter().enumerate() {
                        add(left, &numbers, k);
                    }
                }
                let first = tile.len() - rest.len();
                for (k, left) in rest.iter().enumerate() {
                    add(left, &vectors, first + k);
                }
                sums.map(pulp::cast)
            }
        }
    };
}

simd!(V4, 16 x 8, avx512f, avx512f: __m512d, _mm512_setzero_pd, _mm512_set1_pd, _mm512_fmadd_pd);
simd!(V3, 8 x 6, avx, fma: __m256d, _mm256_setzero_pd, _mm256_set1_pd, _mm256_fmadd_pd);
