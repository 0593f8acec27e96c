//! What a threshold promises, held against many draws.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_ood::Error;
use collapse_ood::metrics::{Threshold, share_interval};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn uniform(draw: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let scale = 1.0 / (1u64 << 53) as f64;
    (0..n)
        .map(|_| (draw.next_u64() >> 11) as f64 * scale)
        .collect()
}

#[test]
fn the_accepted_share_of_fresh_samples_is_the_one_asked_for() {
    let mut draw = ChaCha8Rng::seed_from_u64(7);
    const TRIALS: usize = 1000;
    for (n, accept) in [(99, 0.95), (200, 0.95), (200, 0.8), (1000, 0.99)] {
        let (mut sum, mut squares, mut covered) = (0.0, 0.0, 0);
        for _ in 0..TRIALS {
            let held_out = uniform(&mut draw, n);
            let threshold = Threshold::conformal(&held_out, accept, 0.9).unwrap();
            // Of uniform confidences the share above the threshold is known exactly.
            let share = 1.0 - threshold.value;
            sum += share;
            squares += share * share;
            covered += usize::from((threshold.share.low..=threshold.share.high).contains(&share));
        }
        let trials = TRIALS as f64;
        let mean = sum / trials;
        let error = ((squares / trials - mean * mean) / trials).sqrt();
        let promised = accept - 4.0 * error..=accept + 1.0 / (n as f64 + 1.0) + 4.0 * error;
        assert!(
            promised.contains(&mean),
            "n {n}, accept {accept}: {mean} ± {error}"
        );
        // 1,000 trials at 90 %: 900 ± 4 standard deviations of 9.5.
        assert!(
            (862..=938).contains(&covered),
            "n {n}, accept {accept}: {covered}"
        );
    }
}

#[test]
fn the_rank_is_exact_where_the_product_is_whole() {
    let held_out: Vec<f64> = (1..=19).map(f64::from).collect();
    // (1 − 0.95) · 20 = 1, though not in floating point.
    let threshold = Threshold::conformal(&held_out, 0.95, 0.95).unwrap();
    assert_eq!(threshold.value, 1.0);
    assert!(threshold.accepts(1.0) && !threshold.accepts(0.5));
    // Beta(19, 1) has the quantiles p^(1/19).
    assert!((threshold.share.low - 0.025f64.powf(1.0 / 19.0)).abs() < 1e-9);
    assert!((threshold.share.high - 0.975f64.powf(1.0 / 19.0)).abs() < 1e-9);
    // With 18 samples nothing may be rejected.
    let none = Threshold::conformal(&held_out[..18], 0.95, 0.95).unwrap();
    assert_eq!((none.value, none.share.low), (f64::NEG_INFINITY, 1.0));
}

#[test]
fn shares_have_clopper_and_pearsons_interval() {
    let none = share_interval(0, 10, 0.95).unwrap();
    assert_eq!(none.low, 0.0);
    assert!((none.high - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-9);
    let all = share_interval(10, 10, 0.95).unwrap();
    assert!((all.low - 0.025f64.powf(0.1)).abs() < 1e-9);
    assert_eq!(all.high, 1.0);
    let half = share_interval(5, 10, 0.95).unwrap();
    assert!((half.low + half.high - 1.0).abs() < 1e-9);
    assert!(half.low > 0.18 && half.low < 0.19, "{half:?}");
}

#[test]
fn what_gives_no_threshold_is_an_error() {
    for accept in [0.0, 1.0, f64::NAN, -1.0] {
        let found = Threshold::conformal(&[1.0], accept, 0.95);
        assert!(matches!(found, Err(Error::Setting { .. })), "{accept}");
    }
    assert!(matches!(
        Threshold::conformal(&[], 0.95, 0.95),
        Err(Error::Undefined { .. })
    ));
    assert!(matches!(
        Threshold::conformal(&[1.0, f64::NAN], 0.95, 0.95),
        Err(Error::NotANumber { index: 1, .. })
    ));
    assert!(share_interval(3, 2, 0.95).is_err());
    assert!(share_interval(1, 2, 1.0).is_err());
}

#[test]
fn within_each_class_the_share_is_the_one_asked_for() {
    let mut draw = ChaCha8Rng::seed_from_u64(11);
    const TRIALS: usize = 1000;
    // Class 0 is confident, class 1 is not: one threshold for both would reject class 1 alone. Class 2 has few samples.
    let sizes = [300, 150, 10];
    let classes: Vec<usize> = (0..3).flat_map(|class| vec![class; sizes[class]]).collect();
    let (mut sums, mut squares) = ([0.0; 3], [0.0; 3]);
    for _ in 0..TRIALS {
        let held_out: Vec<f64> = uniform(&mut draw, classes.len())
            .into_iter()
            .zip(&classes)
            .map(|(value, class)| value - 10.0 * *class as f64)
            .collect();
        let found = Threshold::conformal_by_class(&held_out, &classes, 4, 0.9, 0.95).unwrap();
        assert_eq!((found.len(), found[2].n, found[3].n), (4, 10, 0));
        assert_eq!(found[3].value, f64::NEG_INFINITY);
        for class in 0..3 {
            let share = 1.0 - (found[class].value + 10.0 * class as f64);
            sums[class] += share;
            squares[class] += share * share;
        }
    }
    for (class, n) in sizes.into_iter().enumerate() {
        let mean = sums[class] / TRIALS as f64;
        let error = ((squares[class] / TRIALS as f64 - mean * mean) / TRIALS as f64).sqrt();
        let promised = 0.9 - 4.0 * error..=0.9 + 1.0 / (n as f64 + 1.0) + 4.0 * error;
        assert!(promised.contains(&mean), "class {class}: {mean} ± {error}");
    }
    let other = Threshold::conformal_by_class(&[1.0, 2.0], &[0], 1, 0.9, 0.95);
    assert!(matches!(other, Err(Error::Shape { .. })));
    assert!(Threshold::conformal_by_class(&[1.0], &[4], 3, 0.9, 0.95).is_err());
}
