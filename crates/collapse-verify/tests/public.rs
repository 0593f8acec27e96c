//! The implementation agrees with the references that come with the crate, and disagreement is seen.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use collapse_verify::{Extent, Options, Report, relative_error, verify_dir};

fn public() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/public")
}

fn check(only: &str, at_least: usize) {
    let report = verify_dir(
        &public(),
        &Options {
            only: vec![only.into()],
            extent: Extent::Pass,
        },
    )
    .unwrap();
    let failed: Vec<String> = report.failed().map(ToString::to_string).collect();
    assert!(
        failed.is_empty(),
        "\n{}\n{}",
        failed.join("\n"),
        report.summary()
    );
    assert!(
        report.rows.len() >= at_least,
        "only {} rows",
        report.rows.len()
    );
}

#[test]
fn densities() {
    check("gmm", 60);
}

#[test]
fn metrics() {
    check("metrics", 200);
}

#[test]
fn geometry() {
    check("nc", 60);
}

#[test]
fn detectors() {
    check("ood", 70);
}

#[test]
fn detectors_of_features_and_head() {
    check("ood_head", 16);
}

#[test]
fn generator() {
    check("misc", 20);
}

#[test]
fn a_changed_number_fails() {
    let folder = std::env::temp_dir().join(format!("collapse-verify-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(
        public().join("metrics.safetensors"),
        folder.join("metrics.safetensors"),
    )
    .unwrap();
    let text = std::fs::read_to_string(public().join("metrics.json")).unwrap();
    std::fs::write(
        folder.join("metrics.json"),
        text.replacen("0.7940166666666667", "0.7940176666666667", 1),
    )
    .unwrap();
    let report = verify_dir(&folder, &Options::default()).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(report.failed().count(), 1);
    assert!(report.summary().ends_with("1 outside their tolerances"));
}

#[test]
fn a_folder_with_nothing_to_check_is_an_error() {
    let folder = std::env::temp_dir().join(format!("collapse-nothing-{}", std::process::id()));
    let refused = |only: &[&str], parts: &[&str]| {
        let options = Options {
            only: only.iter().map(|&name| name.to_owned()).collect(),
            ..Options::default()
        };
        let error = verify_dir(&folder, &options).unwrap_err().to_string();
        for part in [&[folder.to_str().unwrap()], parts].concat() {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    };
    refused(&[], &["no such folder"]);
    std::fs::create_dir_all(&folder).unwrap();
    refused(
        &[],
        &["nothing to check", "gmm.json", "model_resnet50.json"],
    );
    refused(&["nc", "nope"], &["nothing to check", "nc.json, nope.json"]);
    std::fs::write(folder.join("gmm.json"), "{}").unwrap();
    refused(&[], &["gmm.json: it holds no case to check"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn errors_of_special_values() {
    assert_eq!(relative_error(&[f64::NAN, 2.0], &[f64::NAN, 2.0]), 0.0);
    assert_eq!(relative_error(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    assert!(relative_error(&[f64::NAN], &[1.0]).is_nan());
    let mut report = Report::default();
    report.record("file", "case", "quantity", f64::NAN, 1.0);
    assert_eq!(report.failed().count(), 1);
}
