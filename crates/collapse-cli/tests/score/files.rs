//! What is read and written, and what is refused.

use std::process::Command;

use collapse_features::FeatureSet;
use ndarray::Array2;
use tempfile::TempDir;

use super::{Folder, head, labelled, labels, rows, score};

#[test]
fn files_of_two_networks_are_refused() {
    let folder = Folder(TempDir::new().unwrap());
    let set = |seed| FeatureSet::new(rows(30, seed, 0.0)).with_labels(labels(30));
    let train = folder.write("train.safetensors", set(1).with_l2(true));
    let test = folder.write("test.safetensors", set(2).with_l2(false));
    let ood = format!("far={}", folder.write("far.safetensors", set(3)));
    let (output, _, error) = score(&["--train", &train, "--test", &test, "--ood", &ood]);
    assert!(!output.status.success());
    assert!(
        error.contains("train.safetensors")
            && error.contains("test.safetensors")
            && error.contains("l2"),
        "{error}"
    );
}

#[test]
fn names_of_sets_are_quoted() {
    let folder = Folder(TempDir::new().unwrap());
    let name = "a, \"b\"; c";
    let base = labelled(&folder, |i| i % 3, name);
    let out = folder.path("out");
    let base: Vec<&str> = base.iter().map(String::as_str).collect();
    let (output, _, notes) = score(&[&base[..], &["--detector", "knn", "--out", &out]].concat());
    assert!(output.status.success(), "{notes}");
    for (file, column) in [("scores.csv", 1), ("samples.csv", 0)] {
        let mut csv = csv::Reader::from_path(format!("{out}/{file}")).unwrap();
        let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        let named = records.iter().filter(|record| &record[column] == name);
        assert_eq!(named.count(), if column == 1 { 1 } else { 30 }, "{file}");
    }
    // Two sets of one name are told before anything is computed.
    let (output, _, error) = score(&[&base[..], &["--ood", base[5]]].concat());
    assert!(
        !output.status.success() && error.contains("two sets are named"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_closed_or_full_output_loses_no_file() {
    use std::process::Stdio;
    let folder = Folder(TempDir::new().unwrap());
    let base = labelled(&folder, |i| i % 3, "far");
    let run = |out: &str, stdout: Stdio| {
        let output = Command::new(env!("CARGO_BIN_EXE_collapse"))
            .arg("score")
            .args(&base)
            .args(["--detector", "knn", "--out", out])
            .stdout(stdout)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!error.contains("panicked"), "{error}");
        for file in ["scores.json", "scores.csv", "samples.csv"] {
            assert!(
                std::path::Path::new(out).join(file).exists(),
                "{file}: {error}"
            );
        }
        (output.status.code(), error)
    };
    let full = std::fs::File::options().write(true).open("/dev/full");
    let (code, error) = run(&folder.path("full"), full.unwrap().into());
    assert_eq!(code, Some(1));
    assert!(
        error.contains("standard output") && error.contains("No space left"),
        "{error}"
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, error) = run(&folder.path("closed"), writer.into());
    assert_eq!(code, Some(0), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_leaves_no_part_of_it() {
    let folder = Folder(TempDir::new().unwrap());
    let base = labelled(&folder, |i| i % 3, "far");
    let base: Vec<&str> = base.iter().map(String::as_str).collect();
    let (out, kept) = (folder.path("out"), folder.path("out/kept.bin"));
    // Folders stand where files should be.
    std::fs::create_dir_all(format!("{out}/samples.csv/full")).unwrap();
    let (output, _, error) = score(&[&base[..], &["--detector", "knn", "--out", &out]].concat());
    assert!(
        !output.status.success() && error.contains("samples.csv"),
        "{error}"
    );
    std::fs::create_dir(&kept).unwrap();
    let (output, _, error) = score(&[&base[..], &["--detector", "knn", "--save", &kept]].concat());
    assert!(
        !output.status.success() && error.contains("kept.bin"),
        "{error}"
    );
    let left: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn absurd_arguments_are_usage_errors() {
    for (option, value) in [
        ("--level", "0"),
        ("--level", "95"),
        ("--level", "nan"),
        ("--bootstrap", "0"),
        ("--bootstrap", "1000000000000"),
    ] {
        let (output, _, error) =
            score(&["--train", "a", "--test", "b", "--ood", "c=d", option, value]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}: {error}");
    }
}

/// A file of NumPy.
fn npy_bytes(header: &str, values: impl Iterator<Item = u8>) -> Vec<u8> {
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values);
    bytes
}

fn npy(path: &std::path::Path, rows: &Array2<f64>) {
    let shape = rows.dim();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape:?}, }}");
    let values = rows.iter().flat_map(|x| (*x as f32).to_le_bytes());
    std::fs::write(path, npy_bytes(&header, values)).unwrap();
}

#[test]
fn detectors_of_logits_leave_features_in_the_file() {
    let folder = Folder(TempDir::new().unwrap());
    let (weight, bias) = head();
    let write = |name: &str, n: usize, shift: f64, damaged: bool| {
        let path = folder.0.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let features = rows(n, n, shift);
        npy(
            &path.join("logits.npy"),
            &(features.dot(&weight.t()) + &bias),
        );
        let header = format!("{{'descr': '<i4', 'fortran_order': False, 'shape': ({n},), }}");
        let labels = labels(n)
            .into_iter()
            .flat_map(|label| (label as i32).to_le_bytes());
        std::fs::write(path.join("labels.npy"), npy_bytes(&header, labels)).unwrap();
        let shown = if damaged {
            features * f64::NAN
        } else {
            features
        };
        npy(&path.join("features.npy"), &shown);
        path.display().to_string()
    };
    let sets = |prefix: &str, damaged: bool| {
        [("train", 30, 0.0), ("test", 12, 0.0), ("far", 9, -3.0)]
            .map(|(name, n, shift)| write(&format!("{prefix}-{name}"), n, shift, damaged))
    };
    let call = |[train, test, far]: &[String; 3], detectors: &[&str]| {
        let far = format!("far={far}");
        let mut arguments = vec!["--all", "--train", train, "--test", test, "--ood", &far];
        arguments.extend(detectors.iter().flat_map(|name| ["--detector", *name]));
        score(&arguments)
    };
    let (sound, damaged) = (sets("sound", false), sets("damaged", true));
    let logits = [
        "max_softmax",
        "energy",
        "gmm_logits",
        "kl_matching",
        "openmax",
    ];

    let (output, out, error) = call(&damaged, &logits);
    assert!(output.status.success(), "{error}");
    let (_, whole, _) = call(&sound, &["max_softmax", "energy", "knn"]);
    let line = |text: &str, name: &str| -> Vec<String> {
        let is_row = |line: &&str| line.trim_start().starts_with('|') && line.contains(name);
        let lines = text.lines().filter(is_row);
        lines
            .map(|line| line.split_whitespace().collect())
            .collect()
    };
    for name in ["max_softmax", "energy"] {
        assert!(!line(&out, name).is_empty(), "{out}");
        assert_eq!(line(&out, name), line(&whole, name));
    }

    let (output, _, error) = call(&damaged, &["max_softmax", "knn"]);
    assert!(
        !output.status.success() && error.contains("features"),
        "{error}"
    );

    // Where a set has no logits they follow from its features and the head, which are read then.
    npy(
        &folder.0.path().join("sound-train/head_weight.npy"),
        &weight,
    );
    std::fs::remove_file(folder.0.path().join("sound-far/logits.npy")).unwrap();
    let (output, _, error) = call(&sound, &["max_softmax"]);
    assert!(output.status.success(), "{error}");
}
