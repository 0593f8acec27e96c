//! The report as a whole, on synthetic results.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::path::Path;

use collapse_report::{
    PeerRun, References, SCALING_SCHEMA, Scaling, StepTime, TerminalStyle, check_tables, claims,
    complete, figures, page_figure, page_peers, page_table, peer_table, render, tables,
    with_tables, write_completed, write_report,
};
use collapse_results::{
    Cell, DataSet, Defined, Ensemble, OodResult, Results, Role, ScoreId, Table, Verdict,
};
use common::synthetic;

fn references() -> References {
    References::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reference"))
        .expect("the reference files are well formed")
}

/// Synthetic results of networks trained on `name`.
fn trained_on(name: &str) -> Results {
    let mut results = synthetic(3);
    results.data.push(DataSet {
        name: name.into(),
        role: Role::Train,
        ..results.data[0].clone()
    });
    results
}

#[test]
fn every_table_of_the_paper_is_there_and_rectangular() {
    let tables = tables(&trained_on("cifar10"), &references());
    let ids: Vec<&str> = tables.iter().map(|t| t.id.as_str()).collect();
    let asked: Vec<String> = tables.iter().map(|table| table.id.clone()).collect();
    check_tables(&asked, ["fashion-held-out", "mnist", "noise"]).expect("each can be asked for");
    for id in [
        "main",
        "gain",
        "epochs-needed",
        "worst-seed",
        "softmax",
        "entropy",
        "energy",
        "logit-gaussians",
        "over-training",
        "nc-end",
        "nc-epochs",
        "history",
        "ablation",
        "training",
        "scores-mnist",
        "detection",
        "calibration",
        "neighbours",
    ] {
        assert!(ids.contains(&id), "{id} missing among {ids:?}");
    }
    for table in &tables {
        assert_eq!(table.rows.len(), table.row_keys.len(), "{}", table.id);
        let mut keys = table.row_keys.clone();
        keys.sort();
        keys.dedup();
        assert_eq!(
            keys.len(),
            table.rows.len(),
            "row keys of {} repeat",
            table.id
        );
        for row in &table.rows {
            assert_eq!(row.len(), table.columns.len(), "{}", table.id);
        }
    }
}

#[test]
fn main_table_has_mean_and_extremes_over_seeds() {
    let results = synthetic(3);
    let main = tables(&results, &References::default()).remove(0);
    assert_eq!(
        main.row_keys,
        [
            "r18-l2",
            "r18-base-short",
            "r18-base@short",
            "r18-base",
            "r18-l2-long"
        ]
    );
    let column = main
        .columns
        .iter()
        .position(|c| c.key == "auroc:mnist")
        .unwrap();
    let expected: Vec<f64> = results
        .runs_of("r18-l2")
        .map(|r| {
            100.0
                * r.evaluations[0]
                    .detection(&ScoreId::GMM_FEATURES, &"mnist".into())
                    .unwrap()
                    .auroc
        })
        .collect();
    let Cell::Spread {
        mean, min, max, n, ..
    } = main.rows[0][column]
    else {
        panic!("not a spread");
    };
    assert_eq!(n, 3);
    assert!((mean - expected.iter().sum::<f64>() / 3.0).abs() < 1e-12);
    assert_eq!(min, expected.iter().copied().fold(f64::INFINITY, f64::min));
    assert_eq!(
        max,
        expected.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    );
}

#[test]
fn values_typed_into_the_paper_file_gain_columns() {
    let folder = tempfile::tempdir().unwrap();
    let file = "kind = \"paper\"\nsource = \"a paper\"\nseeds = 15\nscale = \"SCALE\"\ndata = \"DATA\"\n[[value]]\ntable = \"main\"\n\
                row = \"r18-l2\"\ncolumn = \"auroc:mnist\"\nmean = 90.5\nstd = 0.5\n";
    let results = trained_on("some-set");
    let load = |scale: &str, data: &str| {
        let file = file.replace("SCALE", scale).replace("DATA", data);
        std::fs::write(folder.path().join("paper.toml"), file).unwrap();
        References::load(folder.path()).unwrap()
    };
    for (scale, data) in [("other", "some-set"), (&results.scale, "other")] {
        let main = tables(&results, &load(scale, data)).remove(0);
        let of_paper = |column: &&collapse_results::Column| column.key.ends_with(":paper");
        assert_eq!(
            main.columns.iter().find(of_paper),
            None,
            "{scale} on {data}"
        );
    }
    let references = load(&results.scale, "some-set");
    let main = tables(&results, &references).remove(0);
    let at = main
        .columns
        .iter()
        .position(|c| c.key == "auroc:mnist:paper")
        .unwrap();
    assert_eq!(main.columns[at + 1].key, "auroc:mnist:ours-paper");
    assert_eq!(
        main.rows[0][at],
        Cell::Text {
            text: "90.50 ± 0.50".into()
        }
    );
    let Cell::Spread { mean, .. } = main.rows[0][at - 1] else {
        panic!()
    };
    assert_eq!(
        main.rows[0][at + 1],
        Cell::Number {
            value: mean - 90.5,
            decimals: 2
        }
    );
    assert!(matches!(main.rows[1][at], Cell::Missing { .. }));
}

