//! Statistics against scipy 1.17.1 (`ttest_rel`, `ttest_ind(equal_var=False)`, `ttest_1samp`,
//! `permutation_test(n_resamples=inf)`, `spearmanr`, `ks_2samp`), by hand and by property.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_report::statistics::{
    association_within_groups, equivalence, holm, kolmogorov_smirnov, paired_difference, sign_flip,
    spearman, stratified_difference, summarize, t_interval, unpaired_difference,
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

fn pairs(first: &[f64], second: &[f64]) -> Vec<(f64, f64)> {
    first.iter().copied().zip(second.iter().copied()).collect()
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
fn t_intervals_and_p_values_agree_with_scipy() {
    close(
        t_interval(&A, 0.95).unwrap(),
        (92.7894219579209, 95.01057804207912),
    );
    let paired = paired_difference(&A, &B).unwrap();
    close(
        paired.interval(0.95).unwrap(),
        (-0.3035871773313392, 4.583587177331335),
    );
    let unpaired = unpaired_difference(&A, &B).unwrap();
    close(
        unpaired.interval(0.95).unwrap(),
        (0.5254805802425329, 3.7545194197574965),
    );
    assert!(t_interval(&[1.0], 0.95).is_none());
    let alone = paired_difference(&[1.0], &[0.0]).unwrap();
    assert!(alone.interval(0.95).is_none() && alone.p_value(0.0).is_none());
}

/// A p-value of 1 − level at a threshold is an interval of that level that ends at it.
#[test]
fn p_values_and_intervals_are_two_sides_of_one_test() {
    for difference in [
        paired_difference(&A, &B).unwrap(),
        unpaired_difference(&A, &B).unwrap(),
        stratified_difference(&[A.to_vec(), vec![3.0, 1.0, 2.0]]).unwrap(),
    ] {
        for level in [0.8, 0.95] {
            let (low, high) = difference.interval(level).unwrap();
            for end in [low, high] {
                assert!((difference.p_value(end).unwrap() - (1.0 - level)).abs() < 1e-9);
            }
        }
        assert!((difference.p_value(difference.mean).unwrap() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_level_outside_its_range_has_no_interval() {
    for level in [0.0, 1.0, -0.5, 1.5, f64::NAN] {
        assert!(t_interval(&A, level).is_none(), "{level}");
    }
}

#[test]
fn exact_permutation_tests_agree_with_scipy() {
    let paired = paired_difference(&A, &B).unwrap().permutation;
    assert!(paired.exact && (paired.p_value - 0.125).abs() < 1e-15);
    assert_eq!(paired.smallest, 2.0 / 32.0);
    let unpaired = unpaired_difference(&A, &B).unwrap().permutation;
    assert!(unpaired.exact && (unpaired.p_value - 0.023809523809523808).abs() < 1e-15);
}

#[test]
fn fifteen_seeds_are_enumerated() {
    let values: Vec<f64> = (1..=15).map(f64::from).collect();
    let test = sign_flip(&[values]);
    assert!(test.exact);
    assert_eq!(test.p_value, 2.0 / 32768.0);
    assert_eq!(test.smallest, test.p_value);
}

#[test]
fn many_seeds_are_permuted_at_random_and_repeatably() {
    let first: Vec<f64> = (0..30).map(|i| f64::from(i % 7) + 1.0).collect();
    let second: Vec<f64> = (0..30).map(|i| f64::from(i % 5)).collect();
    let once = unpaired_difference(&first, &second).unwrap();
    let test = once.permutation;
    assert!(!test.exact && test.p_value > 0.0 && test.p_value < 0.05);
    assert_eq!(once, unpaired_difference(&first, &second).unwrap());
    assert!(
        !paired_difference(&first, &second)
            .unwrap()
            .permutation
            .exact
    );
}

#[test]
fn strata_weigh_the_same_whatever_their_size() {
    let found = stratified_difference(&[vec![1.0; 10], vec![4.0, 4.0]]).unwrap();
    assert_eq!((found.mean, found.n), (2.5, 12));
    // Two equal strata: half the sum of their variances of the mean, and twice the degrees.
    let one = stratified_difference(&[A.to_vec()]).unwrap();
    let two = stratified_difference(&[A.to_vec(), A.to_vec()]).unwrap();
    assert!((two.error.unwrap() - one.error.unwrap() / 2f64.sqrt()).abs() < 1e-12);
    assert!((two.degrees - 2.0 * one.degrees).abs() < 1e-9);
    assert!(stratified_difference(&[A.to_vec(), vec![]]).is_none());
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

/// Groups far apart in both quantities, with no order inside: pooled ρ is near 1, within is 0.
#[test]
fn what_groups_differ_in_is_no_association_within_them() {
    let group = |at: f64| {
        vec![
            (at, at),
            (at + 1.0, at + 2.0),
            (at + 2.0, at + 0.5),
            (at + 3.0, at),
        ]
    };
    let groups = [group(0.0), group(100.0), group(200.0)];
    let (first, second): (Vec<f64>, Vec<f64>) = groups.concat().into_iter().unzip();
    assert!(spearman(&first, &second).unwrap() > 0.8);
    let (rho, test) = association_within_groups(&groups).unwrap();
    assert!(rho.abs() < 0.2, "{rho}");
    assert!(test.exact && test.p_value > 0.5);
}

/// Of one group, the exact test is the exact test of Spearman's ρ: here of 4! orders.
#[test]
fn the_association_of_one_group_is_spearmans() {
    let group = pairs(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 4.0, 3.0]);
    let (rho, test) = association_within_groups(std::slice::from_ref(&group)).unwrap();
    assert!((rho - 0.8).abs() < 1e-12);
    // |ρ| is 1 for two orders and at least 0.8 for eight of 24.
    assert!(test.exact && (test.p_value - 8.0 / 24.0).abs() < 1e-12);
    assert!((test.smallest - 2.0 / 24.0).abs() < 1e-12);
    let many: Vec<(f64, f64)> = (0..15).map(|i| (f64::from(i), f64::from(i))).collect();
    let (rho, test) = association_within_groups(&[many]).unwrap();
    assert!(rho > 0.999 && !test.exact && test.p_value < 0.001);
    assert!(association_within_groups(&[vec![(1.0, 2.0)]]).is_none());
}

#[test]
fn worst_cases_compare_minima_and_change_sign_with_the_sides() {
    let found = worst_case_difference(&[pairs(&A, &B)]).unwrap();
    assert!((found.difference - 2.6).abs() < 1e-12);
    let turned = worst_case_difference(&[pairs(&B, &A)]).unwrap();
    assert!((turned.difference + 2.6).abs() < 1e-12);
    assert_eq!(turned.permutation, found.permutation);
    assert!(worst_case_difference(&[]).is_none());
    assert!(worst_case_difference(&[vec![]]).is_none());
}

/// By hand: one side better in every pair. Of 2³ swaps only none and all give so large a gap.
#[test]
fn the_swap_test_counts_swaps() {
    let found = worst_case_difference(&[pairs(&[5.0, 6.0, 7.0], &[1.0, 2.0, 3.0])]).unwrap();
    let test = found.permutation;
    assert!(test.exact);
    assert_eq!((test.p_value, test.smallest), (0.25, 0.25));
}

/// scipy.stats.ks_2samp(A, B): statistic 0.8, exact p 0.07936507936507936.
#[test]
fn the_distance_of_distributions_agrees_with_scipy() {
    let (distance, test) = kolmogorov_smirnov(&A, &B).unwrap();
    assert!((distance - 0.8).abs() < 1e-12);
    assert!(test.exact && (test.p_value - 0.07936507936507936).abs() < 1e-12);
    assert!(kolmogorov_smirnov(&A, &[]).is_none());
}

#[test]
fn equivalence_holds_where_the_90_percent_interval_is_inside_the_margin() {
    let differences = [0.1, -0.2, 0.3, 0.0, -0.1, 0.2];
    let found = equivalence(&differences, 0.25).unwrap();
    let inside = found.interval.0 > -0.25 && found.interval.1 < 0.25;
    assert!(inside && found.p_value < 0.05);
    let edge = found.interval.1.max(-found.interval.0);
    let at_edge = equivalence(&differences, edge).unwrap();
    assert!((at_edge.p_value - 0.05).abs() < 1e-9);
    assert!(equivalence(&differences, 0.01).unwrap().p_value > 0.05);
    assert!(equivalence(&differences, 0.0).is_none());
    assert!(equivalence(&[0.1], 1.0).is_none());
}

/// Holm's own example of procedure: the smallest p times m, the next times m − 1, never falling.
#[test]
fn holm_corrects_in_order() {
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    let expected = [0.03, 0.06, 0.06, 0.02];
    for (found, expected) in corrected.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{corrected:?}");
    }
    assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}
