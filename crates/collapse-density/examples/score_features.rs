//! One Gaussian per class on training features, a score for new ones: larger = more in-distribution.
//!
//! `cargo run -p collapse-density --example score_features`

use collapse_density::{Covariance, Error, LabelledGaussianMixture, Shrinkage};
use linfa::prelude::*;
use ndarray::{Array1, Array2};

/// Two classes in four dimensions; `x` wobbles deterministically around its class.
fn features(n: usize, shift: f64) -> Array2<f64> {
    let wobble = |i: usize, j: usize| ((i * 7 + j * 13) as f64).sin() * (1.0 + 0.2 * j as f64);
    Array2::from_shape_fn((n, 4), |(i, j)| shift + 3.0 * (i % 2) as f64 + wobble(i, j))
}

fn main() -> Result<(), Error> {
    let labels = Array1::from_shape_fn(200, |i| i % 2);
    let model = LabelledGaussianMixture::params(2)
        .covariance(Covariance::Shrinkage(Shrinkage::LedoitWolf))
        .fit(&Dataset::new(features(200, 0.0), labels))?;
    println!(
        "jitter {:e}, shrinkage {:.3?}",
        model.jitter(),
        model.shrinkage()
    );

    for (name, shift) in [("in-distribution", 0.1), ("far away", 20.0)] {
        let scores = model.score(features(5, shift).view())?;
        println!("{name:16} {scores:9.2}");
    }
    println!("classes {}", model.predict(features(5, 0.1).view())?);
    Ok(())
}
