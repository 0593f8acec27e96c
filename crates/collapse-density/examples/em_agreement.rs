//! When do the labelled density and the EM mixture say the same? Both are fitted to the same Gaussian classes and compared on
//! fresh samples of them.
//!
//! `cargo run -p collapse-density --example em_agreement`

use collapse_density::{EmMixture, EmParams, Error, LabelledGaussianMixture, agreement};
use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What is fitted; class means lie at random, `separation` standard deviations a dimension.
struct Case {
    classes: usize,
    samples: usize,
    d: usize,
    separation: f64,
    /// Standard deviation of a feature within its class.
    spread: f64,
}

/// Standard normal numbers by Box and Muller, `[n, d]`.
fn normals(seed: u64, n: usize, d: usize) -> Array2<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = move || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    Array2::from_shape_simple_fn((n, d), || {
        let (u, v) = (1.0 - uniform(), uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    })
}

impl Case {
    fn rows(&self, seed: u64) -> (Array2<f64>, Vec<usize>) {
        let n = self.classes * self.samples;
        let means = normals(1, self.classes, self.d) * self.separation;
        let labels: Vec<usize> = (0..n).map(|i| i % self.classes).collect();
        let mut rows = normals(seed, n, self.d);
        for (mut row, label) in rows.rows_mut().into_iter().zip(&labels) {
            row += &means.row(*label);
        }
        (rows * self.spread, labels)
    }

    fn report(&self, n_components: usize) -> Result<String, Error> {
        let (train, labels) = self.rows(2);
        let (test, _) = self.rows(3);
        let params = LabelledGaussianMixture::params(self.classes).check()?;
        let labelled = params.fit_view(train.view(), &labels)?;
        let em = EmParams {
            n_components,
            ..EmMixture::params(self.classes)
        };
        match em.fit(train.view()) {
            Ok(em) => Ok(agreement(&labelled, &em, test.view())?.to_string()),
            Err(error) => Ok(format!("no EM mixture: {error}")),
        }
    }
}

fn main() -> Result<(), Error> {
    println!("| classes | samples a class | dimensions | separation | spread | components | |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | :--- |");
    let grid = [
        (4, 500, 8, 4.0, 1.0, 8),
        (4, 500, 8, 1.0, 1.0, 8),
        (4, 500, 8, 0.3, 1.0, 8),
        (4, 60, 8, 4.0, 1.0, 8),
        (10, 500, 64, 4.0, 1.0, 64),
        (10, 500, 64, 4.0, 1.0, 9),
        (10, 500, 64, 4.0, 1e-6, 64),
        (10, 500, 64, 0.3, 1.0, 64),
        (10, 100, 512, 4.0, 1.0, 32),
    ];
    for (classes, samples, d, separation, spread, components) in grid {
        let case = Case {
            classes,
            samples,
            d,
            separation,
            spread,
        };
        println!(
            "| {classes} | {samples} | {d} | {separation} | {spread:e} | {components} | {} |",
            case.report(components)?
        );
    }
    Ok(())
}