#[test]
fn a_wrong_reference_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bad.toml"),
        "kind = \"paper\"\nsource = 3",
    )
    .unwrap();
    let message = References::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("bad.toml"), "{message}");
}

#[test]
fn the_paper_file_is_empty_as_shipped() {
    assert!(references().paper.is_empty());
    assert_eq!(references().neighbours.len(), 9);
    let of_others = |results: &Results| {
        let tables = tables(results, &references());
        tables.iter().any(|table| table.id == "neighbours")
    };
    assert!(
        !of_others(&trained_on("fashion-mnist")),
        "they are of CIFAR-10"
    );
    assert!(of_others(&trained_on("cifar10")));
}

#[test]
fn claims_are_measured_with_evidence_and_missing_without_runs() {
    let found = claims(&synthetic(3));
    assert_eq!(
        found.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
        ["C1", "C2", "C3", "C4", "C5"]
    );
    assert!(
        found
            .iter()
            .all(|c| c.verdict != Verdict::NotMeasured && c.effect.is_some())
    );
    assert_eq!(
        (found[2].verdict, found[2].smallest_p),
        (Verdict::Undecided, Some(0.25)),
        "three seeds cannot settle a worst case"
    );
    assert_eq!(
        found[3].verdict,
        Verdict::Leaning,
        "NC of normalised features against NC of raw ones goes no further"
    );
    let empty = claims(&Results::new("quick"));
    assert!(
        empty
            .iter()
            .all(|c| c.verdict == Verdict::NotMeasured && c.effect.is_none())
    );
}

#[test]
fn a_reversed_effect_is_contradicted() {
    let mut results = synthetic(5);
    for group in &mut results.groups {
        group.l2 = !group.l2;
    }
    assert_eq!(claims(&results)[0].verdict, Verdict::Contradicted);
}

#[test]
fn a_single_seed_has_no_interval_and_stays_undecided() {
    let found = claims(&synthetic(1));
    assert!(found[0].interval.is_none());
    assert_eq!(found[0].verdict, Verdict::Undecided);
}

#[test]
fn renderers_escape_and_keep_numbers() {
    let results = synthetic(3);
    let mut table = tables(&results, &References::default()).remove(0);
    table.rows[0][0] = Cell::Text {
        text: "a_b & <c> | 5%".into(),
    };
    assert!(render::latex(&table).contains("a\\_b \\& $<$c$>$ | 5\\%"));
    assert!(render::html(&table).contains("a_b &amp; &lt;c&gt; | 5%"));
    assert!(render::markdown(&table).contains("a\\_b &amp; &lt;c> \\| 5%"));
    let csv = render::csv(&table).unwrap();
    let Cell::Spread { mean, .. } = table.rows[0][2] else {
        panic!()
    };
    assert!(csv.contains(&mean.to_string()), "unrounded mean in {csv}");
    assert!(csv.starts_with("row,group,epoch,accuracy.mean,accuracy.std"));
    let plain = render::terminal(
        &table,
        TerminalStyle {
            width: None,
            plain: true,
        },
    );
    assert!(plain.contains("Accuracy (%)") && !plain.contains('│'));
}

