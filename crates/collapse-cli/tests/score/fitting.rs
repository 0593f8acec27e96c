//! What is fitted to features without logits, without labels, with too few samples.

use collapse_features::FeatureSet;
use ndarray::{Array1, Array2};
use tempfile::TempDir;

use super::{D, Folder, N_CLASSES, head, json, labelled, labels, rows, score};

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
    let (weight, bias) = head();
    let set = |seed, label: fn(usize) -> usize| {
        FeatureSet::new(rows(30, seed, 0.0))
            .with_labels((0..30).map(label).collect())
            .with_head(weight.clone(), bias.clone())
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
