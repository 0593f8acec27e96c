//! Every detector: orientation, invariance, refusal and storage.
#![allow(clippy::unwrap_used)]

use collapse_numeric as numeric;
use collapse_ood::detectors::{AshVariant, Knn};
use collapse_ood::metrics::auroc;
use collapse_ood::{
    Detector, Error, Fitted, Inputs, RowsView, ScoreId, Settings, TrainInputs, detectors, fit_all,
    fit_named,
};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

const N_CLASSES: usize = 4;
const D: usize = 12;

/// Numbers in −1..1 without structure that a detector could feel.
fn noise(seed: u64, index: usize) -> f64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((index as u64).wrapping_mul(0xD134_2543_DE82_EF95));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Class c fires units 3c..3c+3; out-of-distribution samples fire all of them a little.
struct World {
    weight: Array2<f64>,
    bias: Array1<f64>,
    train: Array2<f64>,
    labels: Vec<usize>,
    test: Array2<f64>,
    ood: Array2<f64>,
}

fn world() -> World {
    let sample = |seed: u64, n: usize| {
        Array2::from_shape_fn((n, D), |(row, unit)| {
            let on = if unit / 3 == row % N_CLASSES {
                3.0
            } else {
                0.3
            };
            (on + 0.25 * noise(seed, row * D + unit)).max(0.0)
        })
    };
    World {
        weight: Array2::from_shape_fn((N_CLASSES, D), |(c, unit)| {
            (if unit / 3 == c { 1.0 } else { -0.3 }) + 0.05 * noise(9, c * D + unit)
        }),
        bias: Array1::from_shape_fn(N_CLASSES, |c| 0.1 * noise(10, c)),
        train: sample(1, 200),
        labels: (0..200).map(|row| row % N_CLASSES).collect(),
        test: sample(2, 80),
        ood: Array2::from_shape_fn((80, D), |(row, unit)| {
            (0.8 + 0.5 * noise(3, row * D + unit)).max(0.0)
        }),
    }
}

impl World {
    fn logits(&self, features: &Array2<f64>, l2: bool) -> Array2<f64> {
        let mut seen = features.clone();
        if l2 {
            for mut row in seen.rows_mut() {
                let norm = row.dot(&row).sqrt();
                row /= norm;
            }
        }
        seen.dot(&self.weight.t()) + &self.bias
    }

    fn fit(&self, l2: bool) -> Fitted {
        self.fit_on(&self.train.view().into(), l2)
    }

    /// The detectors of the training samples in this form.
    fn fit_on(&self, features: &RowsView, l2: bool) -> Fitted {
        let logits = self.logits(&self.train, l2);
        let inputs = Inputs::new(features.reborrow(), logits.view(), l2).unwrap();
        let train = TrainInputs::new(inputs, &self.labels).unwrap();
        let train = train
            .with_head(self.weight.view(), self.bias.view())
            .unwrap();
        // Twelve units are too few for shaping that keeps one or two of them.
        let settings = Settings {
            ash_variant: AshVariant::Prune,
            ash_percentile: 25.0,
            scale_percentile: 25.0,
            dice_percentile: 25.0,
            lts_share: 0.5,
            // Classes of fifty samples have a tail of five.
            openmax_tail: 5,
            ..Settings::default()
        };
        fit_all(&train, &settings)
    }

    fn score(&self, fitted: &Fitted, features: &Array2<f64>, l2: bool) -> Vec<(ScoreId, Vec<f64>)> {
        let logits = self.logits(features, l2);
        let inputs = Inputs::new(features.view(), logits.view(), l2).unwrap();
        fitted
            .score_all(&inputs)
            .into_iter()
            .map(|(name, scores)| (name, scores.unwrap().to_vec()))
            .collect()
    }
}

#[test]
fn every_detector_prefers_the_in_distribution_set() {
    let world = world();
    for l2 in [false, true] {
        let fitted = world.fit(l2);
        assert_eq!(fitted.skipped, []);
        let entries: Vec<_> = detectors()
            .iter()
            .filter(|entry| !entry.needs_members())
            .collect();
        assert_eq!(fitted.detectors.len(), entries.len());
        let (id, ood) = (
            world.score(&fitted, &world.test, l2),
            world.score(&fitted, &world.ood, l2),
        );
        for (entry, ((name, id), (_, ood))) in entries.into_iter().zip(id.into_iter().zip(ood)) {
            assert_eq!(entry.id(), name);
            let found = auroc(&id, &ood).unwrap();
            assert!(found > 0.9, "{name} with l2 = {l2}: {found}");
        }
    }
}

