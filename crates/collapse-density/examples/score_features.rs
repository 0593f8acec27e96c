//! Fits one Gaussian per class to training features and scores new ones: larger = more in-distribution.
//!
//! `cargo run -p collapse-density --example score_features`

use collapse_density::{Covariance, DensityError, LabelledGaussianMixture, Shrinkage};
use linfa::prelude::*;
use ndarray::{Array1, Array2};

/// Two classes in four dimensions; `x` wobbles deterministically around its class.
fn features(n: usize, shift: f64) -> Array2<f64> {
    Array2::from_shape_fn((n, 4), |(i, j)| {
        let class = (i % 2) as f64;
        shift + 3.0 * class + ((i * 7 + j * 13) as f64).sin() * (1.0 + 0.2 * j as f64)
    })
}

fn main() -> Result<(), DensityError> {
    let labels = Array1::from_shape_fn(200, |i| i % 2);
    let train = Dataset::new(features(200, 0.0), labels);
    let model = LabelledGaussianMixture::params(2)
        .covariance(Covariance::Shrinkage(Shrinkage::LedoitWolf))
        .fit(&train)?;
    println!(
        "jitter {:e}, shrinkage {:.3?}",
        model.jitter(),
        model.shrinkage()
    );

    let (near, far) = (features(10, 0.1), features(10, 20.0));
    println!(
        "in-distribution {:8.2}",
        model.score(near.view())?.mean().unwrap_or(f64::NAN)
    );
    println!(
        "far away        {:8.2}",
        model.score(far.view())?.mean().unwrap_or(f64::NAN)
    );
    println!("classes {:?}", model.predict(near.view())?.to_vec());
    Ok(())
}
