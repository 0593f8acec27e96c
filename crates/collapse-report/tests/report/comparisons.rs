//! Precisions, peers, ensembles and times of steps.

use collapse_report::{
    PeerRun, References, SCALING_SCHEMA, Scaling, StepTime, page_peers, page_table, peer_table,
    tables,
};
use collapse_results::{Cell, Ensemble, OodResult, ScoreId, Table};

use super::common::synthetic;

#[test]
fn precisions_are_compared_seed_by_seed() {
    let mut results = synthetic(3);
    assert!(page_table(&results, "precision").is_none());
    let single = results
        .groups
        .iter()
        .find(|g| g.id == "r18-l2")
        .unwrap()
        .clone();
    let mut mixed = single.clone();
    mixed.id = "r18-l2-bf16".into();
    mixed.precision = Some("bf16".into());
    mixed.ablation = true;
    // In another order, and without the last seed: pairs are found by seed.
    let mut runs: Vec<_> = results.runs_of("r18-l2").take(2).cloned().collect();
    runs.reverse();
    for run in &mut runs {
        run.group = mixed.id.clone();
        for evaluation in &mut run.evaluations {
            evaluation.accuracy -= 0.01 * run.seed as f64;
        }
    }
    results.groups.push(mixed);
    results.runs.extend(runs);
    let all = tables(&results, &References::default());
    let table = all.iter().find(|t| t.id == "precision").unwrap();
    let row = table
        .row_keys
        .iter()
        .position(|key| key == "r18-l2:accuracy")
        .unwrap();
    let number = |key: &str| {
        let column = table.columns.iter().position(|c| c.key == key).unwrap();
        match &table.rows[row][column] {
            Cell::Number { value, .. } => *value,
            other => panic!("{key} is {other:?}"),
        }
    };
    assert_eq!(number("seeds"), 2.0);
    // Minus one and minus two points.
    assert!((number("difference") + 1.5).abs() < 1e-9);
    // t(0.975, 1 degree) = 12.7062, standard error 0.5.
    assert!((number("low") + 1.5 + 12.7062 * 0.5).abs() < 1e-3);
    assert!(
        page_table(&results, "precision")
            .unwrap()
            .contains("| accuracy |")
    );
}

#[test]
fn step_times_become_a_table_and_a_figure() {
    let mut scaling = Scaling {
        schema: SCALING_SCHEMA.to_owned(),
        machine: "a machine, 2 cores".to_owned(),
        kernel_path: "portable".to_owned(),
        precision: "f32".to_owned(),
        steps: 3,
        command: "cargo xtask bench scale".to_owned(),
        points: Vec::new(),
    };
    assert!(scaling.figure().is_none());
    for (net, width, batch) in [
        ("resnet18", 8, 128),
        ("resnet18", 64, 128),
        ("resnet18", 64, 512),
        ("resnet50", 64, 128),
    ] {
        for threads in [1, 2] {
            let seconds = (width * batch) as f64 / 4096.0 / threads as f64;
            scaling.points.push(StepTime {
                net: net.to_owned(),
                width,
                batch,
                threads,
                median_s: seconds,
                min_s: seconds,
                max_s: seconds,
                gflops: 100.0,
                share_of_peak: 0.7,
            });
        }
    }
    assert!(scaling.contains("resnet50", 64, 128, 2));
    assert!(!scaling.contains("resnet50", 64, 128, 4));
    let text = scaling.markdown();
    // 64 · 128 / 4096 = 2 s for 128 images on one thread.
    assert!(
        text.contains("| resnet18 | 64 | 128 | 1 | 2000 | 64 | 100 | 70 |"),
        "{text}"
    );
    assert!(text.contains("cargo xtask bench scale"), "{text}");
    let figure = scaling.figure().unwrap();
    for words in [
        "Width",
        "Batch",
        "Threads",
        "resnet50, 2 threads",
        "seconds a step",
        "2.000 s",
    ] {
        assert!(figure.contains(words), "{words} missing");
    }
    assert!(!figure.contains("NaN"));
}

