//! Nothing panics and nothing lies: any input gives scores without NaN or a typed error.
#![allow(clippy::unwrap_used)]

use collapse_ood::detectors::AshVariant;
use collapse_ood::metrics::{
    Bootstrap, aurc, calibration, delong_interval, detection, temperature_grid, temperature_optimum,
};
use collapse_ood::{
    Fitted, Inputs, Intervals, ScoreId, Settings, TrainInputs, compare, detectors, fit_all,
    risk_coverage,
};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

/// The ways in which features go wrong.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Ordinary,
    Zero,
    Identical,
    Duplicated,
    Huge,
    Tiny,
    Mixed,
    Collapsed,
}

const KINDS: [Kind; 8] = [
    Kind::Ordinary,
    Kind::Zero,
    Kind::Identical,
    Kind::Duplicated,
    Kind::Huge,
    Kind::Tiny,
    Kind::Mixed,
    Kind::Collapsed,
];

fn noise(seed: u64, i: usize, j: usize) -> f64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(((i * 1009 + j) as u64).wrapping_mul(0xD134_2543_DE82_EF95));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn values(kind: Kind, seed: u64, n: usize, d: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, d), |(i, j)| match kind {
        Kind::Ordinary => noise(seed, i, j) + (i % 3) as f64,
        Kind::Zero => 0.0,
        Kind::Identical => noise(7, 0, j),
        Kind::Duplicated => noise(seed, i, j / 2),
        Kind::Huge => 1e300 * noise(seed, i, j),
        Kind::Tiny => 1e-300 * noise(seed, i, j),
        Kind::Mixed => noise(seed, i, j) * 10f64.powi(((i * 31 + j * 17) % 601) as i32 - 300),
        Kind::Collapsed => (i % 3) as f64 + 1e-9 * noise(seed, i, j),
    })
}

fn settings() -> Settings {
    Settings {
        ash_variant: AshVariant::Scale,
        ash_percentile: 50.0,
        scale_percentile: 50.0,
        ..Settings::default()
    }
}

