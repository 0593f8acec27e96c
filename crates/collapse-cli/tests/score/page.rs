//! The table on the terminal and the page.

use collapse_features::FeatureSet;
use ndarray::Array2;
use tempfile::TempDir;

use super::{Folder, head, json, labels, rows, score};

#[test]
fn the_table_is_read_at_a_glance() {
    let folder = Folder(TempDir::new().unwrap());
    let (weight, bias) = head();
    let set = |n, seed, shift| {
        FeatureSet::new(rows(n, seed, shift))
            .with_labels(labels(n))
            .with_head(weight.clone(), bias.clone())
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

#[test]
fn without_ood_sets_the_page_says_what_there_is() {
    let folder = Folder(TempDir::new().unwrap());
    // Logits, but no head.
    let set = |n, seed| {
        let features = rows(n, seed, 0.0);
        let logits = features.slice(ndarray::s![.., 0..3]).to_owned();
        FeatureSet::new(features)
            .with_labels(labels(n))
            .with_logits(logits)
    };
    let train = folder.write("train.safetensors", set(60, 1));
    let validation = folder.write("validation.safetensors", set(60, 5));
    let test = folder.write("test.safetensors", set(30, 2));
    let (out, kept) = (folder.path("out"), folder.path("detectors.bin"));
    let files = [
        "--train",
        &train,
        "--test",
        &test,
        "--validation",
        &validation,
    ];
    let names = ["--detector", "gmm_features", "--detector", "max_softmax"];
    let kept = ["--save", &kept, "--out", &out, "--all"];
    let (output, table, error) = score(&[&files[..], &names, &kept].concat());
    assert!(output.status.success(), "{error}");
    let (shown, _) = table.split_once("\nSaved: ").unwrap();
    expect_test::expect![[r#"
        Detectors by the test split alone
        | Score        | threshold | held-out samples | test accepted % | AURC % | AUGRC % |
        |--------------|-----------|------------------|-----------------|--------|---------|
        | gmm_features |    39.575 |               60 |           93.33 |   0.00 |    0.00 |
        | max_softmax  |    2.7286 |               60 |           86.67 |   0.00 |    0.00 |
        Test accuracy 100.00 %, ECE 3.97 %, NLL 0.0406. NC1 0.0139 on the training split. Area under the risk–coverage curve 0.000 % (AURC), 0.000 % generalised (AUGRC), by max_softmax. A threshold accepts at least 95 % of in-distribution samples in expectation, by the validation split. AURC and AUGRC: areas under the risk–coverage curves of the test split.
    "#]].assert_eq(shown);
    let page = std::fs::read_to_string(format!("{out}/report.html")).unwrap();
    for part in [
        "2 detectors and no out-of-distribution set",
        "Detectors by the test split alone",
        "table-calibration",
        "table-neural-collapse",
        "CDNV",
        "which the sets lack",
        "figure-reliability",
        "figure-risk-coverage",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["0 out-of-distribution", "table-scores", "NC3", "AUROC"] {
        assert!(!page.contains(part), "{part}");
    }
    // The numbers of the table are those of the file.
    let scores = json(&format!("{out}/scores.json"));
    let cdnv = scores["geometry"]["cdnv"].as_f64().unwrap();
    assert!(page.contains(&format!("{cdnv:.4}")), "{cdnv}");

    // Neither labels nor thresholds: the detectors remain.
    let bare = folder.write("bare.safetensors", FeatureSet::new(rows(30, 2, 0.0)));
    let files = ["--train", &train, "--test", &bare, "--detector", "knn"];
    let kept = folder.path("other.bin");
    let (output, table, error) = score(&[&files[..], &["--save", &kept, "--all"]].concat());
    assert!(output.status.success(), "{error}");
    assert!(table.contains("| knn   |"), "{table}");
    assert!(!table.contains("threshold"), "{table}");

    // What cannot be used is on the page, with what it lacks.
    let kept = folder.path("third.bin");
    let files = ["--train", &train, "--test", &bare, "--save", &kept];
    let (output, _, error) = score(&[&files[..], &["--out", &out]].concat());
    assert!(output.status.success(), "{error}");
    let page = std::fs::read_to_string(format!("{out}/report.html")).unwrap();
    for (name, lack) in [("nci", "last linear layer"), ("max_softmax", "logits")] {
        let says =
            |line: &str| line.contains("without ") && line.contains(name) && line.contains(lack);
        assert!(page.lines().any(says), "{name}");
    }
}
