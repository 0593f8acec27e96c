//! The factor of one covariance: what turns a centred row into its squared Mahalanobis norm.

use ndarray::{Array1, Array2, s};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::linalg::{Cholesky, symmetric_eigen};

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
    pub(crate) fn new(covariance: &Array2<f64>, rank: usize, ridge: f64) -> Result<Self> {
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
}

impl Factor {
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
            Self::LowRank(low) => {
                let d = low.vectors.ncols();
                for (squared, row) in squared.iter_mut().zip(rows.chunks_exact_mut(d)) {
                    *squared = low.squared_norm(row);
                }
            }
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
    /// The row loses its part in the kept directions, so the rest is measured without cancellation.
    fn squared_norm(&self, row: &mut [f64]) -> f64 {
        let mut inside = 0.0;
        for (vector, value) in self.vectors.rows().into_iter().zip(&self.values) {
            let along: f64 = vector.iter().zip(&*row).map(|(v, r)| v * r).sum();
            row.iter_mut()
                .zip(vector)
                .for_each(|(r, v)| *r -= along * v);
            inside += along * along / (value + self.ridge);
        }
        inside + row.iter().map(|r| r * r).sum::<f64>() / self.ridge
    }
}