#[test]
fn the_report_is_whole_and_repeatable() {
    let folder = tempfile::tempdir().unwrap();
    let results = synthetic(3);
    let page = write_report(&results, &references(), folder.path()).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("C1") && html.contains("<svg") && !html.contains("http://"));
    // Its one script is in it; nothing is fetched from anywhere.
    assert_eq!(html.matches("<script").count(), 1);
    for fetched in ["src=", "@import", "https://", "fetch("] {
        assert!(!html.contains(fetched), "{fetched} in the page");
    }
    let json = std::fs::read_to_string(folder.path().join("results.json")).unwrap();
    let read = Results::from_json(&json).unwrap();
    assert_eq!(read, complete(&results, &references()));
    for table in &read.tables {
        for extension in ["md", "csv", "tex"] {
            assert!(
                folder
                    .path()
                    .join(format!("tables/{}.{extension}", table.id))
                    .exists()
            );
        }
    }
    for figure in figures(&results) {
        assert!(
            folder
                .path()
                .join(format!("figures/{}.svg", figure.id))
                .exists()
        );
    }
    write_report(&read, &references(), folder.path()).unwrap();
    assert_eq!(
        std::fs::read_to_string(&page).unwrap(),
        html,
        "a pure function of the runs"
    );
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(
        left, 4,
        "nothing but report.html, results.json, tables and figures"
    );
}

#[test]
fn an_unwritable_folder_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let error = write_report(&synthetic(1), &references(), &file).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("--out"), "{error}");
    assert!(cause.contains("taken"), "{cause}");
}

#[test]
fn results_without_runs_still_make_a_report() {
    let folder = tempfile::tempdir().unwrap();
    write_report(
        &Results::new("quick"),
        &References::default(),
        folder.path(),
    )
    .unwrap();
    assert!(page_table(&Results::new("quick"), "main").is_none());
    assert!(
        page_figure(&synthetic(2), "auroc-by-group")
            .unwrap()
            .standalone()
            .starts_with("<svg")
    );
}

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

/// Writes the synthetic report where `COLLAPSE_REPORT_PREVIEW` says, for looking at it.
#[test]
fn preview() {
    if let Ok(folder) = std::env::var("COLLAPSE_REPORT_PREVIEW") {
        write_report(&synthetic(3), &references(), Path::new(&folder)).unwrap();
    }
}

/// Every caption stands on the page that shows the table, signs are set alike everywhere.
#[test]
fn pages_keep_captions() {
    let results = synthetic(3);
    let page = page_table(&results, "main").unwrap();
    assert!(page.contains("Gaussians on the features") && page.contains("Scale quick"));
    let figure = page_figure(&results, "nc-epochs").unwrap();
    assert!(figure.caption.contains("logarithmic axes"));
}

/// A file with impossible figures is refused on reading, but a figure must not hang on one.
#[test]
fn extreme_figures_cost_no_time_and_no_memory() {
    let mut results = synthetic(2);
    for (run, nc1) in results.runs.iter_mut().zip([1e-307, 1e300, 0.0, 1e-40]) {
        for record in &mut run.history {
            record.geometry.as_mut().unwrap().nc1 = nc1;
        }
        for evaluation in &mut run.evaluations {
            let Defined::Value(geometry) = &mut evaluation.geometry else {
                panic!("synthetic runs have their geometry");
            };
            geometry.nc1 = nc1;
            for histogram in &mut evaluation.histograms {
                histogram.counts.fill(u64::MAX);
            }
        }
    }
    let began = std::time::Instant::now();
    for figure in figures(&results) {
        let size = figure.standalone().len();
        assert!(size < 1_000_000, "{} has {size} bytes", figure.id);
        assert!(!figure.standalone().contains("NaN"), "{}", figure.id);
    }
    let all = tables(&results, &References::default());
    assert!(
        all.iter()
            .all(|table| render::markdown(table).len() < 1_000_000)
    );
    assert!(began.elapsed().as_secs() < 5);
    assert!(results.check().is_err());
}

/// Names reach file names, CSV, Markdown and HTML.
#[test]
fn names_with_commas_quotes_and_newlines_stay_one_field() {
    let mut table = tables(&synthetic(3), &References::default()).remove(0);
    table.row_keys[0] = "a,\"b\"\nc".into();
    table.rows[0][0] = Cell::Text {
        text: "x,\"y\"\nz".into(),
    };
    let text = render::csv(&table).unwrap();
    assert!(
        text.contains("\"a,\"\"b\"\"\nc\",\"x,\"\"y\"\"\nz\","),
        "{text}"
    );
}

