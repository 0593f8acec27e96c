//! What a user reads when a feature file is wrong: the file, the value, the remedy.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::Path;

use collapse_features::{FeatureSet, Precision, check_agreement, read};
use expect_test::{Expect, expect};
use ndarray::array;

/// Reading `bytes` as the file `name` fails with this message.
fn check(name: &str, bytes: &[u8], expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    expected.assert_eq(&message(&path, folder.path()));
}

/// The message without the folder of this test.
fn message(path: &Path, folder: &Path) -> String {
    let error = read(path).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.display()), "")
}

fn written(set: &FeatureSet) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    set.write(&path, Precision::F32).unwrap();
    std::fs::read(path).unwrap()
}

/// A safetensors file of another program with one tensor.
fn foreign(name: &str, dtype: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let end = bytes.len();
    let header =
        format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(bytes);
    file
}

#[test]
fn containers() {
    let whole = written(&FeatureSet::new(array![[1.0, 2.0], [3.0, 4.0]]));
    check(
        "a.safetensors",
        &whole[..whole.len() - 3],
        expect![
            "a.safetensors: truncated: the header promises 248 bytes and the file has 245; copy or export it again"
        ],
    );
    let mut edited = whole.clone();
    *edited.last_mut().unwrap() ^= 1;
    check(
        "a.safetensors",
        &edited,
        expect![
            "a.safetensors was damaged or edited since it was written: its seal does not fit its content; copy or export it again (a program that edits it on purpose leaves out the metadata collapse.format and collapse.seal)"
        ],
    );
    check(
        "a.safetensors",
        b"not",
        expect![
            "a.safetensors: truncated: the header promises 8 bytes and the file has 3; copy or export it again"
        ],
    );
    check(
        "a.npz",
        b"not an archive",
        expect![
            "a.npz: not a valid npz file: invalid Zip archive: Could not find EOCD; export it again"
        ],
    );
    check(
        "a.npy",
        b"not an array",
        expect![
            "a.npy: not a valid npy file: array features: it does not begin as an array of NumPy; export it again"
        ],
    );
    check(
        "a.pt",
        &whole,
        expect![
            "a.pt: unknown kind of feature file; it must end in .safetensors, .npz, .npy, .csv or .jsonl, or be a folder of .npy files"
        ],
    );
}

#[test]
fn tensors() {
    let one = 1f32.to_le_bytes();
    check(
        "a.safetensors",
        &foreign("z", "F32", "[1,1]", &one),
        expect![
            "a.safetensors: no tensor `features`; the file holds z. Export the input of the last linear layer as `features` [N, D]."
        ],
    );
    check(
        "a.safetensors",
        &foreign("features", "I32", "[1,1]", &one),
        expect!["a.safetensors: tensor `features` has type i32; it must be f16, bf16, f32 or f64"],
    );
    check(
        "a.safetensors",
        &foreign("features", "F32", "[1]", &one),
        expect!["a.safetensors: tensor `features` has shape [1]; expected [N, D]"],
    );
    let map = one.repeat(4);
    check(
        "a.safetensors",
        &foreign("features", "F32", "[1,1,2,2]", &map),
        expect![
            "a.safetensors: tensor `features` has shape [1, 1, 2, 2]; expected [N, D]; take the mean over the maps, or flatten them, before saving"
        ],
    );
    let nan = f32::NAN.to_le_bytes();
    check(
        "a.safetensors",
        &foreign("features", "F32", "[1,1]", &nan),
        expect![
            "a.safetensors: `features` is NaN at row 0, column 0; find out why the network produced it, then export again or leave that row out"
        ],
    );
}

#[test]
fn what_does_not_exist_and_what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.npz");
    expect![
        "missing.npz cannot be read; check that the path exists and that its permissions allow it"
    ]
    .assert_eq(&message(&missing, folder.path()));
}

#[test]
fn sets_of_two_networks() {
    let (a, b) = (
        FeatureSet::new(array![[1.0, 2.0]]),
        FeatureSet::new(array![[1.0]]),
    );
    let error = check_agreement(&[("train", &a), ("test", &b)]).unwrap_err();
    expect!["train and test disagree: the feature dimension is 2 and 1; both must come from the same network"].assert_eq(&error.to_string());
    let outside = a.with_labels(vec![5]).with_metadata("dataset", "digits");
    expect!["digits: label 5 at row 0 is not one of the classes 0..3; labels count from 0: check that file and network are of the same data set"].assert_eq(&outside.labels_below(3).unwrap_err().to_string());
}
