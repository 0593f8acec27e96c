//! Round trips, files of other frameworks, and what broken files are answered.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use collapse_features::{Error, FeatureSet, FeatureWriter, Head, Matrix, Outline, Precision, read};
use ndarray::{Array2, array};
use proptest::prelude::*;

use common::{Tensor, bytes, npy, npz, safetensors};

fn sample() -> FeatureSet {
    FeatureSet::new(array![[1.0, -2.5, 0.25], [0.5, 3.0, -8.0]])
        .with_logits(array![[1.0, 2.0], [3.0, -4.0]])
        .with_labels(vec![1, 0])
        .with_head(array![[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], array![0.5, -0.5])
        .with_metadata("dataset", "toy")
        .with_metadata("seed", 3)
        .with_l2(false)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn raw(path: &Path, tensors: &[Tensor]) {
    std::fs::write(path, safetensors(None, tensors)).unwrap();
}

#[test]
fn every_precision_comes_back() {
    let folder = folder();
    for precision in [
        Precision::F16,
        Precision::Bf16,
        Precision::F32,
        Precision::F64,
    ] {
        let path = folder
            .path()
            .join(format!("{}.safetensors", precision.name()));
        sample().write(&path, precision).unwrap();
        assert_eq!(read(&path).unwrap(), sample(), "{}", precision.name());
    }
}

#[test]
fn equal_sets_give_equal_bytes_that_the_reference_library_accepts() {
    let folder = folder();
    let (a, b) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    sample().write(&a, Precision::F32).unwrap();
    sample().write(&b, Precision::F32).unwrap();
    let bytes = std::fs::read(&a).unwrap();
    assert_eq!(bytes, std::fs::read(&b).unwrap());
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(parsed.tensor("head.bias").unwrap().shape(), [2]);
    assert_eq!(parsed.len(), 5);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "no temporary file stays behind"
    );
}

#[test]
fn any_integer_type_labels() {
    let folder = folder();
    let features = bytes(&[1.0f32, 2.0], f32::to_le_bytes);
    let cases: [(&str, Vec<u8>); 6] = [
        ("U8", vec![3, 1]),
        ("I8", vec![3, 1]),
        ("I16", bytes(&[3i16, 1], i16::to_le_bytes)),
        ("I32", bytes(&[3i32, 1], i32::to_le_bytes)),
        ("U32", bytes(&[3u32, 1], u32::to_le_bytes)),
        ("U64", bytes(&[3u64, 1], u64::to_le_bytes)),
    ];
    for (dtype, labels) in cases {
        let path = folder.path().join(format!("{dtype}.safetensors"));
        raw(
            &path,
            &[
                ("features", "F32", &[2, 1], &features),
                ("labels", dtype, &[2], &labels),
            ],
        );
        assert_eq!(read(&path).unwrap().labels, Some(vec![3, 1]), "{dtype}");
    }
}

#[test]
fn negative_labels() {
    let folder = folder();
    let features = bytes(&[1.0f32, 2.0], f32::to_le_bytes);
    let path = folder.path().join("a.safetensors");
    let all = bytes(&[-1i64, -1], i64::to_le_bytes);
    raw(
        &path,
        &[
            ("features", "F32", &[2, 1], &features),
            ("labels", "I64", &[2], &all),
        ],
    );
    assert_eq!(read(&path).unwrap().labels, None);

    let some = bytes(&[4i64, -7], i64::to_le_bytes);
    raw(
        &path,
        &[
            ("features", "F32", &[2, 1], &features),
            ("labels", "I64", &[2], &some),
        ],
    );
    let error = read(&path).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotAClass {
                row: 1,
                label: -7,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn numpy_files() {
    let folder = folder();
    let path = folder.path().join("a.npy");
    let row_major = bytes(&[1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0], f64::to_le_bytes);
    std::fs::write(&path, npy("<f8", false, "(2, 3)", &row_major)).unwrap();
    assert_eq!(
        read(&path).unwrap().features,
        array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    );

    std::fs::write(&path, npy("<f8", true, "(2, 3)", &row_major)).unwrap();
    assert_eq!(
        read(&path).unwrap().features,
        array![[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    );

    let big_endian = bytes(&[1.0f32, -2.0], f32::to_be_bytes);
    std::fs::write(&path, npy(">f4", false, "(1, 2)", &big_endian)).unwrap();
    assert_eq!(read(&path).unwrap().features, array![[1.0, -2.0]]);

    std::fs::write(&path, npy("<f8", false, "(6,)", &row_major)).unwrap();
    assert!(matches!(read(&path), Err(Error::WrongShape { .. })));
    std::fs::write(
        &path,
        npy("<f8", false, "(2000000000, 3000000000)", &row_major),
    )
    .unwrap();
    assert!(matches!(read(&path), Err(Error::Truncated { .. })));
}

#[test]
fn numpy_archive() {
    let folder = folder();
    let path = folder.path().join("a.npz");
    let mut arrays = Vec::new();
    let mut add = |name: &'static str, file: Vec<u8>| arrays.push((name, file));
    add(
        "features",
        npy(
            "<f4",
            false,
            "(2, 2)",
            &bytes(&[3.0f32, 4.0, 0.0, 2.0], f32::to_le_bytes),
        ),
    );
    add(
        "labels",
        npy("<i4", false, "(2,)", &bytes(&[0i32, 1], i32::to_le_bytes)),
    );
    add(
        "head_weight",
        npy(
            "<f8",
            false,
            "(1, 2)",
            &bytes(&[1.0f64, 1.0], f64::to_le_bytes),
        ),
    );
    add("l2", npy("|b1", false, "()", &[1]));
    add("comment", npy("<U1", false, "()", &[65, 0, 0, 0]));
    // Compressed, as `numpy.savez_compressed` does.
    std::fs::write(&path, npz(zip::CompressionMethod::Deflated, &arrays)).unwrap();

    let set = read(&path).unwrap();
    assert!(set.l2());
    assert_eq!(set.labels, Some(vec![0, 1]));
    assert_eq!(
        *set.logits().unwrap(),
        array![[3.0 / 5.0 + 4.0 / 5.0], [1.0]]
    );
}

#[test]
fn folder_of_numpy_files() {
    let folder = folder();
    let write = |name: &str, file: Vec<u8>| std::fs::write(folder.path().join(name), file).unwrap();
    let message = read(folder.path()).unwrap_err().to_string();
    assert!(message.contains("no tensor `features`"), "{message}");
    let values = bytes(&[3.0f32, 4.0, 0.0, 2.0], f32::to_le_bytes);
    write("features.npy", npy("<f4", false, "(2, 2)", &values));
    write("labels.npy", npy("|i1", false, "(2,)", &[0, 1]));
    write("logits.npy", npy("<f4", true, "(2, 2)", &values));
    write("l2.npy", npy("|b1", false, "()", &[1]));
    write("notes.txt", b"not an array".to_vec());
    let set = read(folder.path()).unwrap();
    assert!(set.l2());
    assert_eq!(set.labels, Some(vec![0, 1]));
    assert_eq!(set.logits, Some(array![[3.0, 0.0], [4.0, 2.0]]));

    // The message names the file of the folder that is wrong.
    write("labels.npy", npy("<f4", false, "(2,)", &values[..8]));
    let message = read(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("labels.npy") && message.contains("integer"),
        "{message}"
    );
}

#[test]
fn messages_name_file_tensor_value_and_remedy() {
    let folder = folder();
    let path = folder.path().join("a.safetensors");
    let check = |expected: &[&str]| {
        let message = read(&path).unwrap_err().to_string();
        for part in expected.iter().chain(&["a.safetensors"]) {
            assert!(message.contains(part), "`{part}` not in: {message}");
        }
    };
    let floats = |values: &[f32]| bytes(values, f32::to_le_bytes);

    raw(
        &path,
        &[(
            "features",
            "F32",
            &[2, 2],
            &floats(&[1.0, 2.0, 3.0, f32::NAN]),
        )],
    );
    check(&["`features` is NaN at row 1, column 1", "leave that row out"]);
    raw(&path, &[("embeddings", "F32", &[1, 1], &floats(&[1.0]))]);
    check(&["no tensor `features`", "holds embeddings", "Export"]);
    let one = floats(&[1.0, 2.0]);
    raw(
        &path,
        &[
            ("features", "F32", &[2, 1], &one),
            ("logits", "F32", &[1, 2], &one),
        ],
    );
    check(&["`logits` has shape [1, 2]", "expected [2, C]"]);
    raw(
        &path,
        &[
            ("features", "F32", &[2, 1], &one),
            ("head.weight", "F32", &[1, 2], &one),
        ],
    );
    check(&["`head.weight` has shape [1, 2]", "[C, 1]"]);
    raw(
        &path,
        &[
            ("features", "F32", &[2, 1], &one),
            ("head.bias", "F32", &[2], &one),
        ],
    );
    check(&["no tensor `head.weight`"]);
    raw(&path, &[("features", "I32", &[2, 1], &one)]);
    check(&["`features` has type i32", "f16, bf16, f32 or f64"]);
    raw(
        &path,
        &[
            ("features", "F32", &[2, 1], &one),
            ("labels", "F32", &[2], &one),
        ],
    );
    check(&["`labels` has type f32", "integer"]);
    raw(&path, &[("features", "F32", &[0, 4], &[])]);
    check(&["[0, 4]", "at least one row"]);

    sample().write(&path, Precision::F32).unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    check(&["truncated"]);
    std::fs::write(&path, b"abc").unwrap();
    check(&["truncated"]);
    std::fs::write(&path, [whole.as_slice(), b"more"].concat()).unwrap();
    check(&["4 bytes follow"]);

    assert!(matches!(read("nothing.safetensors"), Err(Error::Io { .. })));
    assert!(matches!(
        read("weights.pt"),
        Err(Error::UnknownFormat { .. })
    ));
}

#[test]
fn writing_refuses_what_reading_would() {
    let folder = folder();
    let path = folder.path().join("a.safetensors");
    let error = FeatureSet::new(array![[1e5, 0.0]])
        .write(&path, Precision::F16)
        .unwrap_err();
    assert!(error.to_string().contains("wider precision"), "{error}");
    assert!(matches!(
        FeatureSet::new(array![[f64::INFINITY]]).write(&path, Precision::F64),
        Err(Error::NotFinite { .. })
    ));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing half-written"
    );
    std::fs::write(folder.path().join("file"), b"no folder").unwrap();
    let beneath_a_file: PathBuf = folder.path().join("file/a.safetensors");
    let error = sample().write(beneath_a_file, Precision::F32).unwrap_err();
    assert!(matches!(error, Error::Unwritable(_)), "{error}");
    let error = sample()
        .with_metadata("l2", "perhaps")
        .write(&path, Precision::F32)
        .unwrap_err();
    assert!(error.to_string().contains("true or false"));
}

#[test]
fn logits_without_head_and_labels() {
    let set = FeatureSet::new(Array2::<f64>::ones((2, 2)));
    assert!(
        set.logits()
            .unwrap_err()
            .to_string()
            .contains("head.weight")
    );
    assert!(matches!(
        set.labels_below(3),
        Err(Error::MissingTensor {
            tensor: "labels",
            ..
        })
    ));
    let set = set.with_labels(vec![0, 5]);
    assert!(matches!(
        set.labels_below(3),
        Err(Error::LabelOutOfRange {
            row: 1,
            label: 5,
            n_classes: 3,
            ..
        })
    ));
}

/// Features stay as wide as they came, and none loses a digit.
#[test]
fn features_keep_their_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let single = array![[0.5f32, 0.1], [1e-30, 3.0]];
    let set = FeatureSet::new(single.clone());
    for precision in [Precision::F32, Precision::F64] {
        set.write(&path, precision).unwrap();
        let again = read(&path).unwrap();
        let narrow = matches!(again.features, Matrix::Single(_));
        assert_eq!(narrow, precision == Precision::F32);
        assert_eq!(again, set);
    }
    let double = FeatureSet::new(array![[0.1f64, 1e-200]]);
    double.write(&path, Precision::F64).unwrap();
    assert_eq!(read(&path).unwrap(), double);
    // Logits of f32 features are those of the same numbers in f64.
    let head = (array![[0.3, -0.7], [0.1, 0.2]], array![0.1, -0.1]);
    for l2 in [false, true] {
        let of = |features: Matrix| {
            let set = FeatureSet::new(features).with_l2(l2);
            let set = set.with_head(head.0.clone(), head.1.clone());
            set.logits().unwrap().into_owned()
        };
        assert_eq!(of(single.clone().into()), of(single.mapv(f64::from).into()));
    }
}

#[test]
fn normalisation_of_extreme_rows() {
    let set = FeatureSet::new(array![[3e300, 4e300], [0.0, 0.0], [3e-170, 4e-170]]);
    let normalized = set.normalized_features().to_f64();
    assert!((normalized[[0, 1]] - 0.8).abs() < 1e-15);
    assert_eq!(normalized.row(1).to_vec(), [0.0, 0.0]);
    // Below the floor the row is divided by the floor, as PyTorch does.
    assert!((normalized[[2, 0]] - 3e-158).abs() < 1e-170);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_files_are_errors_and_never_panics(position in 0usize..700, value: u8, cut in 0usize..700) {
        let folder = folder();
        let path = folder.path().join("a.safetensors");
        sample().write(&path, Precision::F64).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let position = position % bytes.len();
        bytes[position] = value;
        std::fs::write(&path, &bytes).unwrap();
        let _ = read(&path);
        bytes.truncate(cut % bytes.len());
        std::fs::write(&path, &bytes).unwrap();
        prop_assert!(read(&path).is_err());
    }
}

#[test]
fn row_by_row_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let features = array![[3.0, 4.0], [0.5, 2.0], [1.0, -1.0]];
    let logits = array![[0.25, 1.0, 2.0], [0.0, 1.5, 2.5], [1.0, 0.0, 0.5]];
    let head = Head {
        weight: array![[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]],
        bias: array![0.0, 0.5, 1.0],
    };
    let whole = folder.path().join("whole.safetensors");
    let mut set = FeatureSet::new(features.clone())
        .with_labels(vec![2, 0, 1])
        .with_logits(logits.clone())
        .with_head(head.weight.clone(), head.bias.clone());
    set.metadata.insert("dataset".into(), "x".into());
    set.write(&whole, Precision::F32).unwrap();

    let rows = folder.path().join("rows.safetensors");
    let outline = Outline {
        rows: 3,
        dim: 2,
        labels: Some(&[2, 0, 1]),
        head: &head,
        metadata: &set.metadata,
    };
    let narrow =
        |values: &ndarray::Array2<f64>| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
    let (features, logits) = (narrow(&features), narrow(&logits));
    let begin = || FeatureWriter::create(&rows, &outline, Precision::F32).unwrap();
    let mut writer = begin();
    writer.append(&features[..2], &logits[..3]).unwrap();
    assert!(!rows.exists());
    writer.append(&features[2..], &logits[3..]).unwrap();
    assert!(writer.append(&features[..2], &logits[..3]).is_err());
    writer.finish().unwrap();
    assert_eq!(
        std::fs::read(&rows).unwrap(),
        std::fs::read(&whole).unwrap()
    );

    let mut short = begin();
    short.append(&features[..2], &logits[..3]).unwrap();
    let text = short.finish().unwrap_err().to_string();
    assert!(text.contains("3, as announced"), "{text}");
    let text = begin().append(&[f32::NAN, 0.0], &logits[..3]).unwrap_err();
    assert!(text.to_string().contains("NaN at row 0"), "{text}");
}