#[test]
fn chosen_tables_alone_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let only = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    let whole = complete(&synthetic(3), &references());
    let chosen = with_tables(whole.clone(), &only(&["nc-end", "main"])).unwrap();
    let ids: Vec<&str> = chosen
        .tables
        .iter()
        .map(|table| table.id.as_str())
        .collect();
    assert_eq!(ids, ["main", "nc-end"], "in the order of the report");
    write_completed(&chosen, folder.path()).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".csv"))
        .collect();
    files.sort();
    assert_eq!(files, ["main.csv", "nc-end.csv"]);
    assert_eq!(with_tables(whole.clone(), &[]).unwrap(), whole);
    let refused = with_tables(whole, &only(&["mian"]))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("mian") && refused.contains("main, "),
        "{refused}"
    );
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

/// Adds the same groups and runs as of another network, its AUROCs changed by `gain` with L2.
fn with_second_network(mut results: Results, gain: f64) -> Results {
    let (groups, runs) = (results.groups.clone(), results.runs.clone());
    let renamed = |id: &str| id.replace("r18", "r50");
    for mut group in groups {
        group.id = renamed(&group.id);
        group.net = "resnet50".into();
        results.groups.push(group);
    }
    for mut run in runs {
        run.group = renamed(&run.group);
        let l2 = run.group.starts_with("r50-l2");
        for found in run.evaluations.iter_mut().flat_map(|e| &mut e.ood) {
            found.detection.auroc += if l2 { gain } else { 0.0 };
        }
        results.runs.push(run);
    }
    results
}

#[test]
fn every_network_and_length_is_judged_and_weighs_the_same() {
    let one = synthetic(5);
    let two = with_second_network(one.clone(), 0.02);
    let (alone, both) = (claims(&one), claims(&two));
    for (claim, alone) in both.iter().zip(&alone).take(4) {
        let names: Vec<&str> = claim.strata.iter().map(|s| s.name.as_str()).collect();
        let expected: &[&str] = match claim.id.as_str() {
            "C1" | "C4" => &[
                "ResNet18, short",
                "ResNet18, long",
                "ResNet50, short",
                "ResNet50, long",
            ],
            _ => &["ResNet18", "ResNet50"],
        };
        assert_eq!(names, expected, "{}", claim.id);
        // Two points more in one of two networks are one point more over both.
        let gain = if claim.id == "C4" { 0.0 } else { 1.0 };
        let difference = claim.effect.unwrap() - alone.effect.unwrap();
        assert!(
            (difference - gain).abs() < 1e-9,
            "{}: {difference}",
            claim.id
        );
    }
    // Short and long weigh the same within a network.
    let [short, long, ..] = alone[0].strata.as_slice() else {
        panic!("{:?}", alone[0].strata);
    };
    let mean = 0.5 * (short.effect + long.effect);
    assert!((alone[0].effect.unwrap() - mean).abs() < 1e-9);
}

#[test]
fn a_set_that_could_not_be_scored_costs_its_run_and_is_said() {
    let whole = synthetic(5);
    let mut results = whole.clone();
    let run = results
        .runs
        .iter_mut()
        .find(|r| r.group == "r18-l2" && r.seed == 2)
        .unwrap();
    let lost =
        |found: &OodResult| found.score == ScoreId::GMM_FEATURES && found.set.as_str() == "noise";
    run.evaluations[0].ood.retain(|found| !lost(found));
    for (claim, before) in claims(&results).iter().zip(&claims(&whole)).take(3) {
        assert!(
            claim.n < before.n,
            "{}: {:?} of {:?}",
            claim.id,
            claim.n,
            before.n
        );
        assert!(
            claim.evidence.contains("Runs left out"),
            "{}",
            claim.evidence
        );
        assert!(!before.evidence.contains("Runs left out"));
        // The others' mean still runs over all three sets.
        assert!(claim.id == "C3" || claim.evidence.contains("fashion-held-out, mnist, noise"));
    }
}

#[test]
fn controls_are_shown_and_decide_nothing() {
    let mut results = synthetic(6);
    results.data[2].role = Role::Control;
    let mut without = results.clone();
    without.data.remove(2);
    for run in &mut without.runs {
        for evaluation in &mut run.evaluations {
            evaluation.ood.retain(|found| found.set.as_str() != "noise");
        }
    }
    let judged = |results: &Results| -> Vec<_> {
        let claims = claims(results).into_iter();
        claims
            .map(|c| (c.id, c.verdict, c.effect, c.p_value))
            .collect()
    };
    assert_eq!(judged(&results), judged(&without));

    let mut averaged = results.clone();
    averaged.data[2].role = Role::Ood;
    assert_ne!(judged(&results), judged(&averaged));

    let main = tables(&results, &References::default()).remove(0);
    assert!(main.columns.iter().any(|c| c.key == "auroc:noise"));
    assert!(
        main.caption.contains("in no mean or claim: noise."),
        "{}",
        main.caption
    );
}

