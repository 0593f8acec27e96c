//! From a manifest to tables, scores and decisions.

use std::path::Path;
use std::process::Stdio;

use collapse_evaluate::{FeatureSplits, Split};
use collapse_features::FeatureSet;
use collapse_ood::metrics::Threshold;
use collapse_ood::{Intervals, Settings};
use collapse_random::Stream;
use collapse_results::{Results, Role, ScoreId};
use expect_test::expect;
use tempfile::TempDir;

use super::common::wait_for;
use super::{reproduce, succeed, tiny, xtask};

fn features(out: &Path, name: &str) -> String {
    let folder = out.join("runs/tiny/l2/seed-01/features");
    folder
        .join(format!("{name}.safetensors"))
        .display()
        .to_string()
}

/// On the features of real images: of 1,000 draws of held-out samples, the mean share of the other in-distribution samples that
/// their threshold accepts is 95 % at least and, without ties, at most 1 / (n + 1) more; so it is within each predicted class.
fn thresholds_keep_their_promise(out: &Path) {
    const DRAWS: usize = 1000;
    const ACCEPT: f64 = 0.95;
    let set = |name: &str| collapse_features::read(features(out, name)).unwrap();
    let unseen = FeatureSet::stacked(vec![set("validation"), set("test")]).unwrap();
    let splits = FeatureSplits {
        train: Some(Split::new("train", set("train"))),
        validation: None,
        test: Split::new("test", unseen),
        ood: Vec::new(),
    };
    let splits = splits.complete(None).unwrap();
    let names = ["gmm_features", "mahalanobis", "energy"];
    let fitted = splits.fit_named(&Settings::default(), names).unwrap();
    let found = splits.evaluate(fitted, &Intervals::default()).unwrap().test;
    let logits = splits.test().features.logits.as_ref().unwrap();
    let classes: Vec<usize> = logits
        .rows()
        .into_iter()
        .map(collapse_numeric::argmax)
        .collect();
    let n_classes = logits.ncols();
    for (score, values) in &found.scores {
        let mut order: Vec<usize> = (0..values.len()).collect();
        let n = order.len() / 2;
        let mut shares = Vec::with_capacity(DRAWS);
        let mut of_class = vec![Vec::new(); n_classes];
        for draw in 0..DRAWS {
            Stream::new(1, "held-out samples", draw as u64).shuffle(&mut order);
            let (held_out, fresh) = order.split_at(n);
            let own: Vec<f64> = held_out.iter().map(|&row| values[row]).collect();
            let threshold = Threshold::conformal(&own, ACCEPT, 0.95).unwrap();
            let accepted = fresh.iter().filter(|&&row| threshold.accepts(values[row]));
            shares.push(accepted.count() as f64 / fresh.len() as f64);
            let own_classes: Vec<usize> = held_out.iter().map(|&row| classes[row]).collect();
            let by_class =
                Threshold::conformal_by_class(&own, &own_classes, n_classes, ACCEPT, 0.95).unwrap();
            for (class, threshold) in by_class.iter().enumerate() {
                let members: Vec<usize> = fresh
                    .iter()
                    .copied()
                    .filter(|&row| classes[row] == class)
                    .collect();
                let accepted = members
                    .iter()
                    .filter(|&&row| threshold.accepts(values[row]));
                if !members.is_empty() {
                    of_class[class].push(accepted.count() as f64 / members.len() as f64);
                }
            }
        }
        let mean = |shares: &[f64]| {
            let n = shares.len() as f64;
            let mean = shares.iter().sum::<f64>() / n;
            let square = shares
                .iter()
                .map(|share| (share - mean).powi(2))
                .sum::<f64>();
            (mean, (square / (n * n)).sqrt())
        };
        let (share, error) = mean(&shares);
        let promised = ACCEPT - 4.0 * error..=ACCEPT + 1.0 / (n as f64 + 1.0) + 4.0 * error;
        assert!(
            promised.contains(&share),
            "{score}: {share} ± {error} of {n}"
        );
        for (class, shares) in of_class
            .iter()
            .enumerate()
            .filter(|(_, shares)| !shares.is_empty())
        {
            let (share, error) = mean(shares);
            assert!(
                share >= ACCEPT - 4.0 * error,
                "{score}, class {class}: {share} ± {error}"
            );
        }
    }
}

