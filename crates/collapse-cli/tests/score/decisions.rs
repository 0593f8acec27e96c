//! New samples are accepted or rejected, from files and from streams.

use std::process::{Command, Output};

use collapse_features::FeatureSet;
use ndarray::{Array1, Array2};
use tempfile::TempDir;

use super::{D, Folder, head, json, labels, rows, score};

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
    // What came before is decided.
    assert_eq!(text.lines().count(), 3, "{text}");
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
fn rows_before_a_wrong_one_are_decided_and_kept() {
    let folder = Folder(TempDir::new().unwrap());
    let kept = kept_with_head(&folder);
    let path = folder.path("rows.jsonl");
    let good = "[4, 0, 0, 4, 0]\n".repeat(2500);
    std::fs::write(&path, format!("{good}[4, 0, oops\n{good}")).unwrap();
    let base = ["--load", &kept, "--input", &path];
    let (output, text, error) = score(&base);
    assert!(
        !output.status.success() && error.contains("row 2500"),
        "{error}"
    );
    assert_eq!(text.lines().count(), 1 + 2500);
    let out = folder.path("out");
    let (output, _, error) = score(&[&base[..], &["--out", &out]].concat());
    assert!(!output.status.success());
    assert!(
        error.contains("decisions.csv holds the decisions of the 2500 samples before")
            && error.contains("row 2500"),
        "{error}"
    );
    let decisions = || std::fs::read_to_string(format!("{out}/decisions.csv")).unwrap();
    assert_eq!(decisions(), text);
    assert!(!std::path::Path::new(&format!("{out}/summary.json")).exists());
    // Where nothing was decided, the old file stays.
    std::fs::write(&path, "[1, 2, 3, 4, 5, 6]\n").unwrap();
    let (output, _, error) = score(&[&base[..], &["--out", &out]].concat());
    assert!(
        !output.status.success() && !error.contains("decisions.csv"),
        "{error}"
    );
    assert_eq!(decisions(), text);
}

