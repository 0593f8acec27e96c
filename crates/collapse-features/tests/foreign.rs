//! What exporters of other frameworks give: flags in several forms, shapes of hooks, damaged archives, no files at all.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::path::Path;

use collapse_features::{Error, FeatureSet, Limits, read, read_within};
use ndarray::array;

/// An array in C's order.
fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    common::npy(descr, false, shape, bytes)
}

fn f32s(values: &[f32]) -> Vec<u8> {
    common::bytes(values, f32::to_le_bytes)
}

fn utf32(text: &str, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = text
        .chars()
        .flat_map(|c| (c as u32).to_le_bytes())
        .collect();
    bytes.resize(4 * length, 0);
    bytes
}

fn archive(path: &Path, method: zip::CompressionMethod, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let bytes = common::npz(method, arrays);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

fn safetensors(path: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)], l2: Option<&str>) {
    let tensors: Vec<common::Tensor> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, *dtype, *shape, bytes.as_slice()))
        .collect();
    std::fs::write(path, common::safetensors(l2, &tensors)).unwrap();
}

#[test]
fn l2_as_a_tensor_is_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let features = ("features", "F32", [1, 2].as_slice(), f32s(&[3.0, 4.0]));
    let flags: [(&str, &[usize], Vec<u8>, bool); 5] = [
        ("BOOL", &[], vec![1], true),
        ("BOOL", &[1], vec![0], false),
        ("U8", &[], vec![1], true),
        ("I64", &[1, 1], 1i64.to_le_bytes().to_vec(), true),
        ("F32", &[], f32s(&[1.0]), true),
    ];
    for (dtype, shape, bytes, expected) in flags {
        let flag = ("l2", dtype, shape, bytes);
        safetensors(&path, &[features.clone(), flag.clone()], None);
        assert_eq!(read(&path).unwrap().l2(), expected, "{dtype} {shape:?}");
        safetensors(
            &path,
            &[features.clone(), flag],
            Some(&(!expected).to_string()),
        );
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("l2") && error.contains("tensor"), "{error}");
    }
    for (dtype, shape, bytes) in [
        ("F32", [].as_slice(), f32s(&[0.5])),
        ("BOOL", &[2], vec![1, 1]),
    ] {
        safetensors(
            &path,
            &[features.clone(), ("l2", dtype, shape, bytes)],
            None,
        );
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("true or false"), "{error}");
    }
}

#[test]
fn l2_as_text_of_numpy_is_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let features = npy("<f4", "(1, 2)", &f32s(&[3.0, 4.0]));
    let flags = [
        (npy("<U4", "()", &utf32("True", 4)), true),
        (npy("<U8", "(1,)", &utf32("false", 8)), false),
        (npy("|S4", "()", b"true"), true),
        (npy("<f8", "()", &1f64.to_le_bytes()), true),
    ];
    for (flag, expected) in flags {
        let arrays = [("features", features.clone()), ("l2", flag)];
        archive(&path, zip::CompressionMethod::Stored, &arrays);
        assert_eq!(read(&path).unwrap().l2(), expected);
    }
    let flag = npy("<U5", "()", &utf32("maybe", 5));
    let arrays = [("features", features), ("l2", flag)];
    archive(&path, zip::CompressionMethod::Stored, &arrays);
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains("\"maybe\"") && error.contains("true or false"),
        "{error}"
    );
}

#[test]
fn dimensions_of_one_element_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let values = f32s(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let label = [1i64, 0].iter().flat_map(|l| l.to_le_bytes()).collect();
    safetensors(
        &path,
        &[
            ("features", "F32", &[2, 3, 1, 1], values.clone()),
            ("head.weight", "F32", &[2, 3, 1, 1], values.clone()),
            ("labels", "I64", &[2, 1], label),
        ],
        None,
    );
    let set = read(&path).unwrap();
    assert_eq!(set.features, array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    assert_eq!(set.labels, Some(vec![1, 0]));
    assert_eq!(set.n_classes(), Some(2));
    for (shape, rows) in [
        (&[6usize, 1, 1][..], 6),
        (&[1, 6, 1], 1),
        (&[1, 1, 1, 6], 1),
    ] {
        safetensors(&path, &[("features", "F32", shape, values.clone())], None);
        assert_eq!(read(&path).unwrap().n_samples(), rows, "{shape:?}");
    }
    safetensors(&path, &[("features", "F32", &[1, 3, 2, 1], values)], None);
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains("[1, 3, 2, 1]") && error.contains("mean"),
        "{error}"
    );
}

