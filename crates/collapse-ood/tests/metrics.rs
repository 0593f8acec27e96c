//! Metrics against plain counting, and the properties that define them.
#![allow(clippy::unwrap_used)]

use collapse_ood::Error;
use collapse_ood::metrics::{
    Bootstrap, Positive, Ranking, augrc, aurc, auroc, calibration, delong_interval,
    delong_variance, detection, expected_calibration_error, temperature_grid, temperature_optimum,
};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn scores() -> impl Strategy<Value = Vec<f64>> {
    // Few distinct values, so that ties are common.
    prop::collection::vec((-4i32..5).prop_map(|level| f64::from(level) / 3.0), 1..40)
}

fn counted_auroc(id: &[f64], ood: &[f64]) -> f64 {
    let win = |a: f64, b: f64| {
        if a > b {
            1.0
        } else if a == b {
            0.5
        } else {
            0.0
        }
    };
    let wins: f64 = id
        .iter()
        .flat_map(|&a| ood.iter().map(move |&b| win(a, b)))
        .sum();
    wins / (id.len() * ood.len()) as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn auroc_counts_pairs(id in scores(), ood in scores()) {
        let found = auroc(&id, &ood).unwrap();
        prop_assert!((found - counted_auroc(&id, &ood)).abs() < 1e-12);
        prop_assert!((auroc(&ood, &id).unwrap() - (1.0 - found)).abs() < 1e-12);
    }

    #[test]
    fn only_the_order_counts(id in scores(), ood in scores()) {
        let monotone = |scores: &[f64]| scores.iter().map(|s| 1e300 * s.exp().atan()).collect::<Vec<_>>();
        prop_assert_eq!(detection(&id, &ood).unwrap(), detection(&monotone(&id), &monotone(&ood)).unwrap());
    }

    #[test]
    fn changing_sides_swaps_the_conventions(id in scores(), ood in scores()) {
        let negated = |scores: &[f64]| scores.iter().map(|s| -s).collect::<Vec<_>>();
        let a = detection(&id, &ood).unwrap();
        let b = detection(&negated(&ood), &negated(&id)).unwrap();
        prop_assert_eq!(a.aupr_in, b.aupr_out);
        prop_assert_eq!(a.fpr95_id_positive, b.fpr95_ood_positive);
        prop_assert!((a.detection_error - b.detection_error).abs() < 1e-15);
    }

    #[test]
    fn rates_agree_with_a_scan_of_thresholds(id in scores(), ood in scores()) {
        let found = detection(&id, &ood).unwrap();
        let share = |scores: &[f64], t: f64| scores.iter().filter(|s| **s >= t).count() as f64 / scores.len() as f64;
        let mut thresholds = [id.clone(), ood.clone()].concat();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        let first = thresholds.iter().find(|t| share(&id, **t) >= 0.95).unwrap();
        prop_assert_eq!(found.fpr95_id_positive, share(&ood, *first));
        let error = |t: &f64| 0.5 * (1.0 - share(&id, *t) + share(&ood, *t));
        let least = thresholds.iter().map(error).fold(0.5, f64::min);
        prop_assert!((found.detection_error - least).abs() < 1e-12);
    }
}

#[test]
fn undefined_is_an_error() {
    assert!(matches!(auroc(&[], &[1.0]), Err(Error::Undefined { .. })));
    assert!(matches!(auroc(&[1.0], &[]), Err(Error::Undefined { .. })));
    assert!(matches!(
        auroc(&[1.0, f64::NAN], &[1.0]),
        Err(Error::NotANumber { index: 1, .. })
    ));
    assert!(matches!(
        delong_variance(&[1.0], &[0.0, 1.0]),
        Err(Error::Undefined { .. })
    ));
    assert!(
        Ranking::new(&[1.0], &[0.0])
            .unwrap()
            .fpr_at_tpr(Positive::Id, 1.5)
            .is_err()
    );
    assert!(
        Bootstrap {
            resamples: 0,
            ..Bootstrap::default()
        }
        .intervals(&[1.0], &[0.0])
        .is_err()
    );
    assert!(
        Bootstrap {
            level: 1.0,
            ..Bootstrap::default()
        }
        .intervals(&[1.0], &[0.0])
        .is_err()
    );
}

