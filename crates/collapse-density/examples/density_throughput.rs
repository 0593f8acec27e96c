//! Seconds to fit and to score correlated classes: `--example density_throughput -- [N] [D] [rows to score] [repeats]`.

use std::time::Instant;

use collapse_density::{Covariance, Divisor, Error, LabelledGaussianMixture, TiedGaussian};
use ndarray::Array2;

const N_CLASSES: usize = 10;

/// Correlated rows around class means, labels `i % 10`; roughly normal numbers from sums of counters' hashes.
fn features(part: u64, n: usize, d: usize) -> (Array2<f64>, Vec<usize>) {
    let noise = |part: u64, i: usize, j: usize| {
        let mut z = (part << 56) ^ ((i as u64) << 20) ^ j as u64;
        let mut sum = 0.0;
        for _ in 0..3 {
            z = (z ^ (z >> 30))
                .wrapping_mul(0xBF58_476D_1CE4_E5B9)
                .wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            sum += (z >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
        }
        sum
    };
    let x = Array2::from_shape_fn((n, d), |(i, j)| {
        let neighbour = if j > 0 {
            0.5 * noise(part, i, j - 1)
        } else {
            0.0
        };
        3.0 * noise(9, i % N_CLASSES, j) + noise(part, i, j) + neighbour
    });
    (x, (0..n).map(|i| i % N_CLASSES).collect())
}

/// Prints the least and the median seconds; returns the last value.
fn time<T>(what: &str, repeats: usize, run: impl Fn() -> T) -> T {
    let mut seconds = Vec::new();
    let mut value = None;
    for _ in 0..repeats.max(1) {
        drop(value.take());
        let start = Instant::now();
        value = Some(run());
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{what:24} min {:.4} s, median {:.4} s",
        seconds[0],
        seconds[seconds.len() / 2]
    );
    value.unwrap_or_else(run)
}

fn main() -> Result<(), Error> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse().ok())
        .collect();
    let [n, d, rows, repeats] = [45_000, 512, 10_000, 3];
    let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
    let (n, d, rows, repeats) = (at(0, n), at(1, d), at(2, rows), at(3, repeats));
    let (train, labels) = features(1, n, d);
    let (test, _) = features(2, rows, d);
    println!(
        "{n} x {d}, {rows} rows to score, {} threads",
        rayon_threads()
    );

    let params = LabelledGaussianMixture::params(N_CLASSES).check()?;
    let model = time("fit full", repeats, || {
        params.fit_view(train.view(), &labels)
    })?;
    let score = time("score", repeats, || model.score(test.view()))?;
    let densities = time("log-density, all classes", repeats, || {
        model.log_density(test.view())
    })?;
    let mean = densities.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    println!(
        "mean score {:.6}, largest log-density {mean:.6}",
        score.mean().unwrap_or(f64::NAN)
    );
    let tied = LabelledGaussianMixture::params(N_CLASSES)
        .covariance(Covariance::Tied)
        .check()?;
    time("fit tied", repeats, || tied.fit_view(train.view(), &labels))?;
    let tied = TiedGaussian::fit(train.view(), &labels, N_CLASSES, Divisor::Samples)?;
    time("mahalanobis", repeats, || {
        tied.squared_distances(test.view())
    })?;
    Ok(())
}

fn rayon_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