/// The number in a cell of a row and a column by their keys.
fn number_at(table: &Table, row: &str, column: &str) -> f64 {
    let at = |keys: &[String], key: &str| keys.iter().position(|k| k == key);
    let columns: Vec<String> = table.columns.iter().map(|c| c.key.clone()).collect();
    let row = at(&table.row_keys, row).unwrap_or_else(|| panic!("{row} in {:?}", table.row_keys));
    match &table.rows[row][at(&columns, column).unwrap()] {
        Cell::Number { value, .. } | Cell::Spread { mean: value, .. } => *value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ensembles_stand_below_the_single_networks_they_are_made_of() {
    let mut results = synthetic(4);
    let detection = |auroc| collapse_results::Detection {
        auroc,
        ..*results.runs[0].evaluations[0]
            .detection(&ScoreId::GMM_FEATURES, &"mnist".into())
            .unwrap()
    };
    let ensembles = [(vec![1, 2], 0.90), (vec![3, 4], 0.94)].map(|(seeds, auroc)| Ensemble {
        group: "r18-l2".into(),
        epoch: 5,
        seeds,
        accuracy: 0.9,
        ood: [
            (ScoreId::ENSEMBLE_ENTROPY, auroc),
            (ScoreId::ENSEMBLE_MUTUAL_INFORMATION, auroc - 0.1),
        ]
        .map(|(score, auroc)| OodResult {
            set: "mnist".into(),
            score,
            detection: detection(auroc),
        })
        .into(),
    });
    results.ensembles = ensembles.into();
    let tables = tables(&results, &References::default());
    let table = tables.iter().find(|table| table.id == "ensembles").unwrap();
    assert_eq!(
        table.row_keys,
        [
            "r18-l2:single",
            "r18-l2:ensemble_entropy",
            "r18-l2:ensemble_mutual_information"
        ]
    );
    let mean = |row: &str, column| number_at(table, &format!("r18-l2:{row}"), column);
    assert!((mean("ensemble_entropy", "auroc:mnist") - 92.0).abs() < 1e-9);
    assert!((mean("ensemble_mutual_information", "auroc:mnist") - 82.0).abs() < 1e-9);
    assert_eq!(mean("ensemble_entropy", "networks"), 2.0);
    assert_eq!(mean("ensemble_entropy", "number"), 2.0);
    assert_eq!(mean("single", "number"), 4.0);
}

#[test]
fn a_peer_with_the_same_numbers_differs_by_nothing_and_a_shifted_one_by_its_shift() {
    let results = synthetic(12);
    let peer = |shift: f64| -> Vec<PeerRun> {
        let groups = ["r18-l2", "r18-base-short"].into_iter();
        groups
            .flat_map(|group| results.runs_of(group))
            .map(|run| {
                let last = run.last_evaluation().unwrap();
                let auroc = |set: &str| {
                    let found = last.detection(&ScoreId::GMM_FEATURES, &set.into()).unwrap();
                    (set.to_owned(), found.auroc)
                };
                PeerRun {
                    precision: "f32".into(),
                    l2: run.group == "r18-l2",
                    seed: run.seed,
                    loss: vec![2.0, 1.0, 2.0 / 3.0, 0.5, 0.4],
                    train_accuracy: vec![0.8; 5],
                    test_accuracy: last.accuracy + shift,
                    auroc: ["mnist", "noise"].map(auroc).into(),
                }
            })
            .collect()
    };
    let same = peer_table(&results, "PyTorch", &peer(0.0)).unwrap();
    let accuracy = "f32 · both groups:test accuracy (%)";
    assert_eq!(number_at(&same, accuracy, "difference"), 0.0);
    assert_eq!(number_at(&same, accuracy, "p"), 1.0);
    assert_eq!(number_at(&same, accuracy, "ks"), 1.0);
    assert!(number_at(&same, accuracy, "equivalence") < 0.05);
    assert_eq!(
        number_at(&same, "f32 · L2:AUROC mnist (%)", "difference"),
        0.0
    );
    // One percent of accuracy is far outside what twelve seeds of this experiment vary by.
    let shifted = peer_table(&results, "PyTorch", &peer(0.01)).unwrap();
    assert!((number_at(&shifted, accuracy, "difference") - 1.0).abs() < 1e-9);
    assert!(number_at(&shifted, accuracy, "holm") < 0.05);
    assert!(number_at(&shifted, accuracy, "equivalence") > 0.5);
    assert!(
        page_peers(&results, "PyTorch", &peer(0.0))
            .unwrap()
            .contains("Welch")
    );
    assert!(page_peers(&results, "PyTorch", &[]).is_none());
}
