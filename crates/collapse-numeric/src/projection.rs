//! Lengths of rows in the span of fixed vectors.

use ndarray::{ArrayView1, ArrayView2, CowArray, Ix2};
#[cfg(target_arch = "x86_64")]
use pulp::{
    NullaryFnOnce,
    x86::{V3, V4},
};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::gram::{Simd, Tiles};
use crate::products::inner_products;
use crate::rows::norm;

/// Rows of one parallel task.
const GROUP: usize = 64;

/// Vectors `V` `[M, D]` in the order in which the processor multiplies many rows by them.
pub struct Projection<'a> {
    vectors: CowArray<'a, f64, Ix2>,
    #[cfg(target_arch = "x86_64")]
    packed: Packed,
}

#[cfg(target_arch = "x86_64")]
enum Packed {
    Avx512(V4, Vec<[f64; 16]>),
    Avx2(V3, Vec<[f64; 8]>),
    Not,
}

impl<'a> Projection<'a> {
    /// Of `vectors` `[M, D]`, which are copied only where they are not row-major.
    #[must_use]
    pub fn new(vectors: ArrayView2<'a, f64>) -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            packed: if let Some(simd) = V4::try_new() {
                Packed::Avx512(simd, pack(vectors))
            } else if let Some(simd) = V3::try_new() {
                Packed::Avx2(simd, pack(vectors))
            } else {
                Packed::Not
            },
            vectors: match vectors.is_standard_layout() {
                true => vectors.into(),
                false => vectors.as_standard_layout().into_owned().into(),
            },
        }
    }

    /// `‖V r‖` `[N]` of `n` rows `r` `[D]`, each of which `read` writes by its number, from any thread; also where squares leave the
    /// range of f64.
    ///
    /// No product is kept: what is multiplied is squared and added at once.
    #[must_use]
    pub fn lengths(&self, n: usize, read: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
        let mut squares = vec![0.0; n];
        #[cfg(target_arch = "x86_64")]
        match &self.packed {
            Packed::Avx512(simd, left) => self.add_squares(*simd, left, &read, &mut squares),
            Packed::Avx2(simd, left) => self.add_squares(*simd, left, &read, &mut squares),
            Packed::Not => self.add_squares_portable(&read, &mut squares),
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.add_squares_portable(&read, &mut squares);
        let groups = squares.par_chunks_mut(GROUP).enumerate();
        groups.for_each(|(group, squares)| {
            for (row, square) in squares.iter_mut().enumerate() {
                *square = match square.is_finite() && *square > f64::MIN_POSITIVE {
                    true => square.sqrt(),
                    false => self.length(|out| read(group * GROUP + row, out)),
                };
            }
        });
        squares
    }

    /// One row's, where its square leaves the range of f64.
    fn length(&self, read: impl FnOnce(&mut [f64])) -> f64 {
        let (m, d) = self.vectors.dim();
        let (mut row, mut inside) = (vec![0.0; d], vec![0.0; m]);
        read(&mut row);
        inner_products(&row, self.values(), d, &mut inside);
        norm(ArrayView1::from(&inside))
    }

    fn values(&self) -> &[f64] {
        self.vectors.as_slice().unwrap_or_default()
    }

    fn add_squares_portable(
        &self,
        read: &(impl Fn(usize, &mut [f64]) + Sync),
        squares: &mut [f64],
    ) {
        let (m, d) = self.vectors.dim();
        let groups = squares.par_chunks_mut(GROUP).enumerate();
        groups.for_each_init(
            || (vec![0.0; GROUP * d], vec![0.0; GROUP * m]),
            |(rows, inside), (group, squares)| {
                let (rows, inside) = (
                    &mut rows[..squares.len() * d],
                    &mut inside[..squares.len() * m],
                );
                for (row, out) in rows.chunks_exact_mut(d.max(1)).enumerate() {
                    read(group * GROUP + row, out);
                }
                inner_products(rows, self.values(), d, inside);
                for (square, inside) in squares.iter_mut().zip(inside.chunks_exact(m.max(1))) {
                    *square = inside.iter().map(|v| v * v).sum();
                }
            },
        );
    }

    #[cfg(target_arch = "x86_64")]
    fn add_squares<S: Simd<L, R>, const L: usize, const R: usize>(
        &self,
        simd: S,
        left: &[[f64; L]],
        read: &(impl Fn(usize, &mut [f64]) + Sync),
        squares: &mut [f64],
    ) {
        let d = self.vectors.ncols();
        if left.is_empty() {
            return;
        }
        let groups = squares.par_chunks_mut(GROUP).enumerate();
        groups.for_each_init(
            || (vec![0.0; R * d], Vec::new()),
            |(some, right), (group, squares)| {
                right.resize(GROUP.div_ceil(R) * d, [0.0; R]);
                simd.run(Group {
                    simd,
                    d,
                    left,
                    right,
                    some,
                    read: |row: usize, out: &mut [f64]| read(group * GROUP + row, out),
                    squares,
                });
            },
        );
    }
}

