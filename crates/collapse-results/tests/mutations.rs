//! Damaged copies of `results.json`: never a panic, never much time or memory, and none is silently another.
//!
//! `COLLAPSE_MUTATIONS=10000 cargo test -p collapse-results --test mutations` is the long run.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use collapse_results::{Error, Results};
use collapse_testing::{Harness, Kind};

#[global_allocator]
static ALLOCATOR: collapse_testing::PeakAlloc = collapse_testing::PeakAlloc;

#[test]
fn every_damage_is_told() {
    let text = common::results().to_json().unwrap();
    Harness::new("results.json", Kind::Sealed).run(text.as_bytes(), |bytes| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        Results::from_json(text).map_err(|error| error.to_string())
    });
}

#[test]
fn another_figure_is_damage_and_a_file_without_a_seal_is_read() {
    let text = common::results().to_json().unwrap();
    let edited = text.replacen("\"accuracy\": 0.9", "\"accuracy\": 0.8", 1);
    assert_ne!(edited, text);
    assert!(matches!(Results::from_json(&edited), Err(Error::Damaged)));

    let mark = text.replacen("collapse-sha256:", "collapse-sha257:", 1);
    assert!(matches!(Results::from_json(&mark), Err(Error::Damaged)));

    let unsealed = serde_json::to_string(&common::results()).unwrap();
    assert_eq!(Results::from_json(&unsealed).unwrap(), common::results());
}
