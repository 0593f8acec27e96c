//! Damaged files of every kind: never a panic, never much time or memory, and no sealed file is silently another.
//!
//! `COLLAPSE_MUTATIONS=10000 cargo test -p collapse-features --test mutations` is the long run.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::path::Path;

use collapse_features::{Error, FeatureSet, Precision, read};
use collapse_testing::{Harness, Kind};
use ndarray::Array2;

use common::{bytes, npy, npz, safetensors};

#[global_allocator]
static ALLOCATOR: collapse_testing::PeakAlloc = collapse_testing::PeakAlloc;

fn sample() -> FeatureSet {
    let value = |(i, j)| ((i * 37 + j * 101) as f64).sin();
    FeatureSet::new(Array2::from_shape_fn((24, 6), value))
        .with_labels((0..24).map(|i| i % 3).collect())
        .with_head(
            Array2::from_shape_fn((3, 6), value),
            ndarray::arr1(&[0.5, -0.5, 0.0]),
        )
        .with_metadata("dataset", "toy")
        .with_metadata("epoch", 17)
        .with_l2(true)
}

fn features() -> Vec<u8> {
    let values: Vec<f64> = sample().features.to_f64().into_iter().collect();
    let values = bytes(&values, |value| (value as f32).to_le_bytes());
    npy("<f4", false, "(24, 6)", &values)
}

fn labels() -> Vec<u8> {
    let labels = bytes(&sample().labels.unwrap(), |label| {
        (label as i64).to_le_bytes()
    });
    npy("<i8", false, "(24,)", &labels)
}

fn archive(method: zip::CompressionMethod) -> Vec<u8> {
    let arrays = [
        ("features", features()),
        ("labels", labels()),
        ("l2", npy("|b1", false, "()", &[1])),
        ("head_weight", npy("<f8", false, "(1, 6)", &[0; 48])),
    ];
    npz(method, &arrays)
}

/// Reads bytes as a file of this name.
fn reader(path: &Path) -> impl Fn(&[u8]) -> Result<FeatureSet, Error> {
    move |bytes| {
        std::fs::write(path, bytes).unwrap();
        read(path)
    }
}

#[test]
fn sealed_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    for precision in [Precision::F32, Precision::Bf16] {
        let path = folder.path().join("a.safetensors");
        sample().write(&path, precision).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        Harness::new(
            &format!("features, sealed safetensors {}", precision.name()),
            Kind::Sealed,
        )
        .run(&bytes, reader(&path));
    }
}

#[test]
fn foreign_safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let features: Vec<f64> = sample().features.to_f64().into_iter().collect();
    let features = bytes(&features, f64::to_le_bytes);
    let labels = bytes(&sample().labels.unwrap(), |label| [label as u8]);
    let tensors = [
        ("features", "F64", [24, 6].as_slice(), features.as_slice()),
        ("labels", "U8", &[24], &labels),
        ("l2", "BOOL", &[], &[1]),
    ];
    let bytes = safetensors(Some("true"), &tensors);
    Harness::new("features, foreign safetensors", Kind::Foreign).run(&bytes, reader(&path));
}

#[test]
fn npz_archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    for method in [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
    ] {
        Harness::new(&format!("features, npz {method:?}"), Kind::Foreign)
            .run(&archive(method), reader(&path));
    }
}

#[test]
fn npy_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    Harness::new("features, npy", Kind::Foreign).run(&features(), reader(&path));
}

#[test]
fn folders_of_npy_arrays() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("features.npy"), features()).unwrap();
    let labels_at = folder.path().join("labels.npy");
    Harness::new("features, folder of npy", Kind::Foreign).run(&labels(), |bytes| {
        std::fs::write(&labels_at, bytes).unwrap();
        read(folder.path())
    });
}