fn check_scores(fitted: &Fitted, inputs: &Inputs, n: usize) {
    for (name, scores) in fitted.score_all(inputs) {
        match scores {
            Ok(scores) => {
                assert_eq!(scores.len(), n, "{name}");
                assert!(scores.iter().all(|score| !score.is_nan()), "{name}");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(KINDS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn detectors_score_or_refuse(
        seed: u64,
        shape in (1usize..14, 1usize..9, 1usize..5),
        kinds in (kind(), kind(), kind(), kind()),
        stray in 0usize..40,
    ) {
        let (n, d, n_classes) = shape;
        let (train, test) = (values(kinds.0, seed, n, d), values(kinds.1, !seed, 5, d));
        let weight = values(kinds.2, seed ^ 1, n_classes, d);
        let bias = Array1::from_shape_fn(n_classes, |c| noise(seed, c, 99));
        let logits = |rows: usize, kind| values(kind, seed ^ 2, rows, n_classes);
        let (train_logits, test_logits) = (logits(n, kinds.3), logits(5, kinds.3));
        // Now and then a label that is no class.
        let labels: Vec<usize> = (0..n).map(|i| if i == stray { n_classes } else { i % n_classes }).collect();

        let inputs = Inputs::new(train.view(), train_logits.view(), seed.is_multiple_of(2)).unwrap();
        let with_head = TrainInputs::new(inputs, &labels).and_then(|train| train.with_head(weight.view(), bias.view()));
        prop_assert_eq!(with_head.is_err(), labels.contains(&n_classes));
        if let Ok(train) = with_head {
            let fitted = fit_all(&train, &settings());
            let entries = detectors().iter().filter(|entry| !entry.needs_members());
            prop_assert_eq!(fitted.detectors.len() + fitted.skipped.len(), entries.count());
            let inputs = Inputs::new(test.view(), test_logits.view(), seed.is_multiple_of(2)).unwrap();
            check_scores(&fitted, &inputs, 5);
            // Features alone refuse what reads logits and score the rest.
            check_scores(&fitted, &Inputs::of_features(test.view(), false).unwrap(), 5);
        }
        if let Ok(train) = TrainInputs::new(Inputs::of_features(train.view(), false).unwrap(), &labels) {
            let fitted = fit_all(&train, &settings());
            // What was fitted on features alone scores features alone.
            for entry in detectors().iter().filter(|entry| entry.needs_logits() || entry.needs_head()) {
                prop_assert!(fitted.get(&entry.id()).is_none(), "{}", entry.id());
                let reason = fitted.skipped.iter().find(|skipped| skipped.name == entry.id());
                let reason = reason.map(|skipped| skipped.reason.as_str());
                let expected = if entry.needs_head() { "the last linear layer" } else { "logits are needed" };
                prop_assert!(entry.needs_members() || reason.is_some_and(|reason| reason.starts_with(expected)));
            }
            check_scores(&fitted, &Inputs::of_features(test.view(), false).unwrap(), 5);
        }
    }

    #[test]
    fn metrics_are_shares_or_errors(
        id in prop::collection::vec(any::<f64>(), 0..12),
        ood in prop::collection::vec(any::<f64>(), 0..12),
    ) {
        let undefined = id.is_empty() || ood.is_empty() || id.iter().chain(&ood).any(|s| s.is_nan());
        let found = detection(&id, &ood);
        prop_assert_eq!(found.is_err(), undefined);
        if let Ok(found) = found {
            let figures = [
                found.auroc,
                found.aupr_in,
                found.aupr_out,
                found.fpr95_id_positive,
                found.fpr95_ood_positive,
                found.detection_error,
            ];
            prop_assert!(figures.iter().all(|share| (0.0..=1.0).contains(share)), "{found:?}");
            let interval = delong_interval(&id, &ood, 0.9);
            prop_assert_eq!(interval.is_err(), id.len() < 2 || ood.len() < 2);
            if let Ok(interval) = interval {
                prop_assert!(0.0 <= interval.low && interval.low <= found.auroc && found.auroc <= interval.high && interval.high <= 1.0);
            }
            let bootstrap = Bootstrap { resamples: 20, ..Bootstrap::default() }.intervals(&id, &ood).unwrap();
            prop_assert!((0.0..=1.0).contains(&bootstrap.auroc.low) && (0.0..=1.0).contains(&bootstrap.detection_error.high));
        }
        let correct: Vec<bool> = id.iter().map(|score| *score > 0.0).collect();
        let area = aurc(&id, &correct);
        prop_assert_eq!(area.is_err(), id.is_empty() || id.iter().any(|s| s.is_nan()));
        prop_assert!(area.map_or(true, |area| (0.0..=1.0).contains(&area)));
    }

    #[test]
    fn calibration_is_defined_or_refused(
        logits in prop::collection::vec(any::<f64>(), 6),
        labels in prop::collection::vec(0usize..4, 2),
        temperature in any::<f64>(),
    ) {
        let logits = Array2::from_shape_vec((2, 3), logits).unwrap();
        if let Ok(found) = calibration(logits.view(), &labels, temperature) {
            prop_assert!(!found.nll.is_nan() && (0.0..=1.0).contains(&found.ece), "{found:?}");
            prop_assert!((0.0..=1.0).contains(&found.accuracy));
        }
        prop_assert!(temperature_optimum(logits.view(), &labels).map_or(true, |t| t > 0.0));
        prop_assert!(temperature_grid(logits.view(), &labels).map_or(true, |grid| grid.by_nll > 0.0));
    }
}

#[test]
fn every_score_on_every_set_with_intervals() {
    let (n, d, c) = (60, 6, 3);
    let train = values(Kind::Ordinary, 1, n, d);
    let labels: Vec<usize> = (0..n).map(|i| i % c).collect();
    let logits = values(Kind::Ordinary, 2, n, c);
    let train = TrainInputs::new(
        Inputs::new(train.view(), logits.view(), false).unwrap(),
        &labels,
    )
    .unwrap();
    let fitted = fit_all(&train, &settings());
    let (test, ood) = (
        values(Kind::Ordinary, 3, 5000, d),
        values(Kind::Huge, 4, 7, d),
    );
    let test_logits = values(Kind::Ordinary, 5, 5000, c);
    let id = fitted.score_set(
        "test",
        &Inputs::new(test.view(), test_logits.view(), false).unwrap(),
    );
    // Of six numbers of both signs some rows have none that is positive, by whose sum LTS would divide.
    let failed: Vec<&str> = id
        .failed
        .iter()
        .map(|failed| failed.name.as_str())
        .collect();
    assert_eq!(failed, ["lts"]);
    assert_eq!(id.scores.len() + 1, fitted.detectors.len());
    // Without logits only what reads features is left, and the rest says why.
    let far = fitted.score_set("far", &Inputs::of_features(ood.view(), false).unwrap());
    assert!(far.get(&"knn".into()).is_some() && far.get(&ScoreId::ENERGY).is_none());
    assert!(
        far.failed
            .iter()
            .any(|failed| failed.name == ScoreId::ENERGY && failed.reason.contains("far"))
    );
    let intervals = Intervals {
        bootstrap: Some(Bootstrap {
            resamples: 50,
            ..Bootstrap::default()
        }),
        ..Intervals::default()
    };
    let found = compare(&id, &[far], &intervals).unwrap();
    assert!(found.iter().any(|row| row.score.as_str() == "knn"));
    for row in &found {
        assert_eq!((row.set.as_str(), row.n_id, row.n_ood), ("far", 5000, 7));
        let interval = row.auroc_interval.unwrap();
        assert!(interval.low <= row.detection.auroc && row.detection.auroc <= interval.high);
        assert!(row.bootstrap.is_some());
    }
    let areas = risk_coverage(&id, &vec![true; 5000]).unwrap();
    assert!(
        areas
            .iter()
            .all(|found| found.aurc == 0.0 && found.augrc == 0.0)
    );
}

/// A message counts rows in the whole set, not in the block that happened to hold it.
#[test]
fn undefined_rows_are_named_by_their_number() {
    let (n, d, c) = (9, 2, 3);
    let train = values(Kind::Ordinary, 1, n, d);
    let logits = Array2::from_shape_fn((n, c), |(_, class)| f64::from(class == 0));
    let labels: Vec<usize> = (0..n).map(|i| i % c).collect();
    let train = TrainInputs::new(
        Inputs::new(train.view(), logits.view(), false).unwrap(),
        &labels,
    )
    .unwrap();
    let fitted = fit_all(&train, &settings());
    let features = values(Kind::Ordinary, 3, 6000, d);
    let logits = Array2::from_shape_fn((6000, c), |(row, class)| {
        f64::from((row == 4321) == (class == 2))
    });
    let inputs = Inputs::new(features.view(), logits.view(), false).unwrap();
    let scores = fitted.score_all(&inputs);
    let (_, she) = scores
        .into_iter()
        .find(|(name, _)| name.as_str() == "she")
        .unwrap();
    let message = she.unwrap_err().to_string();
    assert!(
        message.contains("row 4321 is predicted as class 2"),
        "{message}"
    );
}