#[test]
fn the_whole_way() {
    let folder = TempDir::new().unwrap();
    let whole = folder.path().join("whole");
    let first = reproduce(&whole);
    assert_eq!(first.runs.len(), 2);
    let base = first.runs.iter().find(|run| run.group == "base").unwrap();
    let evaluation = base.last_evaluation().unwrap();
    assert!(
        evaluation.accuracy > 0.3,
        "accuracy {}",
        evaluation.accuracy
    );
    assert_eq!(
        first
            .data
            .iter()
            .filter(|set| set.role == Role::Ood)
            .count(),
        2
    );
    assert!(first.tables.iter().any(|table| table.id == "main"));
    assert_eq!(first.claims.len(), 5);
    for file in [
        "report.html",
        "tables/main.md",
        "tables/main.csv",
        "tables/main.tex",
    ] {
        assert!(whole.join(file).metadata().unwrap().len() > 100, "{file}");
    }

    thresholds_keep_their_promise(&whole);

    // A second call keeps the finished runs and gives the same numbers.
    let began = std::fs::metadata(features(&whole, "train"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(reproduce(&whole).without_times(), first.without_times());
    status_knows_the_manifest(&whole, folder.path());
    assert_eq!(
        std::fs::metadata(features(&whole, "train"))
            .unwrap()
            .modified()
            .unwrap(),
        began
    );

    // Killed in the middle and started again: the same numbers once more.
    let killed = folder.path().join("killed");
    let mut child = xtask(&[
        "reproduce",
        "--scale",
        &tiny(),
        "--out",
        killed.to_str().unwrap(),
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .env("RAYON_NUM_THREADS", "1")
    .spawn()
    .unwrap();
    wait_for(&killed.join("runs/tiny/l2/seed-01/result.json"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("results.json").exists());
    assert_eq!(reproduce(&killed).without_times(), first.without_times());

    score_from_files(&whole, &first, folder.path());
}

/// Runs of another manifest of the same name are not called done, as `report` leaves them out.
fn status_knows_the_manifest(whole: &Path, folder: &Path) {
    let text = std::fs::read_to_string(tiny()).unwrap();
    let other = folder.join("other.toml");
    let faster = text.replace("learning_rate = 0.1", "learning_rate = 0.2");
    std::fs::write(&other, faster).unwrap();
    let status = |scale: &str| {
        let out = whole.to_str().unwrap();
        succeed(&["status", "--scale", scale, "--out", out])
    };
    assert!(status(&tiny()).contains("2 of 2 done"));
    expect![[r#"
        l2                   seed 1   other: it was made with other settings than the manifest's
        base                 seed 1   other: it was made with other settings than the manifest's
        0 of 2 done, 0 running, 0 stopped on the way, 0 stale, 0 failed, 0 pending, 0 damaged, 2 made with other settings
    "#]]
    .assert_eq(&status(other.to_str().unwrap()));
}

#[test]
fn status_tells_once_where_nobody_watches() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let status = ["status", "--scale", &tiny(), "--out", out.to_str().unwrap()];
    let expected = expect![[r#"
        l2                   seed 1   pending
        base                 seed 1   pending
        0 of 2 done, 0 running, 0 stopped on the way, 0 stale, 0 failed, 2 pending, 0 damaged
    "#]];
    expected.assert_eq(&succeed(&status));
    expected.assert_eq(&succeed(&[&status[..], &["--once"]].concat()));
    assert!(!out.exists(), "it only looks");
}

/// `score` on the run's feature files finds what the run found.
fn score_from_files(whole: &Path, results: &Results, folder: &Path) {
    let near = format!("fashion-heldout={}", features(whole, "ood-fashion-heldout"));
    let far = format!("mnist={}", features(whole, "ood-mnist"));
    let (train, test) = (features(whole, "train"), features(whole, "test"));
    let out = folder.join("scores");
    let kept = folder.join("detectors.json");
    let base = [
        "score", "--train", &train, "--test", &test, "--ood", &near, "--ood", &far,
    ];
    let with = |more: &[&str]| -> Vec<String> {
        base.iter()
            .chain(more)
            .map(|argument| (*argument).to_owned())
            .collect()
    };
    let call =
        |arguments: Vec<String>| succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let table = call(with(&[
        "--out",
        out.to_str().unwrap(),
        "--save",
        kept.to_str().unwrap(),
    ]));
    assert!(
        table.contains("gmm_features") && table.contains("fashion-heldout"),
        "{table}"
    );
    let scores: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("scores.json")).unwrap()).unwrap();
    let found = scores["ood"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["score"] == "gmm_features" && row["set"] == "mnist")
        .unwrap()["auroc"]
        .as_f64()
        .unwrap();
    let run = results.runs.iter().find(|run| run.group == "l2").unwrap();
    let expected = run
        .last_evaluation()
        .unwrap()
        .detection(&ScoreId::GMM_FEATURES, &"mnist".into())
        .unwrap()
        .auroc;
    assert!(
        (found - expected).abs() < 1e-3,
        "{found} from files, {expected} in the run"
    );
    let csv = std::fs::read_to_string(out.join("scores.csv")).unwrap();
    assert!(csv.starts_with("score,dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC\n"));

    // Kept detectors say the same.
    let again = call(with(&["--load", kept.to_str().unwrap()]));
    let rows = |text: &str| {
        text.lines()
            .filter(|line| line.contains("mnist"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&again), rows(&table));
}