#[test]
fn labels_of_what_is_decided_do_not_matter() {
    let folder = Folder(TempDir::new().unwrap());
    let kept = kept_with_head(&folder);
    let set = |n| FeatureSet::new(rows(n, 5, 0.0));
    let plain = folder.write("plain.safetensors", set(20));
    let other = folder.write("other.safetensors", set(20).with_labels(vec![99; 20]));
    let base = [
        "--load",
        &kept,
        "--detector",
        "energy",
        "--per-class",
        "--input",
    ];
    let (output, expected, error) = score(&[&base[..], &[&plain]].concat());
    assert!(output.status.success(), "{error}");
    let (output, text, error) = score(&[&base[..], &[&other]].concat());
    assert!(output.status.success(), "{error}");
    assert_eq!(text, expected);
    let lines = r#"{"features": [4, 0, 0, 4, 0], "label": "cat"}
{"features": [4, 0, 0, 4, 0]}
"#;
    let (output, text, error) = score_stream(&[&base[..], &["-"]].concat(), lines.as_bytes());
    assert!(output.status.success(), "{error}");
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn another_number_of_classes_is_another_network() {
    let folder = Folder(TempDir::new().unwrap());
    let kept = kept_with_head(&folder);
    for detector in ["nci", "fdbd", "energy"] {
        for logits in ["[1, 2]", "[1, 2, 3, 99]"] {
            let line = format!("{{\"features\": [4, 0, 0, 4, 0], \"logits\": {logits}}}\n");
            let (output, _, error) = score_stream(
                &["--load", &kept, "--detector", detector, "--input", "-"],
                line.as_bytes(),
            );
            let told = error.contains("the number of classes is 3 and");
            assert!(!output.status.success() && told, "{error}");
        }
    }
    let set = FeatureSet::new(rows(6, 5, 0.0)).with_logits(Array2::zeros((6, 4)));
    let wide = folder.write("wide.safetensors", set);
    let ood = format!("x={wide}");
    let (output, _, error) = score(&["--load", &kept, "--test", &wide, "--ood", &ood]);
    assert!(
        !output.status.success()
            && error.contains("detectors.bin")
            && error.contains("classes is 3 and 4"),
        "{error}"
    );
}

#[test]
fn logits_follow_from_the_head_that_any_detectors_were_fitted_with() {
    let folder = Folder(TempDir::new().unwrap());
    let (weight, bias) = head();
    let set = |seed| FeatureSet::new(rows(60, seed, 0.0)).with_labels(labels(60));
    let train = folder.write("train.safetensors", set(1).with_head(weight, bias));
    let other = folder.write("other.safetensors", set(2));
    let kept = folder.path("detectors.json");
    let files = ["--train", &train, "--validation", &other, "--test", &other];
    let named = ["--detector", "knn", "--detector", "energy"];
    let (output, text, error) = score(&[&files[..], &named, &["--save", &kept]].concat());
    assert!(output.status.success(), "{error}");
    assert!(
        text.contains("Detectors: knn, energy") && text.contains("Saved: "),
        "{text}"
    );
    // The same name twice counts once.
    let twice = ["--detector", "energy", "--detector", "energy"];
    let (output, text, error) =
        score(&[&["--load", &kept, "--input", &other][..], &twice].concat());
    assert!(output.status.success(), "{error}");
    assert_eq!(text.lines().count(), 1 + 60);
    let ood = format!("far={other}");
    let (output, text, error) = score(&["--load", &kept, "--test", &other, "--ood", &ood]);
    assert!(
        output.status.success() && text.contains("energy"),
        "{error}"
    );
}

#[test]
fn infinitely_far_held_out_samples_can_be_kept_as_text() {
    let folder = Folder(TempDir::new().unwrap());
    // A feature that never varies in training and does later: a density's jitter puts it beyond all numbers.
    let set = |n: usize, seed: usize, last: f64| {
        let mut features = rows(n, seed, 0.0);
        let varied = |i: usize| 1.0 + last * (i % 7) as f64;
        let column = Array1::from_shape_fn(n, varied);
        features.column_mut(D - 1).assign(&column);
        FeatureSet::new(features).with_labels(labels(n))
    };
    let train = folder.write("train.safetensors", set(60, 1, 0.0));
    let other = folder.write("other.safetensors", set(60, 2, 1e3));
    let base = ["--train", &train, "--validation", &other, "--test", &other];
    let named = ["--detector", "gmm_features", "--detector", "mahalanobis"];
    let mut decisions = Vec::new();
    for name in ["detectors.json", "detectors.bin"] {
        let kept = folder.path(name);
        let ood = format!("far={other}");
        let save = ["--save", &kept, "--ood", &ood];
        let (output, _, notes) = score(&[&base[..], &named, &save].concat());
        assert!(output.status.success(), "{notes}");
        assert!(
            notes.contains("mahalanobis: the covariance of all classes is singular"),
            "{notes}"
        );
        let input = ["--load", &kept, "--input", &other];
        let (output, text, error) = score(&[&input[..], &named].concat());
        assert!(output.status.success(), "{error}");
        decisions.push(text);
    }
    assert!(decisions[0].contains("-inf"), "{}", decisions[0]);
    assert_eq!(decisions[0], decisions[1]);
}

#[test]
fn samples_without_labels_hold_out_a_threshold_that_is_told() {
    let folder = Folder(TempDir::new().unwrap());
    let (weight, bias) = head();
    let set = |n, seed| FeatureSet::new(rows(n, seed, 0.0)).with_head(weight.clone(), bias.clone());
    let train = set(300, 1).with_labels(labels(300));
    let train = folder.write("train.safetensors", train);
    let test = folder.write("test.safetensors", set(60, 3).with_labels(labels(60)));
    let unlabelled = folder.write("unlabelled.safetensors", set(199, 2));
    let kept = folder.path("detectors.bin");
    let files = ["--train", &train, "--test", &test, "--save", &kept];
    let held_out = ["--validation", &unlabelled, "--detector", "knn"];
    let (output, text, notes) = score(&[&files[..], &held_out].concat());
    assert!(output.status.success(), "{notes}");
    assert!(
        notes.contains("unlabelled.safetensors: it has no labels, so no temperature is chosen"),
        "{notes}"
    );
    let told = text.lines().find(|line| line.starts_with("Threshold: knn"));
    let told = told.unwrap_or_else(|| panic!("{text}"));
    assert!(
        told.contains("at --accept 0.95") && told.contains("199 held-out"),
        "{told}"
    );
    let (output, text, error) = score(&["--load", &kept, "--input", &test]);
    assert!(output.status.success(), "{error}");
    let first = text.lines().nth(1).unwrap();
    let threshold: f64 = first.split(',').nth(3).unwrap().parse().unwrap();
    assert!(told.contains(&format!("{threshold:.6}")), "{told}: {first}");
}