/// f32 and columns that lie side by side give the scores of the same numbers in rows of f64, to the last bit.
#[test]
fn precision_and_layout_of_the_features_do_not_matter() {
    let mut world = world();
    let narrow = |features: &Array2<f64>| features.mapv(|value| value as f32);
    let (train, test) = (narrow(&world.train), narrow(&world.test));
    world.train = train.mapv(f64::from);
    world.test = test.mapv(f64::from);
    let turned = |features: &Array2<f64>| features.t().as_standard_layout().into_owned();
    let (train_columns, test_columns) = (turned(&world.train), turned(&world.test));
    let forms: [(RowsView, RowsView); 3] = [
        (train.view().into(), test.view().into()),
        (train_columns.t().into(), test_columns.t().into()),
        (train.view().into(), test_columns.t().into()),
    ];
    for l2 in [false, true] {
        let expected = world.score(&world.fit(l2), &world.test, l2);
        let logits = world.logits(&world.test, l2);
        for (train, test) in &forms {
            let fitted = world.fit_on(train, l2);
            assert_eq!(fitted.skipped, []);
            let inputs = Inputs::new(test.reborrow(), logits.view(), l2).unwrap();
            for ((name, found), (_, expected)) in
                fitted.score_all(&inputs).into_iter().zip(&expected)
            {
                assert_eq!(found.unwrap().to_vec(), *expected, "{name}");
            }
            // Not only in blocks.
            for (detector, (name, expected)) in fitted.detectors.iter().zip(&expected) {
                assert_eq!(
                    detector.score(&inputs).unwrap().to_vec(),
                    *expected,
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn named_detectors_score_in_the_order_of_the_names() {
    let world = world();
    let fitted = world.fit(false);
    let logits = world.logits(&world.test, false);
    let inputs = Inputs::new(world.test.view(), logits.view(), false).unwrap();
    let named = fitted.score_named(["vim", "energy"], &inputs).unwrap();
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["vim", "energy"]);
    let all = fitted.score_all(&inputs);
    for (name, scores) in &named {
        let (_, expected) = all.iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(scores.as_ref().unwrap(), expected.as_ref().unwrap());
    }
    let unknown = fitted.score_named(["energy", "vimm"], &inputs).unwrap_err();
    assert!(
        unknown
            .to_string()
            .starts_with("no detector `vimm`: choose among max_softmax, ")
    );
}

#[test]
fn stored_detectors_score_the_same() {
    let world = world();
    let fitted = world.fit(true);
    let text = serde_json::to_string(&fitted).unwrap();
    let loaded: Fitted = serde_json::from_str(&text).unwrap();
    assert_eq!(
        world.score(&fitted, &world.ood, true),
        world.score(&loaded, &world.ood, true)
    );
}

#[test]
fn one_row_at_a_time_gives_the_same_scores() {
    let world = world();
    let fitted = world.fit(false);
    let together = world.score(&fitted, &world.test, false);
    for row in [0, 37, 79] {
        let alone = world.test.select(ndarray::Axis(0), &[row]);
        for ((name, all), (_, one)) in together.iter().zip(world.score(&fitted, &alone, false)) {
            let gap = (all[row] - one[0]).abs();
            assert!(
                gap <= 1e-9 * all[row].abs().max(1.0),
                "{name}: {} and {}",
                all[row],
                one[0]
            );
        }
    }
}

#[test]
fn normalising_scores_ignore_the_scale_of_features() {
    let world = world();
    let fitted = world.fit(true);
    let scaled = &world.ood * 1e150;
    for ((name, a), (_, b)) in world
        .score(&fitted, &world.ood, true)
        .iter()
        .zip(world.score(&fitted, &scaled, true))
    {
        if *name != ScoreId::FEATURE_NORM {
            let gap = a
                .iter()
                .zip(&b)
                .map(|(a, b)| (a - b).abs() / a.abs().max(1.0))
                .fold(0.0, f64::max);
            assert!(gap < 1e-9, "{name}: {gap}");
        }
    }
}

#[test]
fn without_a_head_the_rest_is_fitted_and_the_reason_given() {
    let world = world();
    let logits = world.logits(&world.train, false);
    let inputs = Inputs::new(world.train.view(), logits.view(), false).unwrap();
    let train = TrainInputs::new(inputs, &world.labels).unwrap();
    let fitted = fit_all(&train, &Settings::default());
    let skipped: Vec<&str> = fitted
        .skipped
        .iter()
        .map(|skipped| skipped.name.as_str())
        .collect();
    let needy = detectors().iter().filter(|entry| entry.needs_head());
    let expected: Vec<String> = needy.map(|entry| entry.id().to_string()).collect();
    assert_eq!(skipped, expected);
    assert!(
        fitted
            .skipped
            .iter()
            .all(|skipped| skipped.reason.contains("head.weight"))
    );

    assert_eq!(
        fit_named(&train, &Settings::default(), ["knn", "energy"])
            .unwrap()
            .detectors
            .len(),
        2
    );
    let error = fit_named(&train, &Settings::default(), ["odin"]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no detector `odin`: choose among max_softmax"),
        "{error}"
    );
}

#[test]
fn bad_inputs_are_typed_errors() {
    let world = world();
    let logits = world.logits(&world.train, false);
    let mut broken = world.train.clone();
    broken[[3, 4]] = f64::NAN;
    assert!(matches!(
        Inputs::new(broken.view(), logits.view(), false),
        Err(Error::Numeric(numeric::Error::NotFinite {
            row: 3,
            column: 4,
            ..
        }))
    ));
    assert!(matches!(
        Inputs::new(world.test.view(), logits.view(), false),
        Err(Error::Shape { .. })
    ));
    let empty = Array2::<f64>::zeros((0, D));
    assert!(matches!(
        Inputs::new(empty.view(), Array2::zeros((0, 4)).view(), false),
        Err(Error::Undefined { .. })
    ));

    let inputs = || Inputs::new(world.train.view(), logits.view(), false).unwrap();
    assert!(matches!(
        TrainInputs::new(inputs(), &[0, 1]),
        Err(Error::Numeric(numeric::Error::LabelCount { .. }))
    ));
    let labels = vec![9; 200];
    assert!(matches!(
        TrainInputs::new(inputs(), &labels),
        Err(Error::Numeric(numeric::Error::LabelOutOfRange {
            label: 9,
            ..
        }))
    ));

    let narrow = Array2::<f64>::ones((2, D - 1));
    let two = Array2::ones((2, N_CLASSES));
    let inputs = Inputs::new(narrow.view(), two.view(), false).unwrap();
    for (name, scores) in world.fit(false).score_all(&inputs) {
        let reads_logits = [
            "max_softmax",
            "softmax_entropy",
            "energy",
            "max_logit",
            "gen",
            "gmm_logits",
            "kl_matching",
            "openmax",
        ];
        // These keep nothing of the training features that would tell.
        let keeps_nothing = ["feature_norm", "grad_norm", "lts"];
        assert_eq!(
            scores.is_ok(),
            reads_logits.contains(&name.as_str()) || keeps_nothing.contains(&name.as_str()),
            "{name}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn knn_agrees_with_sorting_all_distances(
        seed: u64, n in 1usize..1500, d in 1usize..40, k in 1usize..60, spread in prop::sample::select(vec![1.0, 1e-3, 1e-9, 0.0]),
    ) {
        let k = k.min(n);
        // Small spreads put many neighbours within the rounding of f32.
        let features = |seed, rows| Array2::from_shape_fn((rows, d), |(i, j)| 1.0 + spread * noise(seed, i * d + j));
        let (bank, queries) = (features(seed, n), features(!seed, 3));
        let (labels, logits) = (vec![0; n], Array2::zeros((n, 1)));
        let train = TrainInputs::new(Inputs::new(bank.view(), logits.view(), false).unwrap(), &labels).unwrap();
        let test_logits = Array2::zeros((3, 1));
        let inputs = Inputs::new(queries.view(), test_logits.view(), false).unwrap();
        let found = Knn::fit(&train, k).unwrap().squared().score(&inputs).unwrap();
        for (query, found) in inputs.normalized().rows().into_iter().zip(found) {
            let distance = |row: ndarray::ArrayView1<f64>| row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            let mut distances: Vec<f64> = train.inputs().normalized().rows().into_iter().map(distance).collect();
            distances.sort_by(f64::total_cmp);
            prop_assert!((-found - distances[k - 1]).abs() <= 1e-15 * (1.0 + distances[k - 1]));
        }
    }
}

#[test]
fn logits_of_other_classes_are_refused_by_all_that_know_classes() {
    let world = world();
    let fitted = world.fit(false);
    for n_classes in [N_CLASSES - 1, N_CLASSES + 1] {
        // The last class has the largest logit.
        let logits = Array2::from_shape_fn((2, n_classes), |(_, class)| class as f64);
        let rows = world.test.slice(ndarray::s![..2, ..]);
        let inputs = Inputs::new(rows, logits.view(), false).unwrap();
        for name in ["nci", "fdbd", "she", "kl_matching", "openmax", "gmm_logits"] {
            let detector = fitted.get(&ScoreId::new(name)).unwrap();
            assert!(detector.score(&inputs).is_err(), "{name}, {n_classes}");
        }
    }
}

#[test]
fn openmax_fits_tails_of_logits_of_any_size() {
    let world = world();
    for scale in [1.0, 1e9, 1e40, 1e149] {
        let logits = |rows: &Array2<f64>| scale * (rows.dot(&world.weight.t()) + &world.bias);
        let (own, new) = (logits(&world.train), logits(&world.test));
        let train = Inputs::new(world.train.view(), own.view(), false).unwrap();
        let train = TrainInputs::new(train, &world.labels).unwrap();
        let fitted = fit_named(&train, &Settings::default(), ["openmax"]).unwrap();
        let text = serde_json::to_string(&fitted).unwrap();
        assert!(!text.contains("null"), "{scale:e}: {text}");
        let inputs = Inputs::new(world.test.view(), new.view(), false).unwrap();
        let scores = fitted.detectors[0].score(&inputs).unwrap();
        assert!(scores.iter().all(|score| !score.is_nan()), "{scale:e}");
    }
}
