//! Rows of features: their checks, class means and gathering into centred blocks.

use collapse_numeric::{About, ReadRow, RowSource};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Elements of a gathered block of centred rows (4 MiB).
const BLOCK_ELEMENTS: usize = 1 << 19;

/// Writes the first columns of row `i` minus `mean` to `out`, as many as `out` holds.
pub(crate) fn center<R: RowSource>(rows: &R, i: usize, mean: &[f64], out: &mut [f64]) {
    About { rows, center: mean }.read_row(i, out);
}

/// Writes row `i` minus `center` to `out`.
#[inline(always)]
pub(crate) fn center_about<R: RowSource>(rows: &R, i: usize, center: &Center, out: &mut [f64]) {
    rows.read(i, out);
    let values = out.iter_mut().zip(&center.origin).zip(&center.offset);
    for ((value, origin), offset) in values {
        *value = (*value - origin) - offset;
    }
}

/// Rows, each less the centre of its class.
pub(crate) struct AboutMeans<'a, R> {
    pub(crate) rows: &'a R,
    pub(crate) labels: &'a [usize],
    /// By class, of every class that has rows.
    pub(crate) centers: &'a [Option<Center>],
}

impl<R: RowSource> ReadRow for AboutMeans<'_, R> {
    #[inline(always)]
    fn read_row(&self, row: usize, out: &mut [f64]) {
        if let Some(center) = &self.centers[self.labels[row]] {
            center_about(self.rows, row, center, out);
        }
    }
}

/// Some of the rows, less one centre.
pub(crate) struct AboutMean<'a, R> {
    pub(crate) rows: &'a R,
    pub(crate) indices: &'a [usize],
    pub(crate) center: &'a Center,
}

impl<R: RowSource> ReadRow for AboutMean<'_, R> {
    #[inline(always)]
    fn read_row(&self, row: usize, out: &mut [f64]) {
        center_about(self.rows, self.indices[row], self.center, out);
    }
}

/// Centres of the classes about the origins they already have, else about their first row; `None` for a class without rows.
pub(crate) fn centers<R: RowSource>(
    rows: &R,
    members: &[Vec<usize>],
    origins: &[Option<&[f64]>],
) -> Result<Vec<Option<Center>>> {
    let d = rows.ncols();
    let center = |(indices, origin): (&Vec<usize>, &Option<&[f64]>)| {
        let &first = indices.first()?;
        let mut values = vec![0.0; d];
        rows.read(first, &mut values);
        let origin = origin.map_or_else(|| values.clone(), <[f64]>::to_vec);
        let mut offset = vec![0.0; d];
        for &row in indices {
            rows.read(row, &mut values);
            for ((sum, value), origin) in offset.iter_mut().zip(&values).zip(&origin) {
                *sum += value - origin;
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
            rows.check_finite("features")?;
            Err(Error::Range {
                class,
                what: "sum of the features",
            })
        }
    }
}

/// Largest distance of a feature of some rows from `center`.
pub(crate) fn spread<R: RowSource>(rows: &R, indices: &[usize], center: &Center) -> f64 {
    let mut centered = vec![0.0; rows.ncols()];
    indices.iter().fold(0.0, |largest, &row| {
        center_about(rows, row, center, &mut centered);
        centered
            .iter()
            .fold(largest, |max, v| f64::max(max, v.abs()))
    })
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
    pub(crate) fn gather<R: RowSource>(&mut self, rows: &R, indices: &[usize], center: &Center) {
        let d = self.n_features;
        let count = indices.len().min(self.room());
        let end = self.filled + count * d;
        self.data[self.filled..end]
            .par_chunks_exact_mut(d)
            .with_min_len(32)
            .zip(indices)
            .for_each(|(out, row)| center_about(rows, *row, center, out));
        self.filled = end;
    }
}

pub(crate) fn check_shape<R: RowSource>(features: &R, n_features: usize) -> Result<()> {
    if features.ncols() != n_features {
        return Err(Error::FeatureDimension {
            expected: n_features,
            found: features.ncols(),
        });
    }
    Ok(())
}
