//! `score` on what people bring: features without logits, without labels, with too few samples.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::process::{Command, Output};

use collapse_features::{FeatureSet, Precision};
use ndarray::{Array1, Array2};
use tempfile::TempDir;

const N_CLASSES: usize = 3;
const D: usize = 5;

struct Folder(TempDir);

impl Folder {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, set: FeatureSet) -> String {
        let path = self.path(name);
        set.write(&path, Precision::F32).unwrap();
        path
    }
}

/// Separate classes; a shift moves all of them.
fn rows(n: usize, seed: usize, shift: f64) -> Array2<f64> {
    Array2::from_shape_fn((n, D), |(i, j)| {
        let on = if i % N_CLASSES == j % N_CLASSES {
            4.0
        } else {
            0.0
        };
        on + shift + ((i * 37 + j * 101 + seed * 53) as f64).sin()
    })
}

fn labels(n: usize) -> Vec<usize> {
    (0..n).map(|i| i % N_CLASSES).collect()
}

fn score(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_collapse"))
        .arg("score")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(!error.contains("panicked"), "{error}");
    (output, out, error)
}

fn json(path: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn features_alone_score_what_they_can() {
    let folder = Folder(TempDir::new().unwrap());
    let train = FeatureSet::new(rows(60, 1, 0.0)).with_labels(labels(60));
    let train = folder.write("train.safetensors", train);
    let test = folder.write("test.safetensors", FeatureSet::new(rows(30, 2, 0.0)));
    let far = folder.write("far.safetensors", FeatureSet::new(rows(30, 3, 9.0)));
    let (out, kept) = (folder.path("out"), folder.path("detectors.bin"));
    let ood = format!("far={far}");
    let (output, table, notes) = score(&[
        "--train", &train, "--test", &test, "--ood", &ood, "--out", &out, "--save", &kept,
    ]);
    assert!(output.status.success(), "{notes}");
    assert!(
        table.contains("gmm_features") && table.contains("knn"),
        "{table}"
    );
    assert!(!table.contains("energy"), "{table}");
    assert!(
        notes.contains("energy") && notes.contains("logits or the head"),
        "{notes}"
    );
    assert!(notes.contains("has no labels"), "{notes}");

    let numbers = json(&format!("{out}/scores.json"));
    let found = numbers["ood"].as_array().unwrap();
    let gmm = found
        .iter()
        .find(|row| row["score"] == "gmm_features")
        .unwrap();
    assert_eq!(gmm["auroc"], 1.0);
    assert!(gmm["auroc_interval"]["low"].is_number() && numbers["accuracy"].is_null());
    assert!(numbers["geometry"]["nc1"].is_number() && numbers["geometry"]["nc3"].is_null());
    let csv = std::fs::read_to_string(format!("{out}/scores.csv")).unwrap();
    assert!(csv.starts_with("score,dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC\n"));
    assert!(csv.lines().skip(1).all(|line| line.ends_with(',')), "{csv}");
    let samples = std::fs::read_to_string(format!("{out}/samples.csv")).unwrap();
    assert!(samples.contains("\ntest,knn,0,") && samples.contains("\nfar,knn,29,"));

    // Kept detectors need no training split and say the same.
    let (output, again, notes) = score(&["--load", &kept, "--test", &test, "--ood", &ood]);
    assert!(output.status.success(), "{notes}");
    let rows = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| line.contains("| far"));
        rows.map(str::to_owned).collect()
    };
    assert_eq!(rows(&again), rows(&table));
    let wide = folder.write(
        "wide.safetensors",
        FeatureSet::new(Array2::ones((4, D + 1))),
    );
    let (output, _, error) = score(&[
        "--load",
        &kept,
        "--test",
        &wide,
        "--ood",
        &format!("x={wide}"),
    ]);
    assert!(
        !output.status.success() && error.contains("dimension is 5 and 6"),
        "{error}"
    );
    // A byte that says something else is told, in either form.
    let text = folder.path("detectors.json");
    let (output, _, notes) = score(&[
        "--train", &train, "--test", &test, "--ood", &ood, "--save", &text,
    ]);
    assert!(output.status.success(), "{notes}");
    for path in [&kept, &text] {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
        let (output, _, error) = score(&["--load", path, "--test", &test, "--ood", &ood]);
        assert!(
            !output.status.success() && error.contains("damaged"),
            "{error}"
        );
    }
    std::fs::write(&kept, b"no detectors").unwrap();
    let (output, _, error) = score(&["--load", &kept, "--test", &test, "--ood", &ood]);
    assert!(
        !output.status.success() && error.contains("--save"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_fitted_does_not_take_the_rest_along() {
    let folder = Folder(TempDir::new().unwrap());
    let weight = Array2::from_shape_fn((N_CLASSES, D), |(c, j)| {
        f64::from(u8::from(c == j % N_CLASSES))
    });
    let whole = |n: usize, seed, shift, labels: Vec<usize>| {
        FeatureSet::new(rows(n, seed, shift))
            .with_labels(labels)
            .with_head(weight.clone(), Array1::zeros(N_CLASSES))
    };
    // One sample of class 2.
    let lonely = (0..40).map(|i| if i == 2 { 2 } else { i % 2 }).collect();
    let train = folder.write("train.safetensors", whole(40, 1, 0.0, lonely));
    let test = folder.write("test.safetensors", whole(30, 2, 0.0, labels(30)));
    let far = folder.write("far.safetensors", whole(30, 3, 9.0, labels(30)));
    let (out, ood) = (folder.path("out"), format!("far={far}"));
    let base = ["--train", &train, "--test", &test, "--ood", &ood];
    let (output, table, error) = score(&[&base[..], &["--out", &out]].concat());
    assert!(!output.status.success());
    assert!(
        table.contains("energy") && table.contains("mahalanobis"),
        "{table}"
    );
    assert!(
        error.contains("gmm_features") && error.contains("class 2 has 1 of the 2 samples"),
        "{error}"
    );
    let skipped = json(&format!("{out}/scores.json"))["skipped"].clone();
    assert!(
        skipped
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "gmm_features")
    );

    // Another covariance, or another choice of detectors, is complete.
    let tied = [
        "--covariance",
        "tied",
        "--detector",
        "gmm_features",
        "--detector",
        "energy",
    ];
    let (output, table, error) = score(&[&base[..], &tied].concat());
    assert!(
        output.status.success() && table.contains("gmm_features"),
        "{error}"
    );
    let (output, _, error) = score(&[&base[..], &["--detector", "odin"]].concat());
    assert!(
        !output.status.success() && error.contains("choose among max_softmax"),
        "{error}"
    );
}

#[test]
fn few_samples_are_noted_and_low_rank_does_not_mind() {
    let folder = Folder(TempDir::new().unwrap());
    let train = FeatureSet::new(rows(12, 1, 0.0)).with_labels(labels(12));
    let train = folder.write("train.safetensors", train);
    let test = folder.write("test.safetensors", FeatureSet::new(rows(30, 2, 0.0)));
    let ood = format!(
        "far={}",
        folder.write("far.safetensors", FeatureSet::new(rows(30, 3, 9.0)))
    );
    let base = [
        "--train",
        &train,
        "--test",
        &test,
        "--ood",
        &ood,
        "--detector",
        "gmm_features",
    ];
    let (output, _, notes) = score(&base);
    assert!(output.status.success(), "{notes}");
    assert!(
        notes.contains("class 0 has 4 samples for 5 dimensions"),
        "{notes}"
    );
    for form in ["low-rank", "ledoit-wolf", "oas", "diagonal", "tied"] {
        let (output, _, notes) =
            score(&[&base[..], &["--covariance", form, "--bootstrap", "20"]].concat());
        assert!(
            output.status.success() && !notes.contains("jitter"),
            "{form}: {notes}"
        );
    }
}

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

/// Arguments for a training, a test and an OoD set of the given labels, features alone.
fn labelled(folder: &Folder, label: impl Fn(usize) -> usize, ood: &str) -> Vec<String> {
    let train = FeatureSet::new(rows(60, 1, 0.0)).with_labels((0..60).map(label).collect());
    let train = folder.write("train.safetensors", train);
    let test = folder.write("test.safetensors", FeatureSet::new(rows(30, 2, 0.0)));
    let far = folder.write("far.safetensors", FeatureSet::new(rows(30, 3, 9.0)));
    let ood = format!("{ood}={far}");
    ["--train", &train, "--test", &test, "--ood", &ood]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn labels_that_do_not_count_from_0_are_the_classes_present() {
    let folder = Folder(TempDir::new().unwrap());
    let names = ["--detector", "gmm_features", "--detector", "gmm_em"];
    let table = |label: fn(usize) -> usize| {
        let base = labelled(&folder, label, "far");
        let base: Vec<&str> = base.iter().map(String::as_str).chain(names).collect();
        let (output, table, notes) = score(&base);
        assert!(output.status.success(), "{notes}");
        (table, notes)
    };
    let (from_0, notes) = table(|i| i % 3);
    assert!(!notes.contains("count from 0"), "{notes}");
    let (from_1, notes) = table(|i| i % 3 + 1);
    assert_eq!(from_1, from_0);
    assert!(
        notes.contains("its 3 classes are those present, 1 to 3"),
        "{notes}"
    );
    let (gaps, notes) = table(|i| [0, 7, 1_000_000][i % 3]);
    assert_eq!(gaps, from_0);
    assert!(notes.contains("0 to 1000000"), "{notes}");
}

#[test]
fn labels_that_are_not_classes_of_the_head_are_said_plainly() {
    let folder = Folder(TempDir::new().unwrap());
    let weight = Array2::eye(D)
        .slice(ndarray::s![..N_CLASSES, ..])
        .to_owned();
    let set = |seed, label: fn(usize) -> usize| {
        FeatureSet::new(rows(30, seed, 0.0))
            .with_labels((0..30).map(label).collect())
            .with_head(weight.clone(), Array1::zeros(N_CLASSES))
    };
    let run = |label: fn(usize) -> usize| {
        let train = folder.write("train.safetensors", set(1, label));
        let test = folder.write("test.safetensors", set(2, |i| i % 3));
        let ood = format!("far={test}");
        score(&["--train", &train, "--test", &test, "--ood", &ood])
    };
    let (output, _, error) = run(|i| i % 3 + 1);
    assert!(!output.status.success());
    for part in ["train.safetensors", "row 2", "label 3", "subtract 1"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Class 0 of the head has no samples: the densities are those of the classes present.
    let (output, table, error) = run(|i| i % 2 + 1);
    assert!(
        output.status.success() && table.contains("gmm_features"),
        "{error}"
    );
    assert!(!error.contains("::"), "{error}");
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

#[test]
fn new_samples_are_accepted_or_rejected() {
    let folder = Folder(TempDir::new().unwrap());
    let train = FeatureSet::new(rows(300, 1, 0.0)).with_labels(labels(300));
    let train = folder.write("train.safetensors", train);
    let held_out = FeatureSet::new(rows(199, 2, 0.0)).with_labels(labels(199));
    let validation = folder.write("validation.safetensors", held_out);
    let fresh = folder.write("fresh.safetensors", FeatureSet::new(rows(200, 5, 0.0)));
    let far = folder.write("far.safetensors", FeatureSet::new(rows(50, 3, 9.0)));
    let kept = folder.path("detectors.bin");
    let base = ["--train", &train, "--test", &fresh, "--save", &kept];
    // Without an OoD set the detectors are fitted and kept all the same.
    let (output, _, error) = score(&[&base[..], &["--validation", &validation]].concat());
    assert!(output.status.success(), "{error}");

    let decide = |input: &str, more: &[&str]| {
        let (output, text, notes) = score(&[&["--load", &kept, "--input", input], more].concat());
        assert!(output.status.success(), "{notes}");
        (text, notes)
    };
    let accepted = |text: &str| {
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        let records: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        for record in &records {
            let (confidence, threshold): (f64, f64) =
                (record[2].parse().unwrap(), record[3].parse().unwrap());
            assert_eq!(&record[4] == "true", confidence >= threshold);
        }
        let accepted = records.iter().filter(|record| &record[4] == "true");
        (accepted.count(), records.len())
    };
    let (text, notes) = decide(&fresh, &[]);
    assert!(
        text.starts_with("sample,score,confidence,threshold,accept\n0,gmm_features,"),
        "{text}"
    );
    let (n, of) = accepted(&text);
    assert!(of == 200 && (180..200).contains(&n), "{n} of {of}");
    assert!(notes.contains("199 held-out samples"), "{notes}");
    let (text, notes) = decide(&far, &[]);
    assert_eq!(accepted(&text), (0, 50));
    assert!(notes.contains("50 of 50 rejected"), "{notes}");
    // A smaller share accepts less; several detectors decide one after the other.
    let (text, _) = decide(&fresh, &["--accept", "0.5"]);
    assert!(accepted(&text).0 < 140, "{text}");
    let (text, _) = decide(
        &fresh,
        &["--detector", "knn", "--detector", "gmm_em", "--json"],
    );
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(text.lines().count(), 400);
    assert_eq!(
        (&last["sample"], &last["score"]),
        (&199.into(), &"gmm_em".into())
    );
    let out = folder.path("out");
    let (text, _) = decide(&far, &["--out", &out]);
    assert!(text.is_empty());
    let file = std::fs::read_to_string(format!("{out}/decisions.csv")).unwrap();
    assert_eq!(accepted(&file), (0, 50));

    // Without held-out samples there is no threshold.
    let (output, _, error) = score(&base);
    assert!(output.status.success(), "{error}");
    let (output, _, error) = score(&["--load", &kept, "--input", &far]);
    assert!(
        !output.status.success() && error.contains("--validation"),
        "{error}"
    );
}

#[test]
fn the_table_is_read_at_a_glance() {
    let folder = Folder(TempDir::new().unwrap());
    let weight = Array2::eye(D)
        .slice(ndarray::s![..N_CLASSES, ..])
        .to_owned();
    let set = |n, seed, shift| {
        FeatureSet::new(rows(n, seed, shift))
            .with_labels(labels(n))
            .with_head(weight.clone(), Array1::zeros(N_CLASSES))
    };
    let train = folder.write("train.safetensors", set(60, 1, 0.0));
    let test = folder.write("test.safetensors", set(30, 2, 0.0));
    let near = format!("near={}", folder.write("near.safetensors", set(30, 3, 0.7)));
    let far = format!("far={}", folder.write("far.safetensors", set(30, 4, 9.0)));
    let base = [
        "--train", &train, "--test", &test, "--ood", &near, "--ood", &far,
    ];
    let names = ["--detector", "gmm_features", "--detector", "knn"];
    let (output, table, error) = score(&[&base[..], &names].concat());
    assert!(output.status.success(), "{error}");
    expect_test::expect![[r#"
        Detection by every score
        | Score        | OoD set | AUROC % |      interval | AUPR in % | AUPR out % | FPR95 (ID positive) % | FPR95 (OoD positive) % | Error % |
        |--------------|---------|---------|---------------|-----------|------------|-----------------------|------------------------|---------|
        | gmm_features | near    |  100.00 | 100.00–100.00 |    100.00 |     100.00 |                  0.00 |                   0.00 |    0.00 |
        | gmm_features | far     |  100.00 | 100.00–100.00 |    100.00 |     100.00 |                  0.00 |                   0.00 |    0.00 |
        | knn          | near    |   18.33 |    7.67–29.00 |     35.18 |      35.07 |                100.00 |                 100.00 |   50.00 |
        | knn          | far     |    0.00 |     0.00–0.00 |     31.51 |      31.51 |                100.00 |                 100.00 |   50.00 |
        Test accuracy 100.00 %, ECE 3.97 %, NLL 0.0406. NC1 0.0139, NC3 0.7311, NC4 0.0000 on the training split. The AUPR of a detector that guesses is the share of its positive class. NNGuide's bank holds every training feature (its authors take 1 %). The temperature is that of least NLL on the validation split (DDU's other choice is least ECE).

    "#]].assert_eq(&table);
}