#[test]
fn infinite_scores_are_ordinary() {
    assert_eq!(
        auroc(&[f64::INFINITY, 1.0], &[f64::NEG_INFINITY, 1.0]).unwrap(),
        0.875
    );
}

#[test]
fn large_sets_take_the_radix_path_to_the_same_result() {
    let id: Vec<f64> = (0..20_000)
        .map(|i| f64::from((i * 7919) % 10_007) / 3.0 - 500.0)
        .collect();
    let ood: Vec<f64> = (0..15_000)
        .map(|i| f64::from((i * 104_729) % 10_009) / 3.0 - 900.0)
        .collect();
    let mut all: Vec<(f64, bool)> = id
        .iter()
        .map(|s| (*s, true))
        .chain(ood.iter().map(|s| (*s, false)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Mann–Whitney by average ranks.
    let mut rank_sum = 0.0;
    let mut start = 0;
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let rank = start as f64 + (group.len() + 1) as f64 / 2.0;
        rank_sum += rank * group.iter().filter(|entry| entry.1).count() as f64;
        start += group.len();
    }
    let (n, m) = (id.len() as f64, ood.len() as f64);
    let expected = (rank_sum - n * (n + 1.0) / 2.0) / (n * m);
    assert!((auroc(&id, &ood).unwrap() - expected).abs() < 1e-12);
}

#[test]
fn delong_agrees_with_its_definition() {
    let id = [0.9, 0.8, 0.8, 0.4, 0.35, 0.7];
    let ood = [0.5, 0.4, 0.1, 0.85];
    let win = |a: f64, b: f64| {
        if a > b {
            1.0
        } else if a == b {
            0.5
        } else {
            0.0
        }
    };
    let variance = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
            / (values.len() - 1) as f64
            / values.len() as f64
    };
    let of_id = id
        .iter()
        .map(|a| ood.iter().map(|b| win(*a, *b)).sum::<f64>() / 4.0)
        .collect();
    let of_ood = ood
        .iter()
        .map(|b| id.iter().map(|a| win(*a, *b)).sum::<f64>() / 6.0)
        .collect();
    let expected = variance(of_id) + variance(of_ood);
    assert!((delong_variance(&id, &ood).unwrap() - expected).abs() < 1e-15);
    let interval = delong_interval(&id, &ood, 0.95).unwrap();
    let half = 1.959_963_984_540_054 * expected.sqrt();
    assert!((interval.low - (counted_auroc(&id, &ood) - half)).abs() < 1e-9);
    assert_eq!(interval.high, 1.0);
}

#[test]
fn bootstrap_is_reproducible_and_near_delong() {
    let id: Vec<f64> = (0..400).map(|i| f64::from((i * 37) % 101) + 20.0).collect();
    let ood: Vec<f64> = (0..300).map(|i| f64::from((i * 53) % 97)).collect();
    let settings = Bootstrap {
        resamples: 2000,
        ..Bootstrap::default()
    };
    let found = settings.intervals(&id, &ood).unwrap();
    assert_eq!(found, settings.intervals(&id, &ood).unwrap());
    let one_thread = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(
        found,
        one_thread
            .install(|| settings.intervals(&id, &ood))
            .unwrap()
    );
    assert_ne!(
        found,
        Bootstrap {
            seed: 1,
            ..settings
        }
        .intervals(&id, &ood)
        .unwrap()
    );
    let delong = delong_interval(&id, &ood, 0.95).unwrap();
    assert!(
        (found.auroc.low - delong.low).abs() < 0.005,
        "{found:?} {delong:?}"
    );
    assert!((found.auroc.high - delong.high).abs() < 0.005);
}

#[test]
fn calibration_of_known_logits() {
    let logits = array![
        [0.0, 0.0],
        [3f64.ln(), 0.0],
        [0.0, 3f64.ln()],
        [3f64.ln(), 0.0]
    ];
    let found = calibration(logits.view(), &[0, 0, 1, 1], 1.0).unwrap();
    assert_eq!(found.accuracy, 0.75);
    assert!((found.mean_confidence - (0.5 + 3.0 * 0.75) / 4.0).abs() < 1e-15);
    // Confidence 0.5 is right once of once; 0.75 is right twice of three times.
    assert!((found.ece - (0.25 * 0.5 + 0.75 * (0.75 - 2.0 / 3.0))).abs() < 1e-15);
    // Scaling logits and temperature together changes nothing.
    let hot = calibration((&logits * 4.0).view(), &[0, 0, 1, 1], 4.0).unwrap();
    assert!((hot.nll - found.nll).abs() < 1e-15);

    assert!(calibration(logits.view(), &[0, 0, 1, 2], 1.0).is_err());
    assert!(calibration(logits.view(), &[0], 1.0).is_err());
    assert!(calibration(logits.view(), &[0, 0, 1, 1], 0.0).is_err());
    assert!(calibration(Array2::zeros((0, 2)).view(), &[], 1.0).is_err());
    assert!(expected_calibration_error(&[1.5], &[true], 15).is_err());
}

