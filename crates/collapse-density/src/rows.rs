//! Contiguous rows of features: their checks, class means and gathering into centred blocks.

use collapse_numeric::check_finite;
use linfa::Float;
use ndarray::{ArrayView2, CowArray, Ix2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Elements of a gathered block of centred rows (4 MiB).
const BLOCK_ELEMENTS: usize = 1 << 19;

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

    /// Row `i` in f64, `[D]`.
    pub(crate) fn to_vec(&self, i: usize) -> Vec<f64> {
        self.row(i).iter().map(|v| to_f64(*v)).collect()
    }

    /// Writes row `i` minus `center` to `out`.
    pub(crate) fn center_about(&self, i: usize, center: &Center, out: &mut [f64]) {
        let values = self.row(i).iter().zip(&center.origin);
        for ((out, (value, origin)), offset) in out.iter_mut().zip(values).zip(&center.offset) {
            *out = (to_f64(*value) - origin) - offset;
        }
    }

    /// Centres of the classes about the origins they already have, else about their first row; `None` for a class without rows.
    pub(crate) fn centers(
        &self,
        members: &[Vec<usize>],
        origins: &[Option<&[f64]>],
    ) -> Result<Vec<Option<Center>>> {
        let center = |(indices, origin): (&Vec<usize>, &Option<&[f64]>)| {
            let &first = indices.first()?;
            let origin = origin.map_or_else(|| self.to_vec(first), <[f64]>::to_vec);
            let mut offset = vec![0.0; self.n_features()];
            for &row in indices {
                for ((sum, value), origin) in offset.iter_mut().zip(self.row(row)).zip(&origin) {
                    *sum += to_f64(*value) - origin;
                }
            }
            let n = indices.len() as f64;
            offset.iter_mut().for_each(|sum| *sum /= n);
            Some(Center { origin, offset })
        };
        let centers: Vec<Option<Center>> = members.par_iter().zip(origins).map(center).collect();
        let bad = |center: &Option<Center>| {
            center
                .as_ref()
                .is_some_and(|c| c.offset.iter().any(|v| !v.is_finite()))
        };
        match centers.iter().position(bad) {
            None => Ok(centers),
            Some(class) => {
                self.check_finite()?;
                Err(Error::Range {
                    class,
                    what: "sum of the features",
                })
            }
        }
    }

    /// Largest distance of a feature of these rows from `center`.
    pub(crate) fn spread(&self, indices: &[usize], center: &Center) -> f64 {
        let mut centered = vec![0.0; self.n_features()];
        indices.iter().fold(0.0, |largest, &row| {
            self.center_about(row, center, &mut centered);
            centered
                .iter()
                .fold(largest, |max, v| f64::max(max, v.abs()))
        })
    }

    /// Names the first NaN or infinity in row-major order.
    pub(crate) fn check_finite(&self) -> Result<()> {
        Ok(check_finite("features", self.array.view())?)
    }
}

/// A mean as `origin + offset`: the origin is one of the rows, so that the offset is as small as their spread and
/// keeps its digits where all rows nearly coincide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Center {
    pub(crate) origin: Vec<f64>,
    pub(crate) offset: Vec<f64>,
}

impl Center {
    /// The mean itself, rounded once.
    pub(crate) fn mean(&self) -> Vec<f64> {
        let parts = self.origin.iter().zip(&self.offset);
        parts.map(|(origin, offset)| origin + offset).collect()
    }

    /// `other − self`, exact to the rounding of the offsets when the origins are near.
    pub(crate) fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = f64> + 'a {
        let origins = other.origin.iter().zip(&self.origin);
        let offsets = other.offset.iter().zip(&self.offset);
        let pairs = origins.zip(offsets);
        pairs.map(|((b, a), (q, p))| (b - a) + (q - p))
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
    pub(crate) fn gather<F: Float>(&mut self, rows: &Rows<F>, indices: &[usize], center: &Center) {
        let d = self.n_features;
        let count = indices.len().min(self.room());
        let end = self.filled + count * d;
        self.data[self.filled..end]
            .par_chunks_exact_mut(d)
            .with_min_len(32)
            .zip(indices)
            .for_each(|(out, row)| rows.center_about(*row, center, out));
        self.filled = end;
    }
}

pub(crate) fn check_shape<F>(features: &ArrayView2<F>, n_features: usize) -> Result<()> {
    if features.ncols() != n_features {
        return Err(Error::FeatureDimension {
            expected: n_features,
            found: features.ncols(),
        });
    }
    Ok(())
}

pub(crate) fn to_f64<F: Float>(value: F) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}
