//! The report as a whole, on synthetic results.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

#[path = "../common/mod.rs"]
mod common;

use std::path::Path;

use collapse_report::References;
use collapse_results::{DataSet, Results, Role};
use common::synthetic;

mod comparisons;
mod forms;
mod judged;
mod paper;

fn references() -> References {
    References::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference"))
        .expect("the reference files are well formed")
}

/// Synthetic results of networks trained on `name`.
fn trained_on(name: &str) -> Results {
    let mut results = synthetic(3);
    results.data.push(DataSet {
        name: name.into(),
        role: Role::Train,
        ..results.data[0].clone()
    });
    results
}
