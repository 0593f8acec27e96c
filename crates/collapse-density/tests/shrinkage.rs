//! Shrinkage against scikit-learn 1.9.1; the numbers are printed by benches/peers/shrinkage_reference.py.
#![allow(clippy::unwrap_used)] // A test fails by panicking, its helpers too.

use collapse_density::{Covariance, Jitter, LabelledGaussianMixture, Shrinkage};
use ndarray::{Array2, s};

/// splitmix64 in −1..1, each column plus half of the one before.
fn fill(seed: u64, n: usize, d: usize) -> Array2<f64> {
    let mut state = seed;
    let mut x = Array2::from_shape_simple_fn((n, d), || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        2.0 * ((z ^ (z >> 31)) >> 40) as f64 * 2f64.powi(-24) - 1.0
    });
    for j in (1..d).rev() {
        let before = x.column(j - 1).to_owned();
        x.column_mut(j).scaled_add(0.5, &before);
    }
    x
}

struct Reference {
    seed: u64,
    n: usize,
    d: usize,
    rule: Shrinkage,
    weight: f64,
    covariance_01: f64,
    trace: f64,
}

#[test]
fn weights_and_covariances_agree_with_scikit_learn() {
    use Shrinkage::{LedoitWolf, Oas};
    let references = [
        (
            1,
            12,
            7,
            LedoitWolf,
            0.621561645613926,
            0.01524304319479997,
            2.72256861601726,
        ),
        (
            1,
            12,
            7,
            Oas,
            0.7604179262523285,
            0.009650078689196139,
            2.72256861601726,
        ),
        (
            2,
            40,
            7,
            LedoitWolf,
            0.44162143336517923,
            0.04378764049813907,
            2.4295232912839326,
        ),
        (
            2,
            40,
            7,
            Oas,
            0.5074277150497511,
            0.03862715981871534,
            2.4295232912839317,
        ),
        (
            3,
            10,
            30,
            LedoitWolf,
            0.8181048741198509,
            0.07824814676746482,
            11.438745090149773,
        ),
        (
            3,
            10,
            30,
            Oas,
            0.9113500817505378,
            0.038135666255720735,
            11.438745090149773,
        ),
        (
            4,
            200,
            30,
            LedoitWolf,
            0.3097974232808008,
            0.14646093086248063,
            12.753607552001517,
        ),
        (
            4,
            200,
            30,
            Oas,
            0.32450795138020305,
            0.14333935799157307,
            12.753607552001514,
        ),
        (
            5,
            2,
            5,
            LedoitWolf,
            0.0,
            -0.0014176890455903646,
            0.7617871240557887,
        ),
        (
            5,
            2,
            5,
            Oas,
            0.8333333333333334,
            -0.00023628150759839403,
            0.7617871240557885,
        ),
    ];
    for (seed, n, d, rule, weight, covariance_01, trace) in references {
        let reference = Reference {
            seed,
            n,
            d,
            rule,
            weight,
            covariance_01,
            trace,
        };
        check(&reference, n);
        // In chunks the fourth moments have to move with the mean.
        check(&reference, n.div_ceil(3));
    }
}

fn check(reference: &Reference, chunk: usize) {
    let Reference { seed, n, d, .. } = *reference;
    let x = fill(seed, n, d);
    // Two samples in five dimensions with no weight on the identity need a little on the diagonal.
    let params = LabelledGaussianMixture::params(1)
        .covariance(Covariance::Shrinkage(reference.rule))
        .jitter(Jitter::Fixed(1e-14));
    let mut statistics = params.check().unwrap().streaming(d).unwrap();
    for start in (0..n).step_by(chunk) {
        let rows = x.slice(s![start..n.min(start + chunk), ..]);
        statistics.update(rows, &vec![0; rows.nrows()]).unwrap();
    }
    let model = statistics.finish().unwrap();
    let covariance = model.covariance(0).unwrap();
    let found = [
        model.shrinkage().unwrap()[0],
        covariance[[0, 1]],
        covariance.diag().sum(),
    ];
    let expected = [reference.weight, reference.covariance_01, reference.trace];
    for (found, expected) in found.into_iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{:?} of seed {seed} in chunks of {chunk}: {found} against {expected}",
            reference.rule
        );
    }
}
