//! Labels that skip classes or count from 1: the classes that occur are the classes, or a message says what to do.
#![allow(clippy::unwrap_used)]

use collapse_density::Covariance;
use collapse_ood::{
    AnyDetector, Fitted, Inputs, ScoreId, Settings, TrainInputs, fit_all, fit_named,
};
use collapse_random::Stream;
use ndarray::{Array2, ArrayView2};

const D: usize = 4;

/// Three clusters.
fn features(n: usize) -> Array2<f64> {
    let mut stream = Stream::new(3, "clusters", 0);
    Array2::from_shape_fn((n, D), |(i, j)| {
        0.3 * stream.normal() + if i % 3 == j { 4.0 } else { 0.0 }
    })
}

fn labels(n: usize, of_cluster: [usize; 3]) -> Vec<usize> {
    (0..n).map(|i| of_cluster[i % 3]).collect()
}

fn fit<'a>(inputs: Inputs<'a>, labels: &'a [usize]) -> Fitted {
    fit_all(
        &TrainInputs::new(inputs, labels).unwrap(),
        &Settings::default(),
    )
}

fn scores(fitted: &Fitted, features: ArrayView2<f64>) -> Vec<(ScoreId, Vec<f64>)> {
    let inputs = Inputs::of_features(features, false).unwrap();
    let scores = fitted.score_all(&inputs).into_iter();
    scores
        .filter_map(|(id, values)| Some((id, values.ok()?.to_vec())))
        .collect()
}

/// Densities of classes 1, 2, 3 and of 2, 5, 11 are those of 0, 1, 2.
#[test]
fn gaps_change_no_score() {
    let features = features(120);
    let fitted = |of_cluster| {
        let inputs = Inputs::of_features(features.view(), false).unwrap();
        fit(inputs, &labels(120, of_cluster))
    };
    let reference = scores(&fitted([0, 1, 2]), features.view());
    assert!(reference.len() >= 8);
    for of_cluster in [[1, 2, 3], [2, 5, 11], [7, 900, usize::MAX - 1]] {
        let found = fitted(of_cluster);
        assert_eq!(scores(&found, features.view()), reference);
        let Some(AnyDetector::Em(em)) = found.get(&ScoreId::GMM_EM) else {
            panic!("no EM mixture: {:?}", found.skipped)
        };
        assert_eq!(em.mixture().n_clusters(), 3);
    }
}

/// A network of five classes, of which the training features show three.
#[test]
fn classes_of_the_logits_without_samples_are_left_out() {
    let features = features(120);
    let logits = Array2::from_shape_fn((120, 5), |(i, c)| f64::from(c == [0, 2, 4][i % 3]));
    let inputs = Inputs::new(features.view(), logits.view(), false).unwrap();
    let fitted = fit(inputs, &labels(120, [0, 2, 4]));
    for name in ["gmm_features", "gmm_em", "mahalanobis", "she", "knn"] {
        assert!(
            fitted.get(&name.into()).is_some(),
            "{name}: {:?}",
            fitted.skipped
        );
    }
    let Some(AnyDetector::Gmm(gmm)) = fitted.get(&ScoreId::GMM_FEATURES) else {
        panic!("no mixture")
    };
    assert_eq!(gmm.mixture().n_classes(), 3);
}

#[test]
fn labels_from_one_are_named_as_such() {
    let features = features(9);
    let logits = Array2::<f64>::zeros((9, 3));
    let message = |of_cluster| {
        let labels = labels(9, of_cluster);
        let inputs = Inputs::new(features.view(), logits.view(), false).unwrap();
        let refused = TrainInputs::new(inputs, &labels).unwrap_err();
        refused.to_string()
    };
    assert_eq!(
        message([1, 2, 3]),
        "the labels run from 1 to 3 for 3 classes: subtract 1 from each, since classes count from 0"
    );
    assert_eq!(
        message([0, 1, 7]),
        "label 7 of row 2 is not one of the 3 classes: labels count from 0 to 2"
    );
}

/// A class with too few samples is named by its label, in words of the field, each name once.
#[test]
fn a_class_with_one_sample_is_named_by_its_label() {
    let features = features(31);
    let mut labels = labels(31, [1, 4, 6]);
    labels[30] = 9;
    let train = || {
        let inputs = Inputs::of_features(features.view(), false).unwrap();
        TrainInputs::new(inputs, &labels).unwrap()
    };
    let expected = "class 9 has 1 of the 2 samples that it needs: add samples, leave the class out, or share one covariance \
                    among the classes (tied)";
    let skipped = fit_all(&train(), &Settings::default()).skipped;
    let gmm = skipped
        .iter()
        .find(|skipped| skipped.name == ScoreId::GMM_FEATURES);
    assert_eq!(gmm.unwrap().reason, expected);
    let error = fit_named(&train(), &Settings::default(), ["gmm_features"]).unwrap_err();
    assert_eq!(error.to_string(), format!("gmm_features: {expected}"));
    let tied = Settings {
        gmm_covariance: Covariance::Tied,
        ..Settings::default()
    };
    assert!(fit_named(&train(), &tied, ["gmm_features"]).is_ok());
}