#[test]
fn the_best_temperature_undoes_a_scale() {
    // Labels drawn in proportion to the softmax, so that T = 1 is calibrated.
    let logits = Array2::from_shape_fn(
        (400, 2),
        |(_, class)| if class == 0 { 3f64.ln() } else { 0.0 },
    );
    let labels: Vec<usize> = (0..400).map(|row| usize::from(row % 4 == 0)).collect();
    let found = temperature_optimum((&logits * 5.0).view(), &labels).unwrap();
    assert!((found - 5.0).abs() < 1e-9, "{found}");
    let grid = temperature_grid((&logits * 5.0).view(), &labels).unwrap();
    assert!((grid.by_nll - 5.0).abs() < 1e-9);

    let always_right = vec![0; 400];
    assert!(matches!(
        temperature_optimum(logits.view(), &always_right),
        Err(Error::Undefined { .. })
    ));
    let always_wrong = vec![1; 400];
    assert!(matches!(
        temperature_optimum(logits.view(), &always_wrong),
        Err(Error::Undefined { .. })
    ));
}

#[test]
fn risk_and_coverage() {
    // Errors among the first 1, 2, 3, 4: 0, 0, 1, 1.
    let found = aurc(&[0.9, 0.8, 0.7, 0.6], &[true, true, false, true]).unwrap();
    assert!((found - (1.0 / 3.0 + 1.0 / 4.0) / 4.0).abs() < 1e-15);
    // When all tie, the curve is flat at the error rate.
    assert!((aurc(&[0.5; 4], &[true, false, true, true]).unwrap() - 0.25).abs() < 1e-15);
    assert!(aurc(&[], &[]).is_err());
    assert!(aurc(&[f64::NAN], &[true]).is_err());
}

/// Against the definition of Traub et al. (2024) as a chance, pair by pair, and their closed form by the AUROC of
/// telling right from wrong.
#[test]
fn generalised_risk_and_coverage() {
    // Errors among the first 0 to 4 of 4: 0, 0, 0, 1, 1; trapezoids of their shares.
    let found = augrc(&[0.9, 0.8, 0.7, 0.6], &[true, true, false, true]).unwrap();
    assert!((found - (0.5 + 1.0) / 16.0).abs() < 1e-15);
    let n = 300;
    let confidences: Vec<f64> = (0..n).map(|i| ((i * 37) % 101 / 3) as f64).collect();
    let correct: Vec<bool> = (0..n).map(|i| (i * 29 + i / 7) % 11 > 2).collect();
    let found = augrc(&confidences, &correct).unwrap();
    let mut pairs = 0.0;
    for i in (0..n).filter(|i| !correct[*i]) {
        for j in 0..n {
            pairs += match confidences[i].total_cmp(&confidences[j]) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    assert!((found - pairs / (n * n) as f64).abs() < 1e-14);
    let of = |right: bool| -> Vec<f64> {
        let chosen = (0..n).filter(|i| correct[*i] == right);
        chosen.map(|i| confidences[i]).collect()
    };
    let e = of(false).len() as f64 / n as f64;
    let closed = (1.0 - auroc(&of(true), &of(false)).unwrap()) * e * (1.0 - e) + 0.5 * e * e;
    assert!((found - closed).abs() < 1e-14);
    assert_eq!(augrc(&confidences, &vec![true; n]).unwrap(), 0.0);
    assert_eq!(augrc(&confidences, &vec![false; n]).unwrap(), 0.5);
    assert!(augrc(&[], &[]).is_err());
    assert!(augrc(&[0.5], &[]).is_err());
    assert!(augrc(&[f64::NAN], &[true]).is_err());
}