/// A cell of the table `id`, by the keys of its row and column.
fn cell(tables: &[Table], id: &str, row: &str, column: &str) -> Cell {
    let table = tables.iter().find(|table| table.id == id).unwrap();
    let at_row = table.row_keys.iter().position(|key| key == row).unwrap();
    let at_column = table.columns.iter().position(|c| c.key == column).unwrap();
    table.rows[at_row][at_column].clone()
}

#[test]
fn the_training_that_l2_needs_is_counted_by_seed() {
    let mut results = synthetic(3);
    for run in &mut results.runs {
        let seed = run.seed as usize;
        for record in &mut run.history {
            let auroc = match run.group.as_str() {
                // Without L2: 0.9 at the end.
                "r18-base" => 0.9 * record.epoch as f64 / 16.0,
                // With L2: seed 1 gets there after 3 epochs, seed 2 after 5, seed 3 never.
                "r18-l2" if seed < 3 && record.epoch > 2 * seed => 0.95,
                _ => 0.5,
            };
            record.auroc = vec![("mnist".into(), auroc)];
        }
    }
    let tables = tables(&results, &References::default());
    let row = "r18-l2:r18-base:AUROC mnist";
    let words = |column| cell(&tables, "epochs-needed", row, column);
    assert_eq!(
        words("reached"),
        Cell::Text {
            text: "2 of 3".to_owned()
        }
    );
    assert!(matches!(words("median"), Cell::Number { value: 5.0, .. }));
    assert!(matches!(words("target"), Cell::Number { value: 90.0, .. }));

    let never = cell(
        &tables,
        "epochs-needed",
        "r18-l2-long:r18-base:AUROC mnist",
        "median",
    );
    assert!(matches!(never, Cell::Missing { .. }), "{never:?}");
}

#[test]
fn the_gain_is_paired_by_seed() {
    let mut results = synthetic(3);
    // The order of runs must not matter, nor one without a partner.
    results.runs.reverse();
    results
        .runs
        .retain(|run| (run.group.as_str(), run.seed) != ("r18-base-short", 2));
    let tables = tables(&results, &References::default());
    let accuracy = |group: &str, seed: u64| {
        let run = results
            .runs
            .iter()
            .find(|r| r.group == group && r.seed == seed)
            .unwrap();
        100.0 * run.last_evaluation().unwrap().accuracy
    };
    let expected: Vec<f64> = [1, 3]
        .map(|seed| accuracy("r18-l2", seed) - accuracy("r18-base-short", seed))
        .to_vec();
    let found = cell(
        &tables,
        "gain",
        "r18-l2:r18-base-short:accuracy",
        "difference",
    );
    let Cell::Spread { mean, n: 2, .. } = found else {
        panic!("{found:?}");
    };
    assert!((mean - (expected[0] + expected[1]) / 2.0).abs() < 1e-12);
}

#[test]
fn latex_tables_take_the_form_that_fits_a_page() {
    let tables = tables(&synthetic(3), &References::default());
    let of = |id: &str| tables.iter().find(|table| table.id == id).unwrap();
    let mut main = of("main").clone();
    main.columns.truncate(4);
    main.rows.iter_mut().for_each(|row| row.truncate(4));
    let narrow = render::latex(&main);
    assert!(
        narrow.contains("\\begin{table}") && narrow.contains("\\small"),
        "{narrow}"
    );
    // Long headings are broken to the width of their columns.
    assert!(
        narrow.contains("\\shortstack[r]{AUROC\\\\fashion-held-out\\\\(\\%)}"),
        "{narrow}"
    );

    let wide = render::latex(of("calibration"));
    assert!(
        wide.starts_with("% needs \\usepackage{booktabs,rotating}"),
        "{wide}"
    );

    let mut long = main.clone();
    for _ in 0..5 {
        long.rows.extend(long.rows.clone());
    }
    assert!(render::latex(&long).contains("\\endhead"));
}
