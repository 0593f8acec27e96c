//! Claims, and what is paired by seed.

use collapse_report::{References, claims, figures, tables};
use collapse_results::{Cell, OodResult, Results, Role, Run, ScoreId, Table, Verdict};

use super::common::synthetic;

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

/// The mean of a cell over seeds.
fn mean_of(cell: Cell) -> f64 {
    let Cell::Spread { mean, .. } = cell else {
        panic!("{cell:?}");
    };
    mean
}

#[test]
fn on_normalised_features_of_both_the_gain_is_that_of_the_training() {
    let mut results = synthetic(3);
    // Normalising afterwards adds seven points to the networks without L2.
    let without_l2 = |run: &&mut Run| run.group.starts_with("r18-base");
    for run in results.runs.iter_mut().filter(without_l2) {
        for evaluation in &mut run.evaluations {
            let on_raw = |o: &&OodResult| o.score == ScoreId::GMM_FEATURES;
            let mut normalised: Vec<_> = evaluation.ood.iter().filter(on_raw).cloned().collect();
            for found in &mut normalised {
                found.score = ScoreId::GMM_UNIT;
                found.detection.auroc += 0.07;
            }
            evaluation.ood.extend(normalised);
        }
    }
    let tables = tables(&results, &References::default());
    for pair in ["r18-l2:r18-base-short", "r18-l2-long:r18-base"] {
        let row = format!("{pair}:AUROC mnist");
        let gain = |table: &str| mean_of(cell(&tables, table, &row, "difference"));
        let lost = gain("gain") - gain("gain-normalised");
        assert!((lost - 7.0).abs() < 1e-9, "{pair}: {lost}");
    }
}

#[test]
fn each_part_of_the_architecture_is_held_against_the_whole_by_seed() {
    let mut results = synthetic(3);
    // Without spectral normalisation, by seed, as the whole network but 2, 3 and 4 points.
    let whole: Vec<Run> = results.runs_of("r18-l2").cloned().collect();
    for run in results.runs.iter_mut().filter(|r| r.group == "r18-l2-nosn") {
        let same = whole.iter().find(|other| other.seed == run.seed).unwrap();
        run.evaluations = same.evaluations.clone();
        for evaluation in &mut run.evaluations {
            evaluation.accuracy -= 0.01 * (run.seed + 1) as f64;
        }
    }
    let tables = tables(&results, &References::default());
    let cell = |row: &str, column: &str| cell(&tables, "ablation-differences", row, column);
    let accuracy = "r18-l2-nosn:r18-l2:accuracy";
    assert!((mean_of(cell(accuracy, "difference")) + 3.0).abs() < 1e-9);
    assert!(format!("{:?}", cell(accuracy, "seeds")).contains("−2.00, −3.00, −4.00"));
    // t(0.975, 2 degrees) = 4.3027, standard error 1/√3.
    assert!(format!("{:?}", cell(accuracy, "interval")).contains("−5.48 to −0.52"));
    let same = cell("r18-l2-nosn:r18-l2:AUROC mnist", "difference");
    assert_eq!(mean_of(same), 0.0);
}

#[test]
fn collapse_of_both_forms_stands_in_one_table() {
    let mut results = synthetic(3);
    for run in &mut results.runs {
        for evaluation in &mut run.evaluations {
            let mut other = evaluation.geometry.value().cloned().unwrap();
            other.nc1 *= 2.0;
            evaluation.geometry_counterpart = Some(other);
        }
    }
    let tables = tables(&results, &References::default());
    for (group, seen, other) in [("r18-l2", "ẑ", "z"), ("r18-base-short", "z", "ẑ")] {
        let counterpart = format!("{group}:counterpart");
        let features = |row: &str| cell(&tables, "nc-end", row, "features");
        let text = |text: &str| Cell::Text { text: text.into() };
        assert_eq!(features(group), text(seen));
        assert_eq!(features(&counterpart), text(other));
        let nc1 = |row: &str| mean_of(cell(&tables, "nc-end", row, "nc1"));
        assert!((nc1(&counterpart) - 2.0 * nc1(group)).abs() < 1e-12);
    }
}

#[test]
fn a_half_trained_group_is_neither_judged_nor_drawn_within_groups() {
    let drawn = |results: &Results| {
        let figures = figures(results);
        let found = figures.iter().find(|f| f.id == "auroc-nc1-within");
        found.unwrap().inline()
    };
    let mut results = synthetic(3);
    assert!(drawn(&results).contains("NC loss"));
    let with_nc_loss = |run: &&mut Run| run.group == "r18-nc";
    for run in results.runs.iter_mut().filter(with_nc_loss) {
        for evaluation in &mut run.evaluations {
            evaluation.accuracy = 0.3;
        }
    }
    assert!(!drawn(&results).contains("NC loss"));
}
