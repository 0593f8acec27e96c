//! The factor of one covariance: what turns a centred row into its squared Mahalanobis norm.

use collapse_numeric::{
    Cholesky, inner_products, overflow_to_infinity, right_singular, subtract_product,
    symmetric_eigen,
};
use ndarray::{Array1, Array2, s};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// A covariance in the form in which it is evaluated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Factor {
    /// `Σ = L Lᵀ`.
    Full(Cholesky),
    /// `Σ = diag(σ²)`, by its standard deviations.
    Diagonal(Vec<f64>),
    /// `Σ = V diag(λ) Vᵀ + ridge · I`.
    LowRank(LowRank),
}

/// Leading eigenpairs plus a multiple of the identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LowRank {
    /// Orthonormal rows, `[K, D]`.
    vectors: Array2<f64>,
    /// Eigenvalues without the ridge, `[K]`.
    values: Vec<f64>,
    ridge: f64,
}

impl LowRank {
    /// Keeps at most `rank` eigenpairs of `covariance` `[D, D]`.
    pub(crate) fn of_covariance(covariance: &Array2<f64>, rank: usize, ridge: f64) -> Result<Self> {
        let eigen = symmetric_eigen(covariance.view())?;
        // Below this an eigenvalue is rounding of the larger ones.
        let floor = eigen.values[0].max(0.0) * f64::EPSILON * covariance.nrows() as f64;
        let kept = eigen.values.iter().take(rank).take_while(|v| **v > floor);
        let kept = kept.count();
        Ok(Self {
            vectors: eigen.vectors.slice(s![..kept, ..]).to_owned(),
            values: eigen.values.slice(s![..kept]).to_vec(),
            ridge,
        })
    }

    /// Keeps at most `rank` eigenpairs of `rowsᵀ rows / divisor` for fewer rows than columns, `[K, D]` row-major.
    ///
    /// The singular values of the rows never meet as squares, so variances down to the square of the rounding are right.
    pub(crate) fn of_rows(
        rows: &[f64],
        d: usize,
        divisor: f64,
        rank: usize,
        ridge: f64,
    ) -> Result<Self> {
        let singular = right_singular(rows, d)?;
        let largest = singular.values.first().copied().unwrap_or(0.0);
        let floor = largest * f64::EPSILON * d as f64;
        let kept = singular
            .values
            .iter()
            .take(rank)
            .take_while(|v| **v > floor);
        let kept = kept.count();
        Ok(Self {
            vectors: singular.vectors.slice(s![..kept, ..]).to_owned(),
            values: singular
                .values
                .iter()
                .take(kept)
                .map(|v| v * v / divisor)
                .collect(),
            ridge,
        })
    }
}

impl Factor {
    /// Number of features.
    pub(crate) fn dimension(&self) -> usize {
        match self {
            Self::Full(cholesky) => cholesky.dimension(),
            Self::Diagonal(deviations) => deviations.len(),
            Self::LowRank(low) => low.vectors.ncols(),
        }
    }

    pub(crate) fn log_determinant(&self) -> f64 {
        match self {
            Self::Full(cholesky) => cholesky.log_determinant(),
            Self::Diagonal(deviations) => 2.0 * deviations.iter().map(|v| v.ln()).sum::<f64>(),
            Self::LowRank(low) => {
                let inside: f64 = low.values.iter().map(|v| (v + low.ridge).ln()).sum();
                inside + (low.vectors.ncols() - low.values.len()) as f64 * low.ridge.ln()
            }
        }
    }

    /// `rᵀ Σ⁻¹ r` of row-major centred rows `[n, D]`, which are used as scratch.
    pub(crate) fn squared_norms(&self, rows: &mut [f64], squared: &mut [f64]) {
        match self {
            Self::Full(cholesky) => cholesky.squared_norms(rows, squared),
            Self::Diagonal(deviations) => {
                for (squared, row) in squared.iter_mut().zip(rows.chunks_exact(deviations.len())) {
                    let terms = row.iter().zip(deviations).map(|(r, s)| (r / s) * (r / s));
                    *squared = terms.sum();
                }
            }
            Self::LowRank(low) => low.squared_norms(rows, squared),
        }
    }

    /// A matrix `A` `[D, D]` with `A Aᵀ = Σ`.
    pub(crate) fn square_root(&self) -> Array2<f64> {
        match self {
            Self::Full(cholesky) => cholesky.to_dense(),
            Self::Diagonal(deviations) => Array2::from_diag(&Array1::from(deviations.clone())),
            Self::LowRank(low) => {
                let extra: Array1<f64> = low
                    .values
                    .iter()
                    .map(|v| (v + low.ridge).sqrt() - low.ridge.sqrt())
                    .collect();
                let d = low.vectors.ncols();
                let scaled = &low.vectors * &extra.insert_axis(ndarray::Axis(1));
                low.vectors.t().dot(&scaled) + Array2::<f64>::eye(d) * low.ridge.sqrt()
            }
        }
    }
}

impl LowRank {
    /// The rows lose their part in the kept directions, so the rest is measured without cancellation; a second
    /// projection takes what the rounding of the first left.
    fn squared_norms(&self, rows: &mut [f64], squared: &mut [f64]) {
        let (kept, d) = self.vectors.dim();
        let n = squared.len();
        let mut along = vec![0.0; n * kept];
        if let Some(vectors) = self.vectors.as_slice()
            && kept > 0
        {
            let mut part = vec![0.0; n * kept];
            for _ in 0..2 {
                inner_products(rows, vectors, d, &mut part);
                subtract_product(rows, &part, vectors, d);
                along.iter_mut().zip(&part).for_each(|(a, b)| *a += b);
            }
        }
        let inverse: Vec<f64> = self.values.iter().map(|v| 1.0 / (v + self.ridge)).collect();
        for (i, (squared, rest)) in squared.iter_mut().zip(rows.chunks_exact(d)).enumerate() {
            let along = along[i * kept..(i + 1) * kept].iter().zip(&inverse);
            let inside: f64 = along.map(|(a, inverse)| a * a * inverse).sum();
            let outside: f64 = rest.iter().map(|r| r * r).sum();
            *squared = overflow_to_infinity(inside + outside / self.ridge);
        }
    }
}
