//! Lengths of rows in the span of fixed vectors.

use ndarray::{ArrayView1, ArrayView2, CowArray, Ix2};
#[cfg(target_arch = "x86_64")]
use pulp::{
    NullaryFnOnce,
    x86::{V3, V4},
};
use rayon::prelude::*;

use crate::products::inner_products;
use crate::rows::norm;
use crate::source::ReadRow;
#[cfg(target_arch = "x86_64")]
use crate::tiles::Simd;

/// Rows of one parallel task.
const GROUP: usize = 64;
/// Running sums of a row's squares.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 8;
/// Numbers between two rows, since rows whose length is a power of two would all lie in one part of the first-level cache.
#[cfg(target_arch = "x86_64")]
const GAP: usize = 8;
/// Vectors `V` `[M, D]` by which many rows are multiplied. Zeros with which they begin cost nothing: of a
/// [`trapezoid`](crate::trapezoid) a quarter is saved at `M = D / 2`, nearly half at `M = D`.
pub struct Projection<'a> {
    vectors: CowArray<'a, f64, Ix2>,
}

impl<'a> Projection<'a> {
    /// Of `vectors` `[M, D]`, which are copied only where they are not row-major.
    #[must_use]
    pub fn new(vectors: ArrayView2<'a, f64>) -> Self {
        Self {
            vectors: match vectors.is_standard_layout() {
                true => vectors.into(),
                false => vectors.as_standard_layout().into_owned().into(),
            },
        }
    }

    /// `‖V r‖` `[N]` of `n` rows `r` `[D]`, which `read` writes; also where squares leave the range of f64.
    ///
    /// No product is kept: what is multiplied is squared and added at once.
    #[must_use]
    pub fn lengths(&self, n: usize, read: impl ReadRow) -> Vec<f64> {
        let mut squares = vec![0.0; n];
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = V4::try_new() {
            self.add_squares::<_, 16, 8>(simd, &read, &mut squares);
        } else if let Some(simd) = V3::try_new() {
            self.add_squares::<_, 8, 6>(simd, &read, &mut squares);
        } else {
            self.add_squares_portable(&read, &mut squares);
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.add_squares_portable(&read, &mut squares);
        let groups = squares.par_chunks_mut(GROUP).enumerate();
        groups.for_each(|(group, squares)| {
            for (row, square) in squares.iter_mut().enumerate() {
                *square = match square.is_finite() && *square > f64::MIN_POSITIVE {
                    true => square.sqrt(),
                    false => self.length(|out| read.read_row(group * GROUP + row, out)),
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

    fn add_squares_portable(&self, read: &impl ReadRow, squares: &mut [f64]) {
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
                    read.read_row(group * GROUP + row, out);
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
        read: &impl ReadRow,
        squares: &mut [f64],
    ) {
        let (m, d) = self.vectors.dim();
        if m == 0 || d == 0 {
            return;
        }
        let tiles = pack(self.vectors.view());
        let zeros = leading_zeros(self.vectors.view(), L);
        let groups = squares.par_chunks_mut(GROUP).enumerate();
        groups.for_each_init(
            || vec![0.0; GROUP.next_multiple_of(R) * (d + GAP)],
            |rows, (group, squares)| {
                simd.run(Group {
                    simd,
                    d,
                    tiles: &tiles,
                    zeros: &zeros,
                    rows,
                    first: group * GROUP,
                    read,
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

/// The zeros with which all of every `width` vectors begin.
#[cfg(target_arch = "x86_64")]
fn leading_zeros(vectors: ArrayView2<f64>, width: usize) -> Vec<usize> {
    let zeros = |vectors: ArrayView2<f64>| {
        let columns = vectors.columns().into_iter();
        let zeros = columns.take_while(|column| column.iter().all(|v| *v == 0.0));
        zeros.count()
    };
    let tiles = vectors.axis_chunks_iter(ndarray::Axis(0), width);
    tiles.map(zeros).collect()
}

/// A group of rows with all vectors.
#[cfg(target_arch = "x86_64")]
struct Group<'a, S, F, const L: usize, const R: usize> {
    simd: S,
    d: usize,
    /// The vectors.
    tiles: &'a [[f64; L]],
    /// Zeros with which all vectors of a tile begin.
    zeros: &'a [usize],
    /// Room for the rows.
    rows: &'a mut [f64],
    /// Number of the first row.
    first: usize,
    read: &'a F,
    squares: &'a mut [f64],
}

#[cfg(target_arch = "x86_64")]
impl<S, F, const L: usize, const R: usize> NullaryFnOnce for Group<'_, S, F, L, R>
where
    S: Simd<L, R>,
    F: ReadRow,
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { d, rows, .. } = self;
        for (row, out) in rows
            .chunks_exact_mut(d + GAP)
            .take(self.squares.len())
            .enumerate()
        {
            self.read.read_row(self.first + row, &mut out[..d]);
        }
        // Rows after the last, of which there is room for whole tiles, are multiplied in vain.
        let mut lanes = [[0.0; LANES]; GROUP];
        for (tile, zeros) in self.tiles.chunks_exact(d).zip(self.zeros) {
            let tile = &tile[*zeros..];
            let lanes = lanes[..self.squares.len()].chunks_mut(R);
            for (lanes, rows) in lanes.zip(rows.chunks_exact(R * (d + GAP))) {
                let mut vectors: [&[f64]; R] = [&[]; R];
                for (vector, row) in vectors.iter_mut().zip(rows.chunks_exact(d + GAP)) {
                    *vector = &row[*zeros..d];
                }
                let products = self.simd.multiply_vectors(tile, vectors);
                for (lanes, products) in lanes.iter_mut().zip(&products) {
                    for products in products.as_chunks::<LANES>().0 {
                        lanes
                            .iter_mut()
                            .zip(products)
                            .for_each(|(lane, v)| *lane += v * v);
                    }
                }
            }
        }
        for (square, lanes) in self.squares.iter_mut().zip(&lanes) {
            *square = lanes.iter().sum();
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
        projection.lengths(rows.nrows(), rows.view())
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
            let mut others = vec![vec![0.0; n]];
            projection.add_squares_portable(&rows.view(), &mut others[0]);
            #[cfg(target_arch = "x86_64")]
            if let Some(simd) = V3::try_new() {
                others.push(vec![0.0; n]);
                projection.add_squares::<_, 8, 6>(simd, &rows.view(), &mut others[1]);
            }
            let root = |squares: &Vec<f64>| squares.iter().map(|square| square.sqrt()).collect();
            let mut all: Vec<Vec<f64>> = others.iter().map(root).collect();
            all.push(lengths(&projection, &rows));
            for found in all {
                for (found, products) in found.iter().zip(products.rows()) {
                    let expected = norm(products);
                    let error = (found - expected).abs() / expected.max(1e-300);
                    assert!(error < 1e-13, "{n} x {m} x {d}: {found} and {expected}");
                }
            }
        }
    }

    #[test]
    fn zeros_before_the_vectors_change_nothing() {
        for (n, m, d) in [(9, 16, 64), (71, 40, 33), (3, 3, 700)] {
            let (rows, mut vectors) = (values(n, d), values(m, d));
            for (i, mut vector) in vectors.rows_mut().into_iter().enumerate() {
                vector.iter_mut().take(i).for_each(|v| *v = 0.0);
            }
            let found = lengths(&Projection::new(vectors.view()), &rows);
            for (found, products) in found.iter().zip(rows.dot(&vectors.t()).rows()) {
                let expected = norm(products);
                assert!(
                    (found - expected).abs() < 1e-13 * expected,
                    "{n} x {m} x {d}"
                );
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
