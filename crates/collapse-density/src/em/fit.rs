//! Fitting a mixture without labels: the start of linfa-clustering, the steps of EM with this project's kernels.
//!
//! The steps are those of linfa's `GaussianMixtureModel`, on all threads, without copies of the rows, and with responsibilities by
//! log-sum-exp: linfa-clustering 0.8.1 takes them of the densities themselves, which underflow far from every cluster. Both see
//! standardised principal components, where their numbers are near 1.

use collapse_numeric::{PANEL_ROWS, RowSource, covariance, mean, symmetric_eigen};
use linfa::traits::{Fit, Predict};
use linfa::{DatasetBase, ParamGuard};
use linfa_clustering::KMeans;
use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, s};
use rayon::prelude::*;

use super::steps::{Mixture, Moments};
use super::{EmMixture, EmParams, Whitening};
use crate::error::{Error, Result};

/// Rows that k-means starts from: of more, as many at equal steps. It works on one thread, and the start needs no more.
const START_ROWS: usize = 20_000;

impl EmParams {
    fn check(&self) -> Result<()> {
        let positive = |name, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::Parameter {
                name,
                value: value.to_string(),
                expected: "a finite number > 0",
            })
        };
        positive("n_clusters", self.n_clusters as f64)?;
        positive("n_components", self.n_components as f64)?;
        positive("max_iterations", self.max_iterations as f64)?;
        positive("reg_covariance", self.reg_covariance)?;
        positive("tolerance", self.tolerance)
    }

    /// Fits the mixture to features `[N, D]` without labels, to all rows on all threads. The start is linfa's k-means of a fixed
    /// seed on at most 20,000 rows at equal steps: equal features give equal models, whatever the number of threads.
    ///
    /// # Errors
    /// Parameters out of range, fewer rows than clusters, NaN or infinite features, features without any spread, and
    /// [`Error::Em`] where EM does not converge or loses a cluster.
    pub fn fit<R: RowSource>(&self, features: R) -> Result<EmMixture> {
        self.check()?;
        let (n, d) = features.dim();
        if n == 0 {
            return Err(Error::Empty);
        }
        if d == 0 {
            return Err(Error::NoFeatures);
        }
        let failed = |reason: String| Error::Em {
            n_clusters: self.n_clusters,
            reason,
        };
        if n < self.n_clusters.max(2) {
            return Err(failed(format!("only {n} samples")));
        }
        features.check_finite("features")?;
        let whitening = Whitening::fit(&features, self.n_components)?;
        let mut rows = Array2::zeros((n, whitening.rank()));
        let blocks: Vec<_> = rows.axis_chunks_iter_mut(Axis(0), PANEL_ROWS).collect();
        let panels = features.panels().into_par_iter().zip(blocks);
        panels.try_for_each(|(panel, out)| {
            whitening.components(features.panel(panel), out)?;
            Ok::<(), Error>(())
        })?;
        let Mixture {
            log_weights,
            means,
            factors,
        } = self.iterate(rows.view()).map_err(failed)?;
        Ok(EmMixture {
            whitening,
            log_weights,
            means,
            factors,
        })
    }

    /// The mixture where EM converges on rows `[N, K]`, or why it does not.
    fn iterate(&self, rows: ArrayView2<f64>) -> Result<Mixture, String> {
        let mut mixture = self.start(rows)?;
        let mut before = f64::NEG_INFINITY;
        for _ in 0..self.max_iterations {
            let moments = mixture.moments(rows);
            let likelihood = moments.mean_log_likelihood();
            mixture = moments.mixture(self.reg_covariance)?;
            if (likelihood - before).abs() < self.tolerance {
                return Ok(mixture);
            }
            before = likelihood;
        }
        Err(format!(
            "it did not converge in {} iterations",
            self.max_iterations
        ))
    }

    /// The Gaussians of the clusters of k-means.
    fn start(&self, rows: ArrayView2<f64>) -> Result<Mixture, String> {
        let n = rows.nrows();
        let sample: CowArray<f64, Ix2> = match n <= START_ROWS {
            true => rows.into(),
            false => {
                let at_equal_steps = (0..START_ROWS).map(|i| i * n / START_ROWS);
                let at_equal_steps: Vec<usize> = at_equal_steps.collect();
                rows.select(Axis(0), &at_equal_steps).into()
            }
        };
        let params = KMeans::params(self.n_clusters).check();
        let params = params.map_err(|error| error.to_string())?;
        let clusters = params.fit(&DatasetBase::from(sample.view()));
        let clusters = clusters.map_err(|error| error.to_string())?;
        let nearest = |block: ArrayView2<f64>| clusters.predict(&block).into_raw_vec_and_offset().0;
        Moments::of_clusters(rows, clusters.centroids(), nearest).mixture(self.reg_covariance)
    }
}

