//! Damaged files of every kind: never a panic, never much time or memory, and no sealed file is silently another.
//!
//! `COLLAPSE_MUTATIONS=10000 cargo test -p collapse-features --test mutations` is the long run.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::io::Write;
use std::path::Path;

use collapse_features::{Error, FeatureSet, Precision, read};
use collapse_testing::{Harness, Kind};
use ndarray::Array2;

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

/// An array of NumPy's with the values of `rows`.
fn npy(descr: &str, shape: &str, values: Vec<u8>) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    text.push_str(&" ".repeat(63 - (text.len() + 10) % 64));
    text.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    file.extend(values);
    file
}

fn features() -> Vec<u8> {
    let values = sample().features;
    let values = values
        .iter()
        .flat_map(|&value| (value as f32).to_le_bytes());
    npy("<f4", "(24, 6)", values.collect())
}

fn labels() -> Vec<u8> {
    let labels = sample().labels.unwrap();
    let labels = labels
        .iter()
        .flat_map(|&label| (label as i64).to_le_bytes());
    npy("<i8", "(24,)", labels.collect())
}

fn archive(method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let arrays = [
        ("features", features()),
        ("labels", labels()),
        ("l2", npy("|b1", "()", vec![1])),
        ("head_weight", npy("<f8", "(1, 6)", vec![0; 48])),
    ];
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(&bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
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
    let header = r#"{"__metadata__":{"l2":"true"},"features":{"dtype":"F64","shape":[24,6],"data_offsets":[0,1152]},"labels":{"dtype":"U8","shape":[24],"data_offsets":[1152,1176]},"l2":{"dtype":"BOOL","shape":[],"data_offsets":[1176,1177]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(
        sample()
            .features
            .iter()
            .flat_map(|value| value.to_le_bytes()),
    );
    bytes.extend(sample().labels.unwrap().iter().map(|&label| label as u8));
    bytes.push(1);
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
