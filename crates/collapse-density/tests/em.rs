//! The mixture fitted without labels.
#![cfg(feature = "em")]
#![allow(clippy::unwrap_used)]

mod common;

use collapse_density::{Covariance, EmMixture, Error, LabelledGaussianMixture};
use collapse_numeric as numeric;
use common::{clusters, normals};
use ndarray::Array2;

#[test]
fn em_finds_the_labelled_densities_of_separate_clusters_and_not_of_mixed_ones() {
    let em_agrees = |separation: f64| {
        let (x, labels) = clusters(11, 600, 8, 3, separation);
        let params = LabelledGaussianMixture::params(3).covariance(Covariance::Full);
        let labelled = params.check().unwrap().fit_view(x.view(), &labels).unwrap();
        let priors = labelled.log_priors().to_vec();
        let em = EmMixture::params(3).fit(x.view()).unwrap();
        let (a, b) = (
            em.score(x.view()).unwrap(),
            labelled.score_with_priors(x.view(), &priors).unwrap(),
        );
        (&a - &b).mapv(f64::abs).mean().unwrap() / b.mapv(f64::abs).mean().unwrap()
    };
    assert!(em_agrees(10.0) < 0.01);
    assert!(em_agrees(0.0) > 0.01);
}

#[test]
fn em_failures_are_typed() {
    let x = normals(5, 30, 4);
    assert!(matches!(
        EmMixture::params(0).fit(x.view()),
        Err(Error::Parameter { .. })
    ));
    assert!(matches!(
        EmMixture::params(50).fit(x.view()),
        Err(Error::Em { .. })
    ));
    let same = Array2::<f64>::ones((10, 3));
    assert!(matches!(
        EmMixture::params(2).fit(same.view()),
        Err(Error::Range { .. })
    ));
    let mut bad = x.clone();
    bad[[3, 1]] = f64::NAN;
    assert!(matches!(
        EmMixture::params(2).fit(bad.view()),
        Err(Error::Numeric(numeric::Error::NotFinite { .. }))
    ));
    let em = EmMixture::params(2).fit(x.view()).unwrap();
    assert!((em.weights().sum() - 1.0).abs() < 1e-9);
    // Far from the data is unlikely.
    let far = Array2::from_elem((1, 4), 50.0);
    assert!(em.score(far.view()).unwrap()[0] < em.score(x.view()).unwrap().mean().unwrap());
}
