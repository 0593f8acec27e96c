//! The verdicts keep their error rates on experiments whose truth is known.
//!
//! The full table stands in `docs/method.md`; here 200 experiments a truth. A rate of 2.5 % on a
//! side gives more than 13 of 200 in one case of 1000, one of 10 % more than 34.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_report::COMPARABLE_MARGIN;
use collapse_report::simulation::{Truth, verdicts};

const REPEATS: u64 = 200;

const NONE: Truth = Truth {
    networks: 1,
    seeds: 5,
    points: 0.0,
    decades: 0.0,
    correlation: 0.0,
    levels: 0.0,
};

fn check(truth: &Truth, claims: &[&str]) {
    let counts = verdicts(truth, REPEATS);
    for claim in claims {
        let count = |verdict: &str| counts[*claim].get(verdict).copied().unwrap_or(0);
        for (sure, leaning) in [
            ("supported", "leaning towards it"),
            ("contradicted", "leaning against it"),
        ] {
            let (sure, either) = (count(sure), count(sure) + count(leaning));
            assert!(
                sure <= 13,
                "{claim} falsely sure in {sure} of {REPEATS}: {truth:?}"
            );
            assert!(
                either <= 34,
                "{claim} falsely leaning in {either} of {REPEATS}: {truth:?}"
            );
        }
    }
}

#[test]
fn without_an_effect_few_verdicts_say_one() {
    for (networks, seeds) in [(1, 3), (1, 5), (2, 5)] {
        let truth = Truth {
            networks,
            seeds,
            ..NONE
        };
        check(&truth, &["C1", "C3", "C4", "C5"]);
        let apart = Truth {
            levels: 2.0,
            ..truth
        };
        check(&apart, &["C5"]);
    }
}

#[test]
fn at_the_margin_few_verdicts_say_comparable_or_worse() {
    let border = Truth {
        points: -COMPARABLE_MARGIN,
        ..NONE
    };
    check(&border, &["C2"]);
}

#[test]
fn an_effect_is_found_and_its_opposite_contradicted() {
    let effect = Truth {
        points: 2.0,
        decades: 0.2,
        correlation: 0.9,
        seeds: 8,
        ..NONE
    };
    let opposite = Truth {
        points: -3.0,
        decades: -0.2,
        correlation: -0.9,
        ..effect
    };
    for (truth, verdict) in [(effect, "supported"), (opposite, "contradicted")] {
        let counts = verdicts(&truth, 50);
        for (claim, counts) in counts {
            let found = counts.get(verdict).copied().unwrap_or(0);
            // The least extreme value moves less surely than the mean.
            let needed = if claim == "C3" { 10 } else { 40 };
            assert!(found >= needed, "{claim} {verdict} in {found} of 50");
        }
    }
}

/// Smaller p-values for larger n, but no verdict that grows easier with n.
#[test]
fn three_seeds_cannot_show_what_only_a_permutation_judges() {
    let effect = Truth {
        points: 50.0,
        seeds: 3,
        ..NONE
    };
    let counts = verdicts(&effect, 20);
    assert_eq!(counts["C3"].get("undecided"), Some(&20));
    assert_eq!(counts["C1"].get("supported"), Some(&20));
}