#[test]
fn damaged_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let values: Vec<f32> = (0..64).map(|i| i as f32 * 0.37).collect();
    let arrays = [
        ("features", npy("<f4", "(16, 4)", &f32s(&values))),
        ("labels", npy("|u1", "(16,)", &[1; 16])),
    ];
    for method in [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
    ] {
        let bytes = archive(&path, method, &arrays);
        let whole = read(&path).unwrap();
        let mut silent = Vec::new();
        for at in 0..bytes.len() {
            let mut copy = bytes.clone();
            copy[at] ^= 1 << (at % 8);
            std::fs::write(&path, &copy).unwrap();
            if read(&path).is_ok_and(|set| set != whole) {
                silent.push(at);
            }
        }
        assert!(silent.is_empty(), "{method:?}: bytes {silent:?}");
    }
}

#[test]
fn what_would_fill_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let zeros = npy("<f4", "(6000, 1000)", &vec![0; 24_000_000]);
    archive(
        &path,
        zip::CompressionMethod::Deflated,
        &[("features", zeros)],
    );
    let error = read(&path).unwrap_err();
    assert!(matches!(error, Error::Expansion { .. }), "{error}");
    let meant = Limits {
        expansion: u64::MAX,
        ..Limits::default()
    };
    assert_eq!(read_within(&path, meant).unwrap().n_samples(), 6000);

    let path = folder.path().join("a.npy");
    let shapes = [
        "(4294967296, 4294967296)",
        "(18446744073709551615,)",
        "(2, 9223372036854775807)",
    ];
    for shape in shapes {
        std::fs::write(&path, npy("<f4", shape, &[0; 16])).unwrap();
        assert!(read(&path).is_err(), "{shape}");
    }
    // Features are kept as wide as they came.
    for (descr, bytes) in [("<f4", 16), ("<f8", 32)] {
        std::fs::write(&path, npy(descr, "(2, 2)", &vec![0; bytes])).unwrap();
        let bytes = bytes as u64;
        let within = |set_bytes| {
            let limits = Limits {
                set_bytes,
                ..Limits::default()
            };
            read_within(&path, limits)
        };
        assert!(within(bytes).is_ok());
        let error = within(bytes - 1).unwrap_err();
        assert!(
            matches!(error, Error::TooLarge { bytes: found, limit, .. } if found == bytes && limit == bytes - 1),
            "{error}"
        );
    }
    // Bytes after the array are no part of any set.
    std::fs::write(&path, npy("<f4", "(2, 1)", &[0; 16])).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("8 bytes follow"), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_feature_files() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.safetensors");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let zero = folder.path().join("zero.npz");
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    for path in [pipe, zero] {
        let error = read(&path).unwrap_err();
        assert!(matches!(error, Error::NotRegular { .. }), "{error}");
    }
}

#[test]
fn a_role_filled_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let matrix = npy("<f4", "(1, 1)", &f32s(&[1.0]));
    let arrays = ["features", "head.weight", "head_weight"].map(|name| (name, matrix.clone()));
    archive(&path, zip::CompressionMethod::Stored, &arrays);
    let error = read(&path).unwrap_err().to_string();
    assert!(
        error.contains("head.weight") && error.contains("twice"),
        "{error}"
    );
}

#[test]
fn large_unsigned_labels_keep_their_value_in_messages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let set = |label: u64| {
        let features = ("features", "F32", [1, 1].as_slice(), f32s(&[1.0]));
        let labels = (
            "labels",
            "U64",
            [1].as_slice(),
            label.to_le_bytes().to_vec(),
        );
        safetensors(&path, &[features, labels], None);
        read(&path)
    };
    let label = 1 << 63;
    assert_eq!(set(label).unwrap().labels, Some(vec![label as usize]));
    let labelled = |set: FeatureSet| set.labels_below(3).unwrap_err().to_string();
    assert!(labelled(set(label).unwrap()).contains("9223372036854775808"));
}
