//! Statistics against scipy 1.17.1 (`ttest_rel`, `ttest_ind(equal_var=False)`, `ttest_1samp`,
//! `permutation_test(n_resamples=inf)`, `spearmanr`) and by property.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_report::statistics::{
    bootstrap_interval, paired_difference, spearman, summarize, t_interval, unpaired_difference,
    worst_case_difference,
};

const A: [f64; 5] = [94.1, 93.2, 95.0, 94.4, 92.8];
const B: [f64; 5] = [91.0, 93.5, 90.2, 92.2, 91.9];

fn close(found: (f64, f64), expected: (f64, f64)) {
    let gap = (found.0 - expected.0)
        .abs()
        .max((found.1 - expected.1).abs());
    assert!(gap < 1e-9, "{found:?} against {expected:?}");
}

#[test]
fn summaries_agree_with_numpy() {
    let summary = summarize(&A).unwrap();
    assert!((summary.mean - 93.9).abs() < 1e-12);
    assert!((summary.std.unwrap() - 0.8944271909999166).abs() < 1e-12);
    assert_eq!(
        (summary.min, summary.max, summary.median, summary.n),
        (92.8, 95.0, 94.1, 5)
    );
    assert_eq!(summarize(&[2.0, 1.0]).unwrap().median, 1.5);
    assert_eq!(summarize(&[7.0]).unwrap().std, None);
    assert!(summarize(&[]).is_none() && summarize(&[1.0, f64::NAN]).is_none());
}

#[test]
fn t_intervals_agree_with_scipy() {
    close(
        t_interval(&A, 0.95).unwrap(),
        (92.7894219579209, 95.01057804207912),
    );
    let paired = paired_difference(&A, &B).unwrap();
    close(
        paired.interval.unwrap(),
        (-0.3035871773313392, 4.583587177331335),
    );
    let unpaired = unpaired_difference(&A, &B).unwrap();
    close(
        unpaired.interval.unwrap(),
        (0.5254805802425329, 3.7545194197574965),
    );
    assert!(t_interval(&[1.0], 0.95).is_none());
}

#[test]
fn a_level_outside_its_range_has_no_interval() {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    for level in [0.0, 1.0, -0.5, 1.5, f64::NAN] {
        assert!(t_interval(&A, level).is_none(), "{level}");
        assert!(bootstrap_interval(&A, level, mean).is_none(), "{level}");
    }
}

#[test]
fn exact_permutation_tests_agree_with_scipy() {
    let paired = paired_difference(&A, &B).unwrap();
    assert!(paired.exact && (paired.p_value - 0.125).abs() < 1e-15);
    let unpaired = unpaired_difference(&A, &B).unwrap();
    assert!(unpaired.exact && (unpaired.p_value - 0.023809523809523808).abs() < 1e-15);
}

#[test]
fn many_seeds_are_permuted_at_random_and_repeatably() {
    let first: Vec<f64> = (0..30).map(|i| f64::from(i % 7) + 1.0).collect();
    let second: Vec<f64> = (0..30).map(|i| f64::from(i % 5)).collect();
    let once = unpaired_difference(&first, &second).unwrap();
    assert!(!once.exact && once.p_value > 0.0 && once.p_value < 0.05);
    assert_eq!(once, unpaired_difference(&first, &second).unwrap());
    assert!(!paired_difference(&first, &second).unwrap().exact);
}

#[test]
fn rank_correlation_agrees_with_scipy() {
    let rho = spearman(
        &[1.0, 2.0, 2.0, 3.0, 5.0, 4.0],
        &[2.0, 1.0, 4.0, 4.0, 6.0, 5.0],
    )
    .unwrap();
    assert!((rho - 0.8676470588235294).abs() < 1e-12);
    assert!(spearman(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]).is_none());
}

#[test]
fn bootstrap_holds_the_mean_moves_with_a_shift_and_shrinks_with_n() {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (low, high) = bootstrap_interval(&A, 0.95, mean).unwrap();
    assert!(low < 93.9 && high > 93.9 && low >= 92.8 && high <= 95.0);
    let shifted: Vec<f64> = A.iter().map(|v| v + 10.0).collect();
    close(
        bootstrap_interval(&shifted, 0.95, mean).unwrap(),
        (low + 10.0, high + 10.0),
    );
    let many = A.repeat(20);
    let (low_many, high_many) = bootstrap_interval(&many, 0.95, mean).unwrap();
    assert!(high_many - low_many < 0.4 * (high - low));
}

#[test]
fn worst_cases_compare_minima_and_change_sign_with_the_sides() {
    let (gap, interval) = worst_case_difference(&A, &B).unwrap();
    assert!((gap - 2.6).abs() < 1e-12);
    let (low, high) = interval.unwrap();
    assert!(low <= gap && gap <= high);
    assert!((worst_case_difference(&B, &A).unwrap().0 + 2.6).abs() < 1e-12);
    assert!(worst_case_difference(&A, &[1.0]).unwrap().1.is_none());
}
