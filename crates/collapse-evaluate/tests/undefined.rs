//! A figure that does not exist costs itself, never the evaluation.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_evaluate::{FeatureSplits, Split};
use collapse_features::FeatureSet;
use collapse_ood::{AnyDetector, Intervals, Settings};
use collapse_results::{Evaluation, ScoreId};
use ndarray::{Array1, Array2};

/// Three classes on the axes, a little noise; logits are `sign` times the features.
fn split(sign: f64, n: usize) -> FeatureSet {
    let noise = |i: usize, j: usize| ((i * 37 + j * 11) % 23) as f64 / 50.0;
    let features = Array2::from_shape_fn((n, 3), |(i, j)| {
        noise(i, j) + if i % 3 == j { 1.0 } else { 0.0 }
    });
    let logits = &features * sign;
    FeatureSet::new(features)
        .with_logits(logits)
        .with_labels((0..n).map(|i| i % 3).collect())
}

fn splits(sign: f64) -> FeatureSplits {
    FeatureSplits {
        train: Some(Split::new("train", split(sign, 60))),
        validation: Some(Split::new("validation", split(sign, 30))),
        test: Split::new("test", split(sign, 30)),
        ood: vec![Split::new("far", split(-1.0, 30))],
    }
}

fn record(splits: FeatureSplits) -> Evaluation {
    let splits = splits.complete(None).unwrap();
    let fitted = splits.fit_all(&Settings::default()).unwrap();
    let found = splits.evaluate(fitted, &Intervals::default()).unwrap();
    assert_eq!(found.measurement(), splits.measure().unwrap());
    splits.record(&found, 1).unwrap()
}

/// The density on the other form of the features is that of a network which sees this form.
#[test]
fn each_form_of_the_features_has_its_density() {
    let seen = |l2: bool| {
        let with = |set: Split| Split {
            features: set.features.with_l2(l2),
            ..set
        };
        let FeatureSplits {
            train,
            validation,
            test,
            ood,
        } = splits(1.0);
        record(FeatureSplits {
            train: train.map(with),
            validation: validation.map(with),
            test: with(test),
            ood: ood.into_iter().map(with).collect(),
        })
    };
    let (raw, unit) = (seen(false), seen(true));
    let of = |found: &Evaluation, score: ScoreId| *found.detection(&score, &"far".into()).unwrap();
    assert_eq!(
        of(&raw, ScoreId::GMM_UNIT),
        of(&unit, ScoreId::GMM_FEATURES)
    );
    assert_eq!(of(&unit, ScoreId::GMM_RAW), of(&raw, ScoreId::GMM_FEATURES));
    assert!(raw.detection(&ScoreId::GMM_RAW, &"far".into()).is_none());
}

#[test]
fn a_network_worse_than_chance_has_no_temperature() {
    let found = record(splits(-1.0));
    let reason = found.scaling.reason().unwrap();
    assert!(reason.contains("chance"), "{reason}");
    assert!(
        found
            .detection(&ScoreId::GMM_FEATURES, &"far".into())
            .is_some()
    );
}

#[test]
fn without_a_validation_split_nothing_is_scaled() {
    let found = record(FeatureSplits {
        validation: None,
        ..splits(1.0)
    });
    let reason = found.scaling.reason().unwrap();
    assert!(reason.contains("validation"), "{reason}");
}

#[test]
fn without_a_head_there_is_no_geometry_but_every_score_that_needs_none() {
    let found = record(splits(1.0));
    let reason = found.geometry.reason().unwrap();
    assert!(reason.contains("head.weight"), "{reason}");
    assert!(
        found
            .detection(&ScoreId::MAX_SOFTMAX, &"far".into())
            .is_some()
    );
}

#[test]
fn a_class_of_the_head_without_samples_gets_no_cluster() {
    let head = |set: FeatureSet| set.with_head(Array2::eye(4), Array1::zeros(4));
    let features = |n: usize| {
        let noise = |i: usize, j: usize| ((i * 37 + j * 11) % 23) as f64 / 50.0;
        let on = |i: usize, j: usize| if i % 3 == j { 1.0 } else { 0.0 };
        FeatureSet::new(Array2::from_shape_fn((n, 4), |(i, j)| {
            noise(i, j) + on(i, j)
        }))
        .with_labels((0..n).map(|i| i % 3).collect())
    };
    let splits = FeatureSplits {
        train: Some(Split::new("train", head(features(60)))),
        validation: None,
        test: Split::new("test", features(30)),
        ood: Vec::new(),
    };
    let splits = splits.complete(None).unwrap();
    let fitted = splits.fit_named(&Settings::default(), ["gmm_em"]).unwrap();
    let Some(AnyDetector::Em(em)) = fitted.get(&ScoreId::GMM_EM) else {
        panic!("no EM mixture");
    };
    assert_eq!(em.mixture().weights().len(), 3);
    let fitted = splits
        .fit_named(&Settings::default(), ["gmm_features"])
        .unwrap();
    let Some(AnyDetector::Gmm(gmm)) = fitted.get(&ScoreId::GMM_FEATURES) else {
        panic!("no Gaussians");
    };
    assert_eq!(gmm.mixture().counts(), [20, 20, 20]);
}
