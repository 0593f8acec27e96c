//! Bad input gives typed errors, hard input the right values.
#![allow(clippy::unwrap_used)] // A test fails by panicking, its helpers too.

mod common;

use collapse_density::{
    Covariance, Divisor, Error, Jitter, LabelledGaussianMixture, Shrinkage, TiedGaussian,
};
use collapse_numeric as numeric;
use common::{clusters, normals};
use ndarray::{Array2, array};

fn fit(x: &Array2<f64>, labels: &[usize]) -> Result<LabelledGaussianMixture, Error> {
    LabelledGaussianMixture::params(2)
        .check()?
        .fit_view(x.view(), labels)
}

#[test]
fn shapes_and_values_are_checked() {
    let (x, labels) = clusters(1, 20, 3, 2, 1.0);
    let model = fit(&x, &labels).unwrap();
    assert!(matches!(
        fit(&Array2::zeros((0, 3)), &[]),
        Err(Error::Empty)
    ));
    assert!(matches!(
        fit(&Array2::zeros((4, 0)), &[0; 4]),
        Err(Error::NoFeatures)
    ));
    assert!(matches!(
        fit(&x, &labels[1..]),
        Err(Error::Numeric(numeric::Error::LabelCount { .. }))
    ));
    let message = fit(&x, &[7; 20]).unwrap_err().to_string();
    assert_eq!(
        message,
        "label 7 of row 0 is not one of the 2 classes: labels count from 0 to 1"
    );
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut y = x.clone();
        y[[5, 2]] = bad;
        for error in [
            fit(&y, &labels).unwrap_err(),
            model.score(y.view()).unwrap_err(),
        ] {
            let Error::Numeric(numeric::Error::NotFinite {
                row, column, value, ..
            }) = error
            else {
                panic!("{error}")
            };
            assert!((row, column) == (5, 2) && value == bad.to_string());
        }
    }
    assert!(matches!(
        model.score(Array2::<f64>::zeros((1, 4)).view()),
        Err(Error::FeatureDimension {
            expected: 3,
            found: 4
        })
    ));
    assert_eq!(
        model
            .score(Array2::<f64>::zeros((0, 3)).view())
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_class_of_one_or_no_samples_is_named() {
    let x = normals(2, 6, 2);
    for labels in [[0, 0, 0, 0, 0, 1], [0; 6]] {
        let error = fit(&x, &labels).unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooFewSamples {
                    class: 1,
                    needed: 2,
                    ..
                }
            ),
            "{error}"
        );
    }
    let tied = |labels: &[usize]| {
        let params = LabelledGaussianMixture::params(2).covariance(Covariance::Tied);
        params.check().unwrap().fit_view(x.view(), labels)
    };
    assert!(tied(&[0, 0, 0, 0, 0, 1]).is_ok());
    assert!(matches!(
        tied(&[0; 6]),
        Err(Error::TooFewSamples { class: 1, .. })
    ));
    assert!(TiedGaussian::fit_global(x.slice(ndarray::s![..1, ..]), Divisor::Samples).is_err());
}

#[test]
fn a_singular_class_names_itself_and_the_remedy() {
    let mut x = normals(3, 12, 5);
    x.column_mut(4).assign(&normals(3, 12, 5).column(0));
    let labels: Vec<usize> = (0..12).map(|i| i / 6).collect();
    let params = LabelledGaussianMixture::params(2).jitter(Jitter::Fixed(0.0));
    let mut y = x.clone();
    // Class 0 is fine: eight distinct directions; class 1 repeats one sample.
    for i in 7..12 {
        let first = y.row(6).to_owned();
        y.row_mut(i).assign(&first);
    }
    let message = params
        .check()
        .unwrap()
        .fit_view(y.view(), &labels)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("samples for 5 dimensions") && message.contains("shrunk"),
        "{message}"
    );
    // The ladder and the shrinkage both get through duplicated features and identical samples.
    let ladder = fit(&y, &labels).unwrap();
    assert!(ladder.jitter() > 0.0);
    assert!(ladder.score(x.view()).unwrap().iter().all(|v| !v.is_nan()));
    for rule in [Shrinkage::LedoitWolf, Shrinkage::Oas] {
        let params = LabelledGaussianMixture::params(2).covariance(Covariance::Shrinkage(rule));
        let model = params.check().unwrap().fit_view(x.view(), &labels).unwrap();
        assert_eq!(model.jitter(), 0.0);
        assert!(model.score(x.view()).unwrap().iter().all(|v| v.is_finite()));
    }
}

#[test]
fn extreme_scales_are_exact_or_refused() {
    let (x, labels) = clusters(4, 40, 3, 2, 1.0);
    let reference = fit(&x, &labels).unwrap().score(x.view()).unwrap();
    for exponent in [-140, -60, 60, 140] {
        let scale = 2f64.powi(exponent);
        let y = &x * scale;
        let scores = fit(&y, &labels).unwrap().score(y.view()).unwrap();
        for (a, b) in scores.iter().zip(&reference) {
            assert!((a - (b - 3.0 * scale.ln())).abs() < 1e-9, "2^{exponent}");
        }
    }
    for scale in [1e-300, 1e300] {
        let error = fit(&(&x * scale), &labels).unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{error}");
    }
    // A test row far beyond every class scores −∞, never NaN.
    let far = array![[1e300, -1e300, 1e300]];
    assert_eq!(
        fit(&x, &labels).unwrap().score(far.view()).unwrap()[0],
        f64::NEG_INFINITY
    );
}

#[test]
fn one_class_and_one_feature_are_densities_too() {
    let x = array![[1.0], [2.0], [4.0]];
    let model = LabelledGaussianMixture::params(1)
        .check()
        .unwrap()
        .fit_view(x.view(), &[0; 3]);
    let score = model.unwrap().score(array![[0.0]].view()).unwrap()[0];
    let (mean, variance) = (7.0f64 / 3.0, 7.0f64 / 3.0);
    let expected = -0.5 * ((std::f64::consts::TAU * variance).ln() + mean * mean / variance);
    assert!((score - expected).abs() < 1e-14);
}

#[test]
fn statistics_of_other_parameters_do_not_merge() {
    let mut a = LabelledGaussianMixture::streaming(2, 3).unwrap();
    let b = LabelledGaussianMixture::streaming(2, 4).unwrap();
    assert!(matches!(a.merge(&b), Err(Error::Incompatible { .. })));
    assert!(matches!(a.finish(), Err(Error::Empty)));
}
