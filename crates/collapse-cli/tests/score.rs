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

/// The same with `input` on standard input.
fn score_stream(arguments: &[&str], input: &[u8]) -> (Output, String, String) {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_collapse"))
        .arg("score")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(!error.contains("panicked"), "{error}");
    (output, out, error)
}

/// A head whose logits follow the classes of [`rows`].
fn head() -> (Array2<f64>, Array1<f64>) {
    let weight = Array2::eye(D)
        .slice(ndarray::s![..N_CLASSES, ..])
        .to_owned();
    (weight, Array1::zeros(N_CLASSES))
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
        FeatureSet::new(Array2::<f64>::ones((4, D + 1))),
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
    let (output, table, error) = score(&[&base[..], &names, &["--all"]].concat());
    assert!(output.status.success(), "{error}");
    expect_test::expect![[r#"
        Detectors by mean AUROC over the OoD sets
        | Score        | mean AUROC % | mean FPR95 % | worst AUROC % | on   |
        |--------------|--------------|--------------|---------------|------|
        | gmm_features |       100.00 |         0.00 |        100.00 | near |
        | knn          |         9.17 |       100.00 |          0.00 | far  |
        Test accuracy 100.00 %, ECE 3.97 %, NLL 0.0406. NC1 0.0139, NC3 0.7311, NC4 0.0000 on the training split.

        Detection by every score
        | Score        | OoD set | AUROC % |      interval | AUPR in % | AUPR out % | FPR95 (ID positive) % | FPR95 (OoD positive) % | Error % |
        |--------------|---------|---------|---------------|-----------|------------|-----------------------|------------------------|---------|
        | gmm_features | near    |  100.00 | 100.00–100.00 |    100.00 |     100.00 |                  0.00 |                   0.00 |    0.00 |
        | gmm_features | far     |  100.00 | 100.00–100.00 |    100.00 |     100.00 |                  0.00 |                   0.00 |    0.00 |
        | knn          | near    |   18.33 |    7.67–29.00 |     35.18 |      35.07 |                100.00 |                 100.00 |   50.00 |
        | knn          | far     |    0.00 |     0.00–0.00 |     31.51 |      31.51 |                100.00 |                 100.00 |   50.00 |
        The AUPR of a detector that guesses is the share of its positive class. NNGuide's bank holds every training feature (its authors take 1 %). The temperature is that of least NLL on the validation split (DDU's other choice is least ECE).

    "#]].assert_eq(&table);
}

/// Detectors with a head, kept with 199 held-out samples.
fn kept_with_head(folder: &Folder) -> String {
    let (weight, bias) = head();
    let set = |n, seed| FeatureSet::new(rows(n, seed, 0.0)).with_labels(labels(n));
    let train = set(300, 1).with_head(weight, bias);
    let train = folder.write("train.safetensors", train);
    let validation = folder.write("validation.safetensors", set(199, 2));
    let kept = folder.path("detectors.bin");
    let (output, _, error) = score(&[
        "--train",
        &train,
        "--validation",
        &validation,
        "--test",
        &validation,
        "--save",
        &kept,
    ]);
    assert!(output.status.success(), "{error}");
    kept
}

#[test]
fn a_stream_is_decided_row_by_row() {
    let folder = Folder(TempDir::new().unwrap());
    let kept = kept_with_head(&folder);
    let fresh = rows(3000, 5, 0.0);
    let file = folder.write("fresh.safetensors", FeatureSet::new(fresh.clone()));
    // Energy reads logits, which follow from the head that the detectors keep.
    let base = [
        "--load",
        &kept,
        "--detector",
        "gmm_features",
        "--detector",
        "energy",
    ];
    let (output, whole, notes) = score(&[&base[..], &["--input", &file]].concat());
    assert!(output.status.success(), "{notes}");
    assert_eq!(whole.lines().count(), 1 + 2 * 3000);
    assert!(whole.contains("\n2999,energy,"), "{notes}");
    let stream = [&base[..], &["--input", "-"]].concat();
    let single = |value: &f64| *value as f32;
    let bytes: Vec<u8> = fresh
        .iter()
        .flat_map(|value| single(value).to_le_bytes())
        .collect();
    let header = |n: usize| {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {D}), }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes
    };
    let (first, rest) = bytes.split_at(4 * D * 1000);
    let arrays = [&header(1000)[..], first, &header(2000), rest].concat();
    let lines = |open: &str, close: &str| -> Vec<u8> {
        let line = |row: ndarray::ArrayView1<f64>| {
            let numbers: Vec<String> = row
                .iter()
                .map(|value| f64::from(single(value)).to_string())
                .collect();
            format!("{open}{}{close}\n", numbers.join(","))
        };
        fresh
            .rows()
            .into_iter()
            .map(line)
            .collect::<String>()
            .into_bytes()
    };
    for input in [
        arrays.clone(),
        lines("[", "]"),
        lines("{\"features\": [", "]}"),
        lines("", ""),
    ] {
        let (output, text, told) = score_stream(&stream, &input);
        assert!(output.status.success(), "{told}");
        assert!(text == whole, "{told}");
        assert_eq!(told, notes);
    }
    let (output, _, error) = score_stream(&stream, b"");
    assert!(
        !output.status.success() && error.contains("standard input holds no samples"),
        "{error}"
    );
    let (output, text, error) = score_stream(&stream, b"[1,2,3,4,5]\n[1,2,3,4]\n");
    assert!(
        !output.status.success() && error.contains("standard input: row 1"),
        "{error}"
    );
    // What came before is decided, or not yet where both waited together.
    assert!([0, 3].contains(&text.lines().count()), "{text}");
    let out = folder.path("out");
    let (output, _, error) =
        score_stream(&[&stream[..], &["--out", &out, "--json"]].concat(), &arrays);
    assert!(output.status.success(), "{error}");
    let summary = json(&format!("{out}/summary.json"));
    let rejected = summary[0]["rejected"].as_u64().unwrap();
    let csv = whole
        .lines()
        .filter(|line| line.contains("gmm_features") && line.ends_with("false"));
    assert_eq!(
        (summary[0]["n"].as_u64(), rejected as usize),
        (Some(3000), csv.count())
    );
    assert!(
        summary[0]["share_rejected_interval"]["low"]
            .as_f64()
            .unwrap()
            < rejected as f64 / 3000.0
    );
}

