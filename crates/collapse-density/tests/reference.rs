//! Agreement with DDU's own numbers and with their evaluation in 60 digits.
#![allow(clippy::unwrap_used)] // A test fails by panicking, its helpers too.

mod common;

use std::path::Path;

use collapse_density::{Covariance, Jitter, LabelledGaussianMixture};
use common::relative;
use ndarray::Array2;
use safetensors::SafeTensors;
use serde_json::Value;

/// The tensors' file and the numbers; says so where they are missing.
fn fixtures() -> Option<(Vec<u8>, Value)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        "../collapse-verify/fixtures/public",
        "../../../shared/fixtures/public",
    ];
    let found = places
        .map(|place| here.join(place))
        .into_iter()
        .find(|dir| dir.join("gmm.json").exists());
    let Some(dir) = found else {
        eprintln!("skipped: no gmm.json under collapse-verify/fixtures or ../shared/fixtures");
        return None;
    };
    let text = std::fs::read_to_string(dir.join("gmm.json")).unwrap();
    Some((
        std::fs::read(dir.join("gmm.safetensors")).unwrap(),
        serde_json::from_str(&text).unwrap(),
    ))
}

fn matrix(tensors: &SafeTensors, name: &str) -> Array2<f64> {
    let view = tensors.tensor(name).unwrap();
    let (values, _) = view.data().as_chunks::<8>();
    let values = values
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect();
    Array2::from_shape_vec((view.shape()[0], view.shape()[1]), values).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

/// Tolerances of the reference numbers, by case and jitter.
fn tolerance(case: &str, jitter: f64) -> Option<f64> {
    match case {
        "collapsed" if jitter >= 1e-10 => Some(1e-10),
        "collapsed" if jitter >= 1e-12 => Some(1e-8),
        "collapsed" if jitter >= 1e-14 => Some(1e-6),
        "collapsed" if jitter >= 1e-16 => Some(1e-4),
        "collapsed" => None,
        _ => Some(1e-12),
    }
}

#[test]
fn densities_agree_with_the_reference() {
    let Some((bytes, json)) = fixtures() else {
        return;
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for case in json["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let n_classes = case["classes"].as_u64().unwrap() as usize;
        let features = matrix(&tensors, &format!("{name}.features"));
        let test = matrix(&tensors, &format!("{name}.test"));
        let labels: Vec<usize> = (0..features.nrows()).map(|i| i % n_classes).collect();
        let params = LabelledGaussianMixture::params(n_classes);

        let model = params
            .check()
            .unwrap()
            .fit_view(features.view(), &labels)
            .unwrap();
        let means = matrix(&tensors, &format!("{name}.means"));
        assert!(relative(model.class_means(), &means) < 1e-13);
        let chosen = case["chosen_jitter"].as_f64().unwrap();
        if chosen == 0.0 {
            assert_eq!(model.jitter(), 0.0, "{name}");
        } else {
            let decades = (model.jitter() / chosen).log10().abs();
            assert!(
                decades < 2.5,
                "{name}: {:e} against {chosen:e}",
                model.jitter()
            );
        }

        for row in case["per_jitter"].as_array().unwrap() {
            let jitter = row["jitter"].as_f64().unwrap();
            let Some(limit) = tolerance(name, jitter) else {
                continue;
            };
            let params = params.jitter(Jitter::Fixed(jitter)).check().unwrap();
            let model = params.fit_view(features.view(), &labels).unwrap();
            let score = model.score(test.view()).unwrap();
            let errors = [
                relative(model.log_determinants(), &numbers(&row["logdet_mp60"])),
                relative(&score, &numbers(&row["score_mp60"])),
            ];
            assert!(
                errors.iter().all(|e| *e < limit),
                "{name} {jitter:e}: {errors:?}"
            );
            let expected = exact_densities(&tensors, name, jitter).unwrap();
            let found = model.log_density(test.view()).unwrap();
            assert!(relative(&found, &expected) < limit, "{name} {jitter:e}");
        }
    }
}

/// Log-densities in 60 digits at one jitter, `[20, C]`.
fn exact_densities(tensors: &SafeTensors, case: &str, jitter: f64) -> Option<Array2<f64>> {
    let names = tensors.names();
    let array = names.iter().find(|name| {
        name.strip_prefix(&format!("{case}.j"))
            .and_then(|name| name.strip_suffix(".logdensity_mp60"))
            .is_some_and(|name| name.parse() == Ok(jitter))
    });
    Some(matrix(tensors, array?))
}

/// With fewer samples than dimensions the low-rank form is right where a Cholesky factor of the same matrix has lost
/// every digit: down to the jitter of 1e-21 that DDU's ladder stops at, where PyTorch is seven per cent off.
#[test]
fn low_rank_agrees_with_60_digits_at_every_ridge() {
    let Some((bytes, json)) = fixtures() else {
        return;
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cases = json["cases"].as_array().unwrap();
    let deficient = cases
        .iter()
        .filter(|case| case["chosen_jitter"].as_f64() > Some(0.0));
    let mut ridges = 0;
    for case in deficient {
        let name = case["case"].as_str().unwrap();
        let n_classes = case["classes"].as_u64().unwrap() as usize;
        let features = matrix(&tensors, &format!("{name}.features"));
        let test = matrix(&tensors, &format!("{name}.test"));
        let labels: Vec<usize> = (0..features.nrows()).map(|i| i % n_classes).collect();
        for row in case["per_jitter"].as_array().unwrap() {
            let ridge = row["jitter"].as_f64().unwrap();
            let Some(expected) = exact_densities(&tensors, name, ridge) else {
                continue;
            };
            let form = Covariance::LowRank { rank: None, ridge };
            let params = LabelledGaussianMixture::params(n_classes).covariance(form);
            let model = params.check().unwrap();
            let model = model.fit_view(features.view(), &labels).unwrap();
            let errors = [
                relative(&model.log_density(test.view()).unwrap(), &expected),
                relative(
                    &model.score(test.view()).unwrap(),
                    &numbers(&row["score_mp60"]),
                ),
                relative(model.log_determinants(), &numbers(&row["logdet_mp60"])),
            ];
            assert!(
                errors.iter().all(|e| *e < 1e-10),
                "{name} {ridge:e}: {errors:?}"
            );
            ridges += 1;
        }
    }
    assert!(ridges > 0);
}
