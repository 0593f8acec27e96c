//! The labelled Gaussian mixture: fitting and scoring, and the Mahalanobis family's tied form.

use collapse_benches::noise;
use collapse_density::{Divisor, Error, LabelledGaussianMixture, TiedGaussian};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;

const N_CLASSES: usize = 10;
const TRAIN_ROWS: usize = 10_000;
const TEST_ROWS: usize = 2_000;

/// Classes around separate means: [n, d] and labels i mod C.
fn features(
    seed: u64,
    n: usize,
    d: usize,
) -> Result<(Array2<f64>, Vec<usize>), ndarray::ShapeError> {
    let means: Vec<f64> = noise(0).take(N_CLASSES * d).collect();
    let values = noise(seed)
        .take(n * d)
        .enumerate()
        .map(|(i, value)| means[i / d % N_CLASSES * d + i % d] + 0.3 * value);
    let labels = (0..n).map(|i| i % N_CLASSES).collect();
    Ok((Array2::from_shape_vec((n, d), values.collect())?, labels))
}

fn mixture(c: &mut Criterion, d: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (train, labels) = features(1, TRAIN_ROWS, d)?;
    let (test, _) = features(2, TEST_ROWS, d)?;
    let fit = || -> Result<LabelledGaussianMixture, Error> {
        LabelledGaussianMixture::params(N_CLASSES)
            .check()?
            .fit_view(train.view(), &labels)
    };
    let model = fit()?;
    let tied = TiedGaussian::fit(train.view(), &labels, N_CLASSES, Divisor::Samples)?;

    // Once outside the clock, where an error stops the benchmark instead of being timed.
    model.score(test.view())?;
    tied.squared_distances(test.view())?;

    let mut group = c.benchmark_group(format!("labelled_mixture/d{d}"));
    group.throughput(Throughput::Elements(TRAIN_ROWS as u64));
    group.bench_function("fit", |b| b.iter(fit));
    group.throughput(Throughput::Elements(TEST_ROWS as u64));
    group.bench_function("score", |b| b.iter(|| model.score(test.view())));
    group.bench_function("mahalanobis", |b| {
        b.iter(|| tied.squared_distances(test.view()))
    });
    group.finish();
    Ok(())
}

fn density(c: &mut Criterion) {
    for d in [64, 512] {
        mixture(c, d).unwrap_or_else(|error| panic!("{error}"));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = density
}
criterion_main!(benches);