#[cfg(unix)]
#[test]
fn a_stream_whose_reader_has_seen_enough_ends_quietly() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let folder = Folder(TempDir::new().unwrap());
    let kept = kept_with_head(&folder);
    let mut child = Command::new(env!("CARGO_BIN_EXE_collapse"))
        .args(["score", "--load", &kept, "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Each row's decision comes before the next row is written.
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    for sample in 0..3 {
        stdin.write_all(b"[4, 0, 0, 4, 0]\n").unwrap();
        stdin.flush().unwrap();
        if sample == 0 {
            assert!(out.next().unwrap().unwrap().starts_with("sample,score"));
        }
        assert!(
            out.next()
                .unwrap()
                .unwrap()
                .starts_with(&format!("{sample},gmm_features,"))
        );
    }
    drop(out);
    // Its input stays open: the closed output alone ends it.
    let ended = (0..2000).any(|_| {
        let _ = stdin.write_all(b"[4, 0, 0, 4, 0]\n");
        std::thread::sleep(std::time::Duration::from_millis(5));
        child.try_wait().unwrap().is_some()
    });
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended && output.status.success(), "{:?}", output.status);
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_predicted_class_can_have_its_own_threshold() {
    let folder = Folder(TempDir::new().unwrap());
    let kept = kept_with_head(&folder);
    let fresh = folder.write("fresh.safetensors", FeatureSet::new(rows(600, 5, 0.0)));
    let base = ["--load", &kept, "--input", &fresh];
    let (output, text, notes) = score(&[&base[..], &["--per-class", "--accept", "0.9"]].concat());
    assert!(output.status.success(), "{notes}");
    assert!(
        notes.contains("within each of 3 predicted classes"),
        "{notes}"
    );
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let (mut thresholds, mut accepted) = (vec![String::new(); 3], [0; 3]);
    for record in csv.records().map(Result::unwrap) {
        let class: usize = record[5].parse().unwrap();
        assert_eq!(class, record[0].parse::<usize>().unwrap() % 3);
        let known = &mut thresholds[class];
        assert!(known.is_empty() || *known == record[3]);
        *known = record[3].to_owned();
        accepted[class] += usize::from(&record[4] == "true");
    }
    assert!(thresholds[0] != thresholds[1] && thresholds[1] != thresholds[2]);
    assert!(
        accepted.iter().all(|n| (160..200).contains(n)),
        "{accepted:?}"
    );
    // Without logits no class is predicted.
    let train = FeatureSet::new(rows(60, 1, 0.0)).with_labels(labels(60));
    let train = folder.write("bare.safetensors", train);
    let kept = folder.path("bare.bin");
    let (output, _, error) = score(&[
        "--train",
        &train,
        "--validation",
        &train,
        "--test",
        &train,
        "--save",
        &kept,
    ]);
    assert!(output.status.success(), "{error}");
    let (output, _, error) = score(&["--load", &kept, "--input", &fresh, "--per-class"]);
    assert!(
        !output.status.success() && error.contains("predicted classes"),
        "{error}"
    );
}

#[test]
fn near_and_far_sets_have_means_and_the_page_has_all() {
    let folder = Folder(TempDir::new().unwrap());
    let (weight, bias) = head();
    let set = |n, seed, shift| {
        let set = FeatureSet::new(rows(n, seed, shift)).with_labels(labels(n));
        set.with_head(weight.clone(), bias.clone())
    };
    let train = folder.write("train.safetensors", set(60, 1, 0.0));
    let validation = folder.write("validation.safetensors", set(60, 5, 0.3));
    let test = folder.write("test.safetensors", set(30, 2, 0.0));
    let near = format!(
        "near <set>={}",
        folder.write("near.safetensors", set(30, 3, 0.7))
    );
    let far = format!("far={}", folder.write("far.safetensors", set(30, 4, 9.0)));
    // Another network: the same samples, other logits.
    std::fs::create_dir(folder.path("second")).unwrap();
    for (name, seed, shift) in [("test", 2, 0.0), ("near", 3, 0.7), ("far", 4, 9.0)] {
        let logits = rows(30, seed, shift)
            .slice(ndarray::s![.., 1..4])
            .to_owned();
        let member = FeatureSet::new(rows(30, seed, shift)).with_logits(logits);
        folder.write(&format!("second/{name}.safetensors"), member);
    }
    let (out, second) = (folder.path("out"), folder.path("second"));
    let (output, table, notes) = score(&[
        "--train",
        &train,
        "--validation",
        &validation,
        "--test",
        &test,
        "--near",
        &near,
        "--far",
        &far,
        "--ensemble",
        &second,
        "--out",
        &out,
    ]);
    assert!(output.status.success(), "{notes}");
    for part in [
        "near %",
        "far %",
        "ensemble_mutual_information",
        "openmax",
        "report.html",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(
        !table.contains("AUPR"),
        "the long table is on demand: {table}"
    );
    let scores = json(&format!("{out}/scores.json"));
    let standings = scores["standings"].as_array().unwrap();
    let means: Vec<f64> = standings
        .iter()
        .map(|one| one["auroc"].as_f64().unwrap())
        .collect();
    assert!(means.is_sorted_by(|a, b| a >= b), "{means:?}");
    for one in standings {
        let number = |key: &str| one[key].as_f64().unwrap();
        assert!((number("auroc") - 0.5 * (number("near") + number("far"))).abs() < 1e-12);
        assert_eq!(number("worst_auroc"), number("near").min(number("far")));
    }
    let page = std::fs::read_to_string(format!("{out}/report.html")).unwrap();
    for part in [
        "figure-roc",
        "figure-precision-recall",
        "figure-histograms",
        "figure-reliability",
        "figure-risk-coverage",
        "table-neural-collapse",
        "table-scores",
        "near &lt;set&gt;",
        "prefers-color-scheme",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("near <set>") && !page.contains("http"),
        "self-contained and escaped"
    );

    // A member of other samples is told.
    folder.write(
        "second/far.safetensors",
        FeatureSet::new(rows(29, 4, 9.0)).with_logits(Array2::ones((29, 3))),
    );
    let (output, _, error) = score(&[
        "--train",
        &train,
        "--test",
        &test,
        "--far",
        &far,
        "--ensemble",
        &second,
    ]);
    assert!(
        !output.status.success() && error.contains("[29, 3]"),
        "{error}"
    );
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