impl Whitening {
    fn fit<R: RowSource>(features: R, n_components: usize) -> Result<Self> {
        let (n, d) = features.dim();
        let center = mean(&features)?;
        let eigen = symmetric_eigen(covariance(&features, center.view(), n as f64)?.view())?;
        let floor = eigen.values[0] * f64::EPSILON * d as f64;
        let spanned = eigen.values.iter().take_while(|v| **v > floor).count();
        let rank = spanned.min(n_components);
        if rank == 0 || eigen.values[0] <= f64::MIN_POSITIVE {
            return Err(Error::Range {
                class: 0,
                what: "spread of all features together",
            });
        }
        let dropped = eigen.values.slice(s![rank..]);
        // Directions without any spread get the rounding floor, not zero.
        let rest = dropped.mean().map(|v| v.max(floor).sqrt());
        Ok(Self {
            mean: center,
            directions: eigen.vectors.slice(s![..rank, ..]).to_owned(),
            deviations: eigen.values.slice(s![..rank]).mapv(f64::sqrt),
            rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_random::Stream;
    use linfa_clustering::GaussianMixtureModel;
    use ndarray::Array1;

    /// Rows about `c` centres, whitened as a fit sees them.
    fn rows(n: usize, c: usize, k: usize, separation: f64) -> Array2<f64> {
        let mut stream = Stream::new(3, "mixture", 0);
        let centers = Array2::from_shape_simple_fn((c, k), || separation * stream.normal());
        Array2::from_shape_fn((n, k), |(i, j)| centers[[i % c, j]] + stream.normal())
    }

    #[test]
    fn the_mixture_is_the_one_of_linfa() {
        for (n, c, k, separation) in [(700, 3, 5, 1.0), (1000, 4, 9, 3.0), (300, 1, 2, 1.0)] {
            let rows = rows(n, c, k, separation);
            let params = EmParams::new(c);
            let ours = params.iterate(rows.view()).unwrap();
            let theirs = GaussianMixtureModel::params(c)
                .tolerance(params.tolerance)
                .reg_covariance(params.reg_covariance)
                .max_n_iterations(params.max_iterations)
                .check()
                .unwrap()
                .fit(&DatasetBase::from(rows))
                .unwrap();
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
            let weights = ours.log_weights.mapv(f64::exp);
            let numbers = weights.iter().chain(&ours.means);
            let expected = theirs.weights().iter().chain(theirs.means());
            assert!(numbers.zip(expected).all(|(a, b)| close(*a, *b)));
            for (factor, expected) in ours.factors.iter().zip(theirs.covariances().outer_iter()) {
                let lower = factor.to_dense();
                let covariance = lower.dot(&lower.t());
                let mut pairs = covariance.iter().zip(expected);
                assert!(pairs.all(|(a, b)| close(*a, *b)));
            }
        }
    }

    #[test]
    fn a_row_far_from_every_cluster_does_not_end_the_fit() {
        let mut rows = rows(500, 2, 6, 20.0);
        rows.row_mut(17).fill(1e4);
        let mixture = EmParams::new(2).iterate(rows.view()).unwrap();
        let finite = |values: &Array1<f64>| values.iter().all(|value| value.is_finite());
        assert!(finite(&mixture.log_weights) && finite(&mixture.means.row(0).to_owned()));
    }

    #[test]
    fn the_mixture_is_the_same_for_any_number_of_threads_also_from_a_sample_of_the_rows() {
        let rows = rows(START_ROWS + 500, 2, 3, 4.0);
        let fitted = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let mixture = pool
                .unwrap()
                .install(|| EmParams::new(2).iterate(rows.view()));
            let mixture = mixture.unwrap();
            (mixture.log_weights, mixture.means, mixture.factors)
        };
        assert_eq!(fitted(1), fitted(3));
    }
}
