//! Files made by this project tell their damage; files of others need no seal.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::Path;

use collapse_features::{Error, FeatureSet, Precision, read};
use ndarray::array;

fn sample() -> FeatureSet {
    FeatureSet::new(array![[1.0, -2.5, 0.25], [0.5, 3.0, -8.0]])
        .with_labels(vec![1, 0])
        .with_head(array![[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], array![0.5, -0.5])
        .with_metadata("dataset", "toy")
        .with_l2(true)
}

/// The bytes of the sample's file, and where to put changed ones.
fn written(folder: &Path) -> (Vec<u8>, std::path::PathBuf) {
    let path = folder.join("a.safetensors");
    sample().write(&path, Precision::F32).unwrap();
    (std::fs::read(&path).unwrap(), path)
}

/// Replaces text of a header by text of equal length.
fn with_header(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn a_flipped_bit_of_any_byte_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, path) = written(folder.path());
    for at in 0..bytes.len() {
        let mut copy = bytes.clone();
        copy[at] ^= 1 << (at % 8);
        std::fs::write(&path, &copy).unwrap();
        assert!(read(&path).is_err(), "byte {at}");
    }
}

#[test]
fn the_seal_is_the_one_that_checks_every_file_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, path) = written(folder.path());
    assert!(collapse_files::check(&bytes).is_sound());
    // It is the file's, not the set's.
    assert_eq!(read(&path).unwrap(), sample());
}

#[test]
fn a_file_of_this_project_that_lost_its_seal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, path) = written(folder.path());
    for (from, to) in [
        ("collapse-sha256:", "collapse-sha255:"),
        ("collapse.seal", "collapse.sale"),
        ("collapse.format", "collapse.farmot"),
        ("\"true\"", "\"yeah\""),
    ] {
        std::fs::write(&path, with_header(&bytes, from, to)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, Error::Seal { .. }), "{from}: {error}");
        assert!(error.to_string().contains("collapse.seal"), "{error}");
    }
}

#[test]
fn a_sound_file_of_another_version_names_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, path) = written(folder.path());
    let newer = with_header(&bytes, "collapse.features/2", "collapse.features/3");
    let seal = String::from_utf8_lossy(&newer);
    let seal = &seal[seal.find("collapse-sha256:").unwrap()..][..80];
    let blank = with_header(&newer, seal, collapse_files::Seal::BLANK);
    std::fs::write(&path, collapse_files::seal(blank).unwrap()).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains("collapse.features/3") && error.contains("collapse.features/2"),
        "{error}"
    );
}

#[test]
fn metadata_of_other_programs_survive_and_need_no_seal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let header = r#"{"__metadata__":{"format":"pt","l2":"true"},"features":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(3f32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let set = read(&path).unwrap();
    assert_eq!(set.features, array![[3.0]]);
    assert_eq!(set.metadata["format"], "pt");
    // Written here, it is sealed.
    set.write(&path, Precision::F32).unwrap();
    assert!(collapse_files::check(&std::fs::read(&path).unwrap()).is_sound());
    assert_eq!(read(&path).unwrap(), set);
}

#[cfg(unix)]
#[test]
fn a_written_file_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (_, path) = written(folder.path());
    let plain = folder.path().join("plain");
    std::fs::write(&plain, b"").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
}
