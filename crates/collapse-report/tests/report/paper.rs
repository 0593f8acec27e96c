//! The paper's tables and its own numbers.

use collapse_report::{References, check_tables, tables};
use collapse_results::{Cell, Results, ScoreId};

use super::common::synthetic;
use super::{references, trained_on};

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
        "ablation-differences",
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
