//! Fitting works block by block: no copy of all features is made, least of all one in f64.
#![allow(clippy::unwrap_used)]

mod common;

use collapse_density::{Covariance, LabelledGaussianMixture};
use collapse_testing::PeakAlloc;
use common::clusters;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes allocated at most at one time, beside what was before; on two threads, since every thread has its block.
fn extra(work: impl FnOnce() + Send) -> usize {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    pool.install(work);
    ALLOCATOR.peak_usage() - before
}

#[test]
fn peak_memory_stays_below_the_features() {
    let (features, labels) = clusters(1, 60_000, 64, 10, 4.0);
    let features = features.mapv(|v| v as f32);
    let bytes = 4 * features.len();
    for covariance in [Covariance::Full, Covariance::Tied, Covariance::Diagonal] {
        let params = LabelledGaussianMixture::params(10)
            .covariance(covariance)
            .check()
            .unwrap();
        let peak = extra(|| {
            params.fit_view(features.view(), &labels).unwrap();
        });
        assert!(
            peak < bytes * 7 / 10,
            "{covariance:?}: {peak} of {bytes} bytes"
        );
    }
    #[cfg(feature = "em")]
    {
        let peak = extra(|| {
            let em = collapse_density::EmParams {
                n_components: 4,
                max_iterations: 3,
                tolerance: 1e3,
                ..collapse_density::EmParams::new(2)
            };
            em.fit(features.view()).unwrap();
        });
        assert!(peak < 12 * bytes / 10, "EM: {peak} of {bytes} bytes");
    }
}