/// Vectors as columns of tiles, tile after tile: zeros after the last.
#[cfg(target_arch = "x86_64")]
fn pack<const W: usize>(vectors: ArrayView2<f64>) -> Vec<[f64; W]> {
    let (m, d) = vectors.dim();
    let mut packed = vec![[0.0; W]; m.div_ceil(W) * d];
    for (i, vector) in vectors.rows().into_iter().enumerate() {
        let tile = &mut packed[i / W * d..][..d];
        for (out, value) in tile.iter_mut().zip(vector) {
            out[i % W] = *value;
        }
    }
    packed
}

/// Writes `W` rows of `d` columns as the columns of a tile, eight numbers of each at a time: so much the registers hold.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose<const W: usize>(rows: &[f64], tile: &mut [[f64; W]], d: usize) {
    const AT_ONCE: usize = 8;
    for (part, out) in tile.chunks_mut(AT_ONCE).enumerate() {
        let first = part * AT_ONCE;
        let Some(out) = out.first_chunk_mut::<AT_ONCE>() else {
            for (k, out) in out.iter_mut().enumerate() {
                *out = std::array::from_fn(|row| rows[row * d + first + k]);
            }
            return;
        };
        let mut values = [[0.0; AT_ONCE]; W];
        for (values, row) in values.iter_mut().zip(rows.chunks_exact(d)) {
            values.copy_from_slice(&row[first..first + AT_ONCE]);
        }
        for (k, out) in out.iter_mut().enumerate() {
            *out = std::array::from_fn(|row| values[row][k]);
        }
    }
}

/// A group of rows with all vectors.
#[cfg(target_arch = "x86_64")]
struct Group<'a, S, F, const L: usize, const R: usize> {
    simd: S,
    d: usize,
    left: &'a [[f64; L]],
    /// Room for the packed rows.
    right: &'a mut [[f64; R]],
    /// Room for the rows of a tile.
    some: &'a mut [f64],
    read: F,
    squares: &'a mut [f64],
}

#[cfg(target_arch = "x86_64")]
impl<S, F, const L: usize, const R: usize> NullaryFnOnce for Group<'_, S, F, L, R>
where
    S: Simd<L, R>,
    F: Fn(usize, &mut [f64]),
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { d, squares, .. } = self;
        let n = squares.len();
        for (tile, packed) in self.right.chunks_exact_mut(d).enumerate() {
            let rows = tile * R..n.min((tile + 1) * R);
            if rows.len() < R {
                self.some.fill(0.0);
            }
            for (row, out) in rows.zip(self.some.chunks_exact_mut(d)) {
                (self.read)(row, out);
            }
            transpose(self.some, packed, d);
        }
        let tiles = Tiles {
            simd: self.simd,
            depth: d,
            block: d,
            left: self.left,
            right: self.right,
            side_by_side: (self.left.len() / d, self.right.len() / d),
        };
        for left in 0..self.left.len() / d {
            for (right, squares) in squares.chunks_mut(R).enumerate() {
                let products = self.simd.multiply(&tiles, left, right);
                for (square, products) in squares.iter_mut().zip(&products) {
                    *square += products.iter().map(|v| v * v).sum::<f64>();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Numbers of both signs that no formula of the kernels knows.
    fn values(n: usize, d: usize) -> Array2<f64> {
        Array2::from_shape_fn((n, d), |(i, j)| ((i * 31 + j * 17 + 5) as f64).sin())
    }

    fn lengths(projection: &Projection<'_>, rows: &Array2<f64>) -> Vec<f64> {
        projection.lengths(rows.nrows(), |row, out| {
            out.iter_mut()
                .zip(rows.row(row))
                .for_each(|(out, v)| *out = *v);
        })
    }

    #[test]
    fn lengths_are_norms_of_products() {
        for (n, m, d) in [
            (1, 1, 1),
            (130, 17, 5),
            (64, 16, 64),
            (71, 40, 33),
            (3, 2, 700),
        ] {
            let (rows, vectors) = (values(n, d), values(m, d) * 0.5);
            let projection = Projection::new(vectors.view());
            let products = rows.dot(&vectors.t());
            let portable = Projection {
                vectors: vectors.view().into(),
                #[cfg(target_arch = "x86_64")]
                packed: Packed::Not,
            };
            for found in [lengths(&projection, &rows), lengths(&portable, &rows)] {
                for (found, products) in found.iter().zip(products.rows()) {
                    let expected = norm(products);
                    let error = (found - expected).abs() / expected.max(1e-300);
                    assert!(error < 1e-13, "{n} x {m} x {d}: {found} and {expected}");
                }
            }
        }
    }

    #[test]
    fn lengths_survive_the_ends_of_the_range() {
        let vectors = values(20, 12);
        let projection = Projection::new(vectors.view());
        let plain = lengths(&projection, &values(70, 12));
        for scale in [1e-300, 1e200, 1e-200] {
            let found = lengths(&projection, &(values(70, 12) * scale));
            for (found, plain) in found.iter().zip(&plain) {
                assert!((found / scale / plain - 1.0).abs() < 1e-13, "{scale:e}");
            }
        }
        assert_eq!(lengths(&projection, &Array2::zeros((2, 12))), [0.0, 0.0]);
    }

    #[test]
    fn without_vectors_all_lengths_are_zero() {
        let none = Array2::zeros((0, 4));
        let projection = Projection::new(none.view());
        assert_eq!(lengths(&projection, &values(3, 4)), [0.0; 3]);
    }
}
