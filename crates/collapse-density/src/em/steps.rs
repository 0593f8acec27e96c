//! The steps of EM, each one pass over the rows.
//!
//! A pass takes the responsibilities of a row from the mixture at hand and adds what the row gives to the moments of every Gaussian about
//! its present mean, so nothing is kept per row. As EM converges the means come to rest, and moments about them lose no digits.

use collapse_numeric::{Cholesky, inner_products, log_sum_exp};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};
use rayon::prelude::*;

use super::deviances;

/// Rows that are taken together: what is computed of them stays in the second-level cache.
const BLOCK_ROWS: usize = 256;
/// Parts of the rows that are summed on their own, at most: they depend on the number of rows alone, so the sums are the same bytes for
/// any number of threads.
const PARTS: usize = 16;
/// A row gives nothing to a Gaussian whose responsibility for it is smaller: all of them together could not be seen in its moments.
const NEGLIGIBLE: f64 = 1e-36;

/// A mixture of `C` Gaussians in `K` components.
pub(super) struct Mixture {
    /// `[C]`.
    pub(super) log_weights: Array1<f64>,
    /// `[C, K]`.
    pub(super) means: Array2<f64>,
    /// Of the covariances, C of them.
    pub(super) factors: Vec<Cholesky>,
}

impl Mixture {
    /// The moments of rows `[N, K]` with the responsibilities of this mixture.
    pub(super) fn moments(&self, rows: ArrayView2<f64>) -> Moments {
        let scale = self.means.ncols() as f64 * (2.0 * std::f64::consts::PI).ln();
        Moments::gather(rows, &self.means, |block, out| {
            deviances(block, &self.means, &self.factors, out.view_mut());
            let mut log_likelihood = 0.0;
            for mut row in out.rows_mut() {
                row.zip_mut_with(&self.log_weights, |value, log_weight| {
                    *value = log_weight - 0.5 * (*value + scale);
                });
                let total = log_sum_exp(row.view());
                row.mapv_inplace(|value| (value - total).exp());
                log_likelihood += total;
            }
            log_likelihood
        })
    }
}

/// Weighted sums over rows for every Gaussian, about the means of the mixture that gave the weights.
pub(super) struct Moments {
    n_rows: usize,
    log_likelihood: f64,
    /// `[C, K]`.
    about: Array2<f64>,
    /// Σ r, `[C]`.
    weights: Array1<f64>,
    /// Σ r (x − about), `[C, K]`.
    sums: Array2<f64>,
    /// Σ r (x − about)(x − about)ᵀ, `[C, K, K]`.
    products: Array3<f64>,
}

impl Moments {
    /// The moments of clusters `[C, K]`, each row in the one that `nearest` names.
    pub(super) fn of_clusters(
        rows: ArrayView2<f64>,
        centroids: &Array2<f64>,
        nearest: impl Fn(ArrayView2<f64>) -> Vec<usize> + Sync,
    ) -> Self {
        Self::gather(rows, centroids, |block, out| {
            for (row, cluster) in nearest(block).into_iter().enumerate() {
                out[[row, cluster]] = 1.0;
            }
            0.0
        })
    }

    /// `responsibilities` writes those of a block of rows into zeros `[rows, C]`, and returns the log-likelihood of the block.
    fn gather(
        rows: ArrayView2<f64>,
        about: &Array2<f64>,
        responsibilities: impl Fn(ArrayView2<f64>, &mut Array2<f64>) -> f64 + Sync,
    ) -> Self {
        let part = rows.nrows().div_ceil(PARTS).next_multiple_of(BLOCK_ROWS);
        let parts: Vec<ArrayView2<f64>> = rows.axis_chunks_iter(Axis(0), part).collect();
        let sum_of = |rows: ArrayView2<f64>| {
            let mut sum = Self::zeros(about);
            for block in rows.axis_chunks_iter(Axis(0), BLOCK_ROWS) {
                let mut shares = Array2::zeros((block.nrows(), about.nrows()));
                sum.log_likelihood += responsibilities(block, &mut shares);
                sum.take(block, &shares);
            }
            sum
        };
        let parts: Vec<Self> = parts.into_par_iter().map(sum_of).collect();
        parts.into_iter().fold(Self::zeros(about), Self::and)
    }

    fn zeros(about: &Array2<f64>) -> Self {
        let (c, k) = about.dim();
        Self {
            n_rows: 0,
            log_likelihood: 0.0,
            about: about.clone(),
            weights: Array1::zeros(c),
            sums: Array2::zeros((c, k)),
            products: Array3::zeros((c, k, k)),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.n_rows += other.n_rows;
        self.log_likelihood += other.log_likelihood;
        self.weights += &other.weights;
        self.sums += &other.sums;
        self.products += &other.products;
        self
    }

    fn take(&mut self, block: ArrayView2<f64>, shares: &Array2<f64>) {
        self.n_rows += block.nrows();
        let k = block.ncols();
        let mut product = Array2::zeros((k, k));
        for (gaussian, shares) in shares.columns().into_iter().enumerate() {
            let members: Vec<(usize, f64)> = (shares.iter().copied().enumerate())
                .filter(|(_, share)| *share >= NEGLIGIBLE)
                .collect();
            if members.is_empty() {
                continue;
            }
            let about = self.about.row(gaussian);
            let mut sums = self.sums.row_mut(gaussian);
            // √r (x − about), a component after the other.
            let mut scaled = vec![0.0; k * members.len()];
            for (member, (row, share)) in members.iter().enumerate() {
                let root = share.sqrt();
                for (component, value) in block.row(*row).iter().enumerate() {
                    let apart = value - about[component];
                    sums[component] += share * apart;
                    scaled[component * members.len() + member] = root * apart;
                }
                self.weights[gaussian] += share;
            }
            let out = product.as_slice_mut().unwrap_or_default();
            inner_products(&scaled, &scaled, members.len(), out);
            let mut products = self.products.index_axis_mut(Axis(0), gaussian);
            products += &product;
        }
    }

    /// The log-likelihood of a row under the mixture that gave the responsibilities, on average.
    pub(super) fn mean_log_likelihood(&self) -> f64 {
        self.log_likelihood / self.n_rows as f64
    }

    /// The mixture of these moments, `reg_covariance` on the diagonals of its covariances; or why there is none.
    pub(super) fn mixture(&self, reg_covariance: f64) -> Result<Mixture, String> {
        let lost = |weight: &f64| weight.is_nan() || *weight < 10.0 * f64::EPSILON;
        if let Some(gaussian) = self.weights.iter().position(lost) {
            return Err(format!("cluster {gaussian} has lost its samples"));
        }
        let weights = self.weights.view().insert_axis(Axis(1));
        let offsets = &self.sums / &weights;
        let factor = |gaussian: usize| {
            let products = self.products.index_axis(Axis(0), gaussian);
            let (weight, offset) = (self.weights[gaussian], offsets.row(gaussian));
            let covariance = Array2::from_shape_fn(products.dim(), |(i, j)| {
                let value = products[[i, j]] / weight - offset[i] * offset[j];
                value + if i == j { reg_covariance } else { 0.0 }
            });
            Cholesky::new(covariance.view())
                .map_err(|error| format!("the covariance of cluster {gaussian}: {error}"))
        };
        let factors = (0..self.weights.len()).map(factor);
        Ok(Mixture {
            factors: factors.collect::<Result<_, _>>()?,
            log_weights: self
                .weights
                .mapv(|weight| (weight / self.n_rows as f64).ln()),
            means: &self.about + &offsets,
        })
    }
}
