//! `cargo xtask bench` as a user runs it, on networks small enough for a test.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("bench")
        .args(arguments)
        .output()
        .unwrap()
}

fn figures(arguments: &[&str]) -> Value {
    let output = bench(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const SMALL: [&str; 10] = [
    "step",
    "--width",
    "4",
    "--batch",
    "4",
    "--input-size",
    "8",
    "--steps",
    "3",
    "--json",
];

#[test]
fn a_step_is_timed_in_either_precision() {
    for precision in ["f32", "bf16"] {
        let found = figures(&[&SMALL[..], &["--precision", precision]].concat());
        assert_eq!(found["precision"], precision);
        let number = |key: &str| found[key].as_f64().unwrap();
        assert!(number("min_s") > 0.0 && number("min_s") <= number("median_s"));
        assert!(number("median_s") <= number("max_s"));
        assert!(number("gflops") > 0.0 && number("peak_gflops") > number("gflops"));
        assert!(number("peak_rss_bytes") > 1e6);
        assert!(found["kernel_path"].is_string());
    }
}

#[test]
fn a_steady_state_takes_no_memory() {
    // More tensors than the pool keeps without a reason.
    let found = figures(&[
        "step",
        "--width=16",
        "--batch=64",
        "--steps=3",
        "--warm-up=3",
        "--json",
    ]);
    assert!(found["peak_rss_bytes"].as_f64().unwrap() > 100e6);
    assert_eq!(found["bytes_allocated_per_step"], 0.0);
}

#[test]
fn a_step_is_compared_in_turn() {
    let against = |extra: &[&str]| figures(&[&SMALL[..], extra].concat());
    let candle = against(&["--against", "candle"]);
    assert_eq!(candle["against"], "stock candle");
    let without = against(&["--spectral-norm", "3", "--against", "no-spectral-norm"]);
    let ratio = without["times_faster"].as_f64().unwrap();
    let (ours, theirs) = (
        without["median_s"].as_f64().unwrap(),
        without["against_median_s"].as_f64().unwrap(),
    );
    assert!((ratio - theirs / ours).abs() < 1e-12);

    let refused = bench(&[&SMALL[..], &["--against", "no-spectral-norm"]].concat());
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(error.contains("needs --spectral-norm"), "{error}");
}

#[test]
fn growth_is_measured_once_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("scaling.json");
    let arguments = |widths: &'static str| {
        vec![
            "scale".to_owned(),
            "--nets=resnet18".to_owned(),
            format!("--widths={widths}"),
            "--batches=2,4".to_owned(),
            "--batch=4".to_owned(),
            "--threads=1,2".to_owned(),
            "--steps=1".to_owned(),
            format!("--out={}", out.display()),
        ]
    };
    let run = |widths| {
        let arguments = arguments(widths);
        bench(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let first = run("2,4");
    assert!(first.status.success());
    let text = std::fs::read_to_string(&out).unwrap();
    let scaling: Value = serde_json::from_str(&text).unwrap();
    let points = scaling["points"].as_array().unwrap();
    // Widths 2 and 4 at batch 4, batch 2 at width 4: three pairs of threads, none twice.
    assert_eq!(points.len(), 6);
    assert!(points.iter().all(|p| p["median_s"].as_f64().unwrap() > 0.0));

    // A cut file goes on where it stopped, with the points it has.
    let mut cut = scaling.clone();
    cut["points"].as_array_mut().unwrap().truncate(2);
    cut["points"][0]["median_s"] = 1234.0.into();
    std::fs::write(&out, cut.to_string()).unwrap();
    let again = run("2,4");
    let notes = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success(), "{notes}");
    assert!(
        !notes.contains("1/6") && notes.contains("3/6") && notes.contains("6/6"),
        "{notes}"
    );
    let table = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(table.contains("1234000"), "{table}");

    // Another question does not mix with it.
    let other = run("4");
    let error = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success());
    assert!(
        error.contains("scaling.json") && error.contains("--out"),
        "{error}"
    );
}

#[test]
fn the_guard_tells_what_fell_below_its_floor() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (floors, out, summary) = (path("floors.toml"), path("out"), path("summary.md"));
    let guard = |what: &[&str]| {
        let files = ["--floors", &floors, "--out", &out, "--summary", &summary];
        let output = bench(&[what, &["--only", "auroc/"], &files].concat());
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap(), told)
    };

    let (code, told) = guard(&["--check", "--short"]);
    assert_eq!(code, 78, "{told}");
    assert!(
        told.contains("no floors") && told.contains("--bless"),
        "{told}"
    );

    let (code, told) = guard(&["--bless", "--short", "--processes", "2"]);
    assert_eq!(code, 0, "{told}");
    // As if the work had been five times as fast when its floor was set.
    let text = std::fs::read_to_string(&floors).unwrap();
    let raised = text.lines().map(|line| {
        let value = |key: &str| line.strip_prefix(key)?.parse::<f64>().ok();
        match (value("ratio = "), value("floor = ")) {
            (Some(ratio), _) => format!("ratio = {}", 5.0 * ratio),
            (_, Some(floor)) => format!("floor = {}", 5.0 * floor),
            _ => line.to_owned(),
        }
    });
    std::fs::write(&floors, raised.collect::<Vec<_>>().join("\n")).unwrap();

    let (code, told) = guard(&["--check", "--short"]);
    // Inconclusive where this machine is too busy, but never quiet.
    assert!(matches!(code, 1 | 75), "{code}: {told}");
    assert!(told.contains("auroc/100000-scores/seed1"), "{told}");

    let check: Value =
        serde_json::from_str(&std::fs::read_to_string(path("out/check.json")).unwrap()).unwrap();
    let verdict = check["cases"][0]["verdict"].as_str().unwrap();
    assert_eq!(verdict == "slower", code == 1);
    let history = std::fs::read_to_string(path("out/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 2);
    let page = std::fs::read_to_string(path("out/history.html")).unwrap();
    assert!(page.contains("<svg") && page.contains(verdict));
    let summary = std::fs::read_to_string(&summary).unwrap();
    assert!(
        summary.contains("| auroc/100000-scores/seed1 |"),
        "{summary}"
    );
}
