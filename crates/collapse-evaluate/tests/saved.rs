//! Files of fitted detectors.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_evaluate::{Error, SavedDetectors};
use collapse_ood::Settings;

mod common;

fn saved() -> SavedDetectors {
    let splits = common::splits(0.0);
    let fitted = splits.fit_named(&Settings::default(), ["knn"]).unwrap();
    let saved = SavedDetectors::of(&splits, fitted, "0.1.0");
    saved.with_held_out(&splits).unwrap()
}

#[test]
fn infinite_confidences_survive_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let mut saved = saved();
    saved.held_out[0].confidences[0] = f64::NEG_INFINITY;
    *saved.held_out[0].confidences.last_mut().unwrap() = f64::INFINITY;
    for name in ["detectors.json", "detectors.bin"] {
        let path = folder.path().join(name);
        saved.write(&path).unwrap();
        let read = SavedDetectors::read(&path).unwrap();
        assert_eq!(read.held_out, saved.held_out, "{name}");
        assert_eq!((read.n_classes, read.head), (Some(3), saved.head.clone()));
    }
}

#[test]
fn what_json_cannot_hold_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut saved = saved();
    saved.head.as_mut().unwrap().bias[1] = f64::INFINITY;
    let path = folder.path().join("detectors.json");
    std::fs::write(&path, "old").unwrap();
    let error = saved.write(&path).unwrap_err();
    assert!(matches!(error, Error::NoJson { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    let path = folder.path().join("detectors.bin");
    saved.write(&path).unwrap();
    assert_eq!(SavedDetectors::read(&path).unwrap().head, saved.head);
}
