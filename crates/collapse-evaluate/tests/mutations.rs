//! Damaged files of fitted detectors: never a panic, never much time or memory, and none is silently another.
//!
//! `COLLAPSE_MUTATIONS=10000 cargo test -p collapse-evaluate --test mutations` is the long run.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_evaluate::SavedDetectors;
use collapse_ood::Settings;
use collapse_testing::{Harness, Kind};

mod common;

#[global_allocator]
static ALLOCATOR: collapse_testing::PeakAlloc = collapse_testing::PeakAlloc;

/// Every detector, fitted on three classes of 16 samples.
fn detectors() -> SavedDetectors {
    let splits = common::splits(4.0);
    let fitted = splits.fit_all(&Settings::default()).unwrap();
    assert!(fitted.detectors.len() > 20, "{:?}", fitted.skipped);
    SavedDetectors::of(&splits, fitted, "0.1.0")
        .with_held_out(&splits)
        .unwrap()
}

fn every_damage_is_told(name: &str, file: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    detectors().write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    Harness::new(name, Kind::Sealed).run(&bytes, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let read = SavedDetectors::read(&path)?;
        let fitted = serde_json::to_string(&read.fitted).unwrap();
        let facts = (
            read.code_version,
            read.n_features,
            read.n_classes,
            read.l2,
            read.head,
        );
        Ok::<_, collapse_evaluate::Error>((facts, read.held_out, fitted))
    });
}

#[test]
fn detectors_as_message_pack() {
    every_damage_is_told("detectors (MessagePack)", "detectors.bin");
}

#[test]
fn detectors_as_json() {
    every_damage_is_told("detectors (JSON)", "detectors.json");
}
