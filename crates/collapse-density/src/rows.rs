//! Contiguous rows of features: their checks, class means and gathering into centred blocks.

use linfa::Float;
use ndarray::{ArrayView2, CowArray, Ix2};
use rayon::prelude::*;

use crate::error::{DensityError, Result};

/// Elements of a gathered block of centred rows (4 MiB).
const BLOCK_ELEMENTS: usize = 1 << 19;
/// Rows that one task checks.
const CHECK_ROWS: usize = 64;

/// Feature rows as slices; other than row-major arrays are copied once.
pub(crate) struct Rows<'a, F: Float> {
    array: CowArray<'a, F, Ix2>,
}

impl<'a, F: Float> Rows<'a, F> {
    pub(crate) fn new(features: &'a ArrayView2<F>) -> Self {
        Self {
            array: features.as_standard_layout(),
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.array.nrows()
    }

    fn n_features(&self) -> usize {
        self.array.ncols()
    }

    fn all(&self) -> &[F] {
        self.array.as_slice().unwrap_or(&[])
    }

    /// Row `i`, `[D]`.
    pub(crate) fn row(&self, i: usize) -> &[F] {
        let d = self.n_features();
        &self.all()[i * d..(i + 1) * d]
    }

    /// Writes the first columns of row `i` minus `mean` to `out`, as many as `out` holds.
    pub(crate) fn center(&self, i: usize, mean: &[f64], out: &mut [f64]) {
        for ((out, value), mean) in out.iter_mut().zip(self.row(i)).zip(mean) {
            *out = to_f64(*value) - mean;
        }
    }

    /// Means of the classes; a class without rows has the zero mean.
    ///
    /// The sums run over differences to the class's first row, so the mean is as exact as a two-pass one.
    pub(crate) fn class_means(&self, members: &[Vec<usize>]) -> Result<Vec<Vec<f64>>> {
        let mean = |indices: &Vec<usize>| {
            let mut sum = vec![0.0; self.n_features()];
            let Some((&first, rest)) = indices.split_first() else {
                return sum;
            };
            let origin: Vec<f64> = self.row(first).iter().map(|v| to_f64(*v)).collect();
            for &row in rest {
                for ((sum, value), origin) in sum.iter_mut().zip(self.row(row)).zip(&origin) {
                    *sum += to_f64(*value) - origin;
                }
            }
            let n = indices.len() as f64;
            let pairs = sum.iter().zip(&origin);
            pairs.map(|(sum, origin)| origin + sum / n).collect()
        };
        let means: Vec<Vec<f64>> = members.par_iter().map(mean).collect();
        match means.iter().position(|m| m.iter().any(|v| !v.is_finite())) {
            None => Ok(means),
            Some(class) => {
                self.check_finite()?;
                Err(DensityError::Range {
                    class,
                    what: "sum of the features",
                })
            }
        }
    }

    /// Largest distance of a feature of these rows from `mean`.
    pub(crate) fn spread(&self, indices: &[usize], mean: &[f64]) -> f64 {
        let gap = |(value, mean): (&F, &f64)| (to_f64(*value) - mean).abs();
        let rows = indices
            .iter()
            .flat_map(|row| self.row(*row).iter().zip(mean));
        rows.map(gap).fold(0.0, f64::max)
    }

    /// Names the first NaN or infinity in row-major order.
    pub(crate) fn check_finite(&self) -> Result<()> {
        let d = self.n_features();
        if d == 0 {
            return Ok(());
        }
        // Without an early exit the loop is one of vectors.
        let finite = |values: &[F]| values.iter().fold(true, |ok, v| ok & v.is_finite());
        let chunks = self.all().par_chunks(CHECK_ROWS * d);
        let Some(chunk) = chunks.map(finite).position_first(|ok| !ok) else {
            return Ok(());
        };
        let start = chunk * CHECK_ROWS * d;
        let at = self.all()[start..].iter().position(|v| !v.is_finite());
        let at = start + at.unwrap_or(0);
        Err(DensityError::NotFinite {
            row: at / d,
            column: at % d,
            value: to_f64(self.all()[at]),
        })
    }
}

/// A buffer of centred rows.
pub(crate) struct Block {
    n_features: usize,
    filled: usize,
    data: Vec<f64>,
}

impl Block {
    /// Room for `wanted` rows, or as many as make a good block.
    pub(crate) fn new(n_features: usize, wanted: usize) -> Self {
        let rows = (BLOCK_ELEMENTS / n_features)
            .clamp(64, 1024)
            .min(wanted)
            .max(1);
        Self {
            n_features,
            filled: 0,
            data: vec![0.0; rows * n_features],
        }
    }

    /// Rows that still fit.
    pub(crate) fn room(&self) -> usize {
        (self.data.len() - self.filled) / self.n_features
    }

    pub(crate) fn filled(&self) -> &[f64] {
        &self.data[..self.filled]
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Appends one row, `[D]`, where there is room.
    pub(crate) fn push(&mut self, row: impl Iterator<Item = f64>) {
        let end = self.filled + self.n_features;
        for (out, value) in self.data[self.filled..end].iter_mut().zip(row) {
            *out = value;
        }
        self.filled = end;
    }

    /// Appends centred rows, as many as fit.
    pub(crate) fn gather<F: Float>(&mut self, rows: &Rows<F>, indices: &[usize], mean: &[f64]) {
        let d = self.n_features;
        let count = indices.len().min(self.room());
        let end = self.filled + count * d;
        self.data[self.filled..end]
            .par_chunks_exact_mut(d)
            .with_min_len(32)
            .zip(indices)
            .for_each(|(out, row)| rows.center(*row, mean, out));
        self.filled = end;
    }
}

pub(crate) fn check_shape<F>(features: &ArrayView2<F>, n_features: usize) -> Result<()> {
    if features.ncols() != n_features {
        return Err(DensityError::FeatureDimension {
            expected: n_features,
            found: features.ncols(),
        });
    }
    Ok(())
}

pub(crate) fn to_f64<F: Float>(value: F) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
