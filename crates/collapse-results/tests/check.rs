//! A file whose figures cannot be what they say is refused, with the field and its value.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use collapse_results::*;
use common::{evaluation, results};
use serde_json::{Value, json};

/// What reading says once `pointer` holds `value`.
fn refusal(pointer: &str, value: Value) -> String {
    let mut file = serde_json::to_value(results()).unwrap();
    *file.pointer_mut(pointer).unwrap() = value;
    match Results::from_json(&file.to_string()) {
        Ok(_) => panic!("{pointer} was believed"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn good_results_pass_and_survive_a_round_trip() {
    let text = results().to_json().unwrap();
    assert_eq!(Results::from_json(&text).unwrap(), results());
}

#[test]
fn each_impossible_figure_is_named_with_its_value() {
    let evaluation = "/runs/0/evaluations/0";
    for (field, value, shown) in [
        ("accuracy", json!(1.2), "1.2"),
        ("ece", json!(-0.5), "-0.5"),
        ("ece_scaled", json!(7.0), "7.0"),
        ("temperature", json!(0.0), "0.0"),
        ("nll", json!(-1.0), "-1.0"),
        ("risk_coverage/aurc", json!(-0.5), "-0.5"),
        ("risk_coverage/augrc", json!(0.75), "0.75"),
        ("jitter_features", json!(3.0), "3.0"),
        ("geometry/nc1", json!(1e-307), "1e-307"),
        ("geometry/nc1", json!(1e300), "1e300"),
        ("geometry/nc2_equiangular_means", json!(2.5), "2.5"),
        ("geometry/nc3", json!(4.5), "4.5"),
        ("geometry/nc4", json!(1.5), "1.5"),
        ("ood/0/auroc", json!(-0.1), "-0.1"),
        ("ood/0/aupr_out", json!(556), "556.0"),
        ("ood/0/fpr95_id_positive", json!(1e23), "1e23"),
        ("ood/0/set", json!("a\u{1b}[2J"), "\\u{1b}"),
        ("ood/0/set", json!("../../etc"), "../../etc"),
        ("ood/0/score", json!(""), "\"\""),
        ("histograms/0/high", json!(-1.0), "-1.0"),
        ("histograms/0/counts", json!([]), "0"),
        (
            "histograms/0/counts/1",
            json!(u64::MAX),
            "18446744073709551615",
        ),
    ] {
        let message = refusal(&format!("{evaluation}/{field}"), value);
        let named = field
            .replace("ood/0/", "ood[0].")
            .replace("histograms/0/", "histograms[0].");
        let named = named.replace('/', ".");
        let named = named.strip_suffix(".1").unwrap_or(&named);
        let place = format!("`runs[0].evaluations[0].{named}`");
        assert!(
            message.contains(&place) && message.contains(shown),
            "{place} and {shown} in: {message}"
        );
    }
}

#[test]
fn epochs_are_in_order_and_believable() {
    assert!(refusal("/runs/0/history/0/epoch", json!(1u64 << 63)).contains("history[0].epoch"));
    assert!(refusal("/runs/0/evaluations/0/epoch", json!(7)).contains("5 epochs of the group"));
    let mut twice = results();
    let again = twice.runs[0].evaluations[0].clone();
    twice.runs[0].evaluations.push(again);
    let message = twice.check().unwrap_err().to_string();
    assert!(message.contains("evaluations[1].epoch"), "{message}");
}

#[test]
fn one_figure_stands_once() {
    let mut twice = results();
    let again = twice.runs[0].evaluations[0].ood[0].clone();
    twice.runs[0].evaluations[0].ood.push(again);
    assert!(matches!(twice.check(), Err(Error::Value { .. })));
    let mut twice = results();
    let again = twice.runs[0].clone();
    twice.runs.push(again);
    assert!(
        twice
            .check()
            .unwrap_err()
            .to_string()
            .contains("runs[1].seed")
    );
}

#[test]
fn results_that_would_be_refused_are_not_written() {
    let mut wrong = results();
    wrong.runs[0].evaluations[0].nll = f64::NAN;
    assert!(wrong.to_json().unwrap_err().to_string().contains("nll"));
}

#[test]
fn an_undefined_figure_keeps_its_reason_in_the_old_fields() {
    let mut undefined = evaluation();
    undefined.scaling = Defined::Undefined("no validation split".into());
    undefined.geometry = Defined::Undefined("no head".into());
    let file = serde_json::to_value(&undefined).unwrap();
    assert_eq!(file["temperature"], Value::Null);
    assert_eq!(file["ece_scaled"], Value::Null);
    assert_eq!(file["temperature_undefined"], "no validation split");
    assert_eq!(file["geometry"], Value::Null);
    assert_eq!(file["geometry_undefined"], "no head");
    let read: Evaluation = serde_json::from_value(file).unwrap();
    assert_eq!(read, undefined);
}

#[test]
fn a_resumed_run_records_its_makers_and_one_that_was_not_the_same_as_if_never_stopped() {
    let maker = |path: &str| Maker {
        code_version: "0.1.0".into(),
        kernel_path: path.into(),
        processor: "a processor".into(),
    };
    let (mut at_once, mut stopped, mut moved) = (
        results().runs.remove(0),
        results().runs.remove(0),
        results().runs.remove(0),
    );
    at_once.record_maker(5, maker("avx2"));
    stopped.record_maker(2, maker("avx2"));
    stopped.record_maker(5, maker("avx2"));
    moved.record_maker(2, maker("avx2"));
    moved.record_maker(5, maker("neon"));
    assert_eq!(at_once, stopped);
    let spans: Vec<_> = moved
        .made_by
        .iter()
        .map(|s| (s.first_epoch, s.last_epoch))
        .collect();
    assert_eq!(spans, [(1, 2), (3, 5)]);
    moved.check().unwrap();
    moved.made_by[1].first_epoch = 4;
    assert!(moved.check().is_err());
}

/// Results that earlier versions wrote.
#[test]
fn committed_results_still_load_and_are_written_as_they_were() {
    for name in ["quick", "cifar10-width8", "cifar10"] {
        let path = format!(
            "{}/../../docs/{name}/results.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let results = Results::from_json(&text).unwrap();
        assert!(
            results.to_json().unwrap() == text,
            "{path} is written in another way"
        );
    }
}

#[test]
fn ensembles_are_of_runs_that_are_there_each_in_one() {
    let mut two = results();
    for seed in [2, 3, 4] {
        let run = Run {
            seed,
            ..two.runs[0].clone()
        };
        two.runs.push(run);
    }
    let of = |seeds: &[u64]| Ensemble {
        group: "r18-l2".into(),
        epoch: 5,
        seeds: seeds.to_vec(),
        accuracy: 0.91,
        ood: two.runs[0].evaluations[0].ood.clone(),
    };
    let with = |ensembles: Vec<Ensemble>| Results {
        ensembles,
        ..two.clone()
    };
    let sound = with(vec![of(&[1, 2]), of(&[3, 4])]);
    assert_eq!(
        Results::from_json(&sound.to_json().unwrap()).unwrap(),
        sound
    );
    let unsound = Ensemble {
        accuracy: 1.5,
        ..of(&[1, 2])
    };
    for (ensembles, named) in [
        (vec![of(&[1])], "at least two seeds"),
        (vec![of(&[1, 9])], "the seed of a run of its group"),
        (
            vec![of(&[1, 2]), of(&[2, 3])],
            "a seed of one ensemble alone",
        ),
        (vec![unsound], "accuracy"),
    ] {
        let error = with(ensembles).to_json().unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}
