//! Algebraic properties of the densities.
#![allow(clippy::unwrap_used)] // A test fails by panicking, its helpers too.

mod common;

use collapse_density::{
    Covariance, Divisor, Jitter, LabelledGaussianMixture, Shrinkage, TiedGaussian,
};
use common::{clusters, normals, relative};
use linfa::prelude::*;
use ndarray::{Array1, Array2, Axis, s};
use proptest::prelude::*;

const FORMS: [Covariance; 6] = [
    Covariance::Full,
    Covariance::Tied,
    Covariance::Diagonal,
    Covariance::Shrinkage(Shrinkage::LedoitWolf),
    Covariance::Shrinkage(Shrinkage::Oas),
    Covariance::LowRank {
        rank: None,
        ridge: 0.01,
    },
];

fn fit(
    x: &Array2<f64>,
    labels: &[usize],
    n_classes: usize,
    form: Covariance,
) -> LabelledGaussianMixture {
    let params = LabelledGaussianMixture::params(n_classes).covariance(form);
    params.check().unwrap().fit_view(x.view(), labels).unwrap()
}

/// `−½ (D ln 2π + ln det Σ + rᵀ Σ⁻¹ r)` with nalgebra's factorisation.
fn by_nalgebra(model: &LabelledGaussianMixture, class: usize, row: &[f64]) -> f64 {
    let d = row.len();
    let covariance = model.covariance(class).unwrap();
    let sigma = nalgebra::DMatrix::from_fn(d, d, |i, j| covariance[[i, j]]);
    let mean = model.class_means().row(class).to_vec();
    let r = nalgebra::DVector::from_fn(d, |i, _| row[i] - mean[i]);
    let factor = sigma.cholesky().unwrap();
    let squared = r.dot(&factor.solve(&r));
    let log_det = 2.0 * factor.l().diagonal().map(f64::ln).sum();
    -0.5 * (d as f64 * std::f64::consts::TAU.ln() + log_det + squared)
}

#[test]
fn every_form_is_the_gaussian_density_of_its_covariance() {
    let (x, labels) = clusters(1, 90, 6, 3, 2.0);
    for form in FORMS {
        let model = fit(&x, &labels, 3, form);
        let densities = model.log_density(x.view()).unwrap();
        for ((i, class), value) in densities.indexed_iter() {
            let expected = by_nalgebra(&model, class, &x.row(i).to_vec());
            assert!(
                (value - expected).abs() < 1e-9 * expected.abs().max(1.0),
                "{form:?}"
            );
        }
        let scores = model.score(x.view()).unwrap();
        let with_priors = model.score_with_priors(x.view(), &model.log_priors().to_vec());
        for (i, with_priors) in with_priors.unwrap().iter().enumerate() {
            let sum: f64 = densities.row(i).iter().map(|v| v.exp()).sum();
            assert!((scores[i] - sum.ln()).abs() < 1e-9);
            assert!((with_priors - (sum / 3.0).ln()).abs() < 1e-9);
        }
    }
}

#[test]
fn covariances_match_their_definitions() {
    let (x, labels) = clusters(2, 80, 5, 2, 1.0);
    let full = fit(&x, &labels, 2, Covariance::Full);
    let diagonal = fit(&x, &labels, 2, Covariance::Diagonal);
    let tied = fit(&x, &labels, 2, Covariance::Tied);
    let mut pooled = Array2::<f64>::zeros((5, 5));
    for class in 0..2 {
        let rows: Vec<usize> = (0..80).filter(|i| labels[*i] == class).collect();
        let own = x.select(Axis(0), &rows);
        let centered = &own - &own.mean_axis(Axis(0)).unwrap();
        let scatter = centered.t().dot(&centered);
        let expected = &scatter / 39.0;
        assert!(relative(&full.covariance(class).unwrap(), &expected) < 1e-13);
        let variances = Array2::from_diag(&expected.diag());
        assert!(relative(&diagonal.covariance(class).unwrap(), &variances) < 1e-13);
        pooled += &scatter;
    }
    assert!(relative(&tied.covariance(1).unwrap(), &(&pooled / 78.0)) < 1e-13);
    let mahalanobis = TiedGaussian::fit(x.view(), &labels, 2, Divisor::Samples);
    let factor = mahalanobis.unwrap().cholesky().to_dense();
    assert!(relative(&factor.dot(&factor.t()), &(&pooled / 80.0)) < 1e-13);
}

/// The formulas of scikit-learn's `ledoit_wolf_shrinkage` and `oas`, written out on the data.
#[test]
fn shrinkage_weights_match_their_formulas() {
    let (x, labels) = clusters(3, 24, 7, 2, 1.0);
    let rows: Vec<usize> = (0..24).filter(|i| labels[*i] == 0).collect();
    let own = x.select(Axis(0), &rows);
    let r = &own - &own.mean_axis(Axis(0)).unwrap();
    let (n, p) = (12.0, 7.0);
    let s = r.t().dot(&r) / n;
    let mu = s.diag().sum() / p;
    let squares = r.mapv(|v| v * v);
    let beta_ = squares.t().dot(&squares).sum();
    let delta_ = s.mapv(|v| v * v).sum() * n * n / (n * n);
    let beta = (beta_ / n - delta_) / (p * n);
    let delta = (delta_ - 2.0 * mu * s.diag().sum() + p * mu * mu) / p;
    let alpha = s.mapv(|v| v * v).mean().unwrap();
    let weights = [
        (Shrinkage::LedoitWolf, beta.min(delta) / delta),
        (
            Shrinkage::Oas,
            ((alpha + mu * mu) / ((n + 1.0) * (alpha - mu * mu / p))).min(1.0),
        ),
    ];
    for (rule, expected) in weights {
        let model = fit(&x, &labels, 2, Covariance::Shrinkage(rule));
        let found = model.shrinkage().unwrap()[0];
        assert!(
            (found - expected).abs() < 1e-12,
            "{rule:?}: {found} against {expected}"
        );
        let shrunk = &s * (1.0 - expected) + Array2::<f64>::eye(7) * (expected * mu);
        assert!(relative(&model.covariance(0).unwrap(), &shrunk) < 1e-12);
    }
}

#[test]
fn merged_parts_equal_the_whole_even_when_collapsed() {
    for scale in [1.0, 1e-6, 1e-9] {
        let (mut x, labels) = clusters(4, 120, 130, 2, 3.0);
        let centers = [1.0, -2.0];
        for (mut row, &label) in x.rows_mut().into_iter().zip(&labels) {
            row.mapv_inplace(|v| centers[label] + scale * v);
        }
        for form in FORMS {
            let params = LabelledGaussianMixture::params(2)
                .covariance(form)
                .jitter(Jitter::Fixed(0.1 * scale * scale));
            let params = params.check().unwrap();
            let whole = params.fit_view(x.view(), &labels).unwrap();
            let mut parts: Vec<_> = [0..7, 7..8, 8..64, 64..120]
                .into_iter()
                .map(|rows| {
                    let mut part = params.streaming(130).unwrap();
                    part.update(x.slice(s![rows.clone(), ..]), &labels[rows])
                        .unwrap();
                    part
                })
                .collect();
            // One pair merged, the last part fed on top.
            let last = parts.split_off(2);
            let (left, right) = parts.split_at_mut(1);
            left[0].merge(&right[0]).unwrap();
            left[0].merge(&last[0]).unwrap();
            left[0]
                .update(x.slice(s![64.., ..]), &labels[64..])
                .unwrap();
            let streamed = left[0].clone().finish().unwrap();
            let error = relative(
                &streamed.covariance(1).unwrap(),
                &whole.covariance(1).unwrap(),
            );
            assert!(error < 1e-12, "{form:?} {scale:e}: {error:e}");
        }
    }
}

/// The covariance of the same numbers in twice the digits is what a stream of collapsed features must find.
#[test]
fn a_stream_of_collapsed_features_is_as_exact_as_two_passes() {
    let (n, d) = (400, 5);
    let mut x = normals(31, n, d);
    x.mapv_inplace(|v| 1.0 + 1e-10 * v);
    // x − 1 is exact, so its moments are those of x without their cancellation.
    let small = &x - 1.0;
    let centered = &small - &small.mean_axis(Axis(0)).unwrap();
    let exact = centered.t().dot(&centered) / (n - 1) as f64;
    let params = LabelledGaussianMixture::params(1).jitter(Jitter::Fixed(0.0));
    let params = params.check().unwrap();
    let covariance = |chunk: usize| {
        let mut statistics = params.streaming(d).unwrap();
        for rows in x.axis_chunks_iter(Axis(0), chunk) {
            statistics.update(rows, &vec![0; rows.nrows()]).unwrap();
        }
        statistics.finish().unwrap().covariance(0).unwrap()
    };
    for chunk in [n, 64, 7, 1] {
        let error = relative(&covariance(chunk), &exact);
        assert!(error < 1e-13, "chunks of {chunk}: {error:e}");
    }
}

/// Features in f32 are multiplied in f64 block by block: the same bits as from a copy in f64, also where classes collapse.
#[test]
fn features_in_f32_lose_nothing() {
    for spread in [1.0, 1e-3, 1e-6] {
        let (x, labels) = clusters(8, 900, 150, 3, 1.0);
        let (centers, _) = clusters(9, 3, 150, 3, 1.0);
        let narrow = Array2::from_shape_fn(x.dim(), |(i, j)| {
            (centers[[i % 3, j]] + spread * x[[i, j]]) as f32
        });
        let wide = narrow.mapv(f64::from);
        for covariance in [Covariance::Full, Covariance::Tied, Covariance::Diagonal] {
            let params = LabelledGaussianMixture::params(3)
                .covariance(covariance)
                .check()
                .unwrap();
            let of_narrow = params.fit_view(narrow.view(), &labels).unwrap();
            let of_wide = params.fit_view(wide.view(), &labels).unwrap();
            assert_eq!(of_narrow.class_means(), of_wide.class_means());
            assert_eq!(of_narrow.log_determinants(), of_wide.log_determinants());
            let (a, b) = (
                of_narrow.score(narrow.view()).unwrap(),
                of_wide.score(wide.view()).unwrap(),
            );
            assert_eq!(a, b, "{covariance:?}, spread {spread}");
        }
    }
}

#[test]
fn the_pruned_score_is_the_log_sum_exp_of_all_classes() {
    for separation in [0.0, 0.1, 3.0] {
        let (x, labels) = clusters(5, 1200, 150, 4, separation);
        let model = fit(&x, &labels, 4, Covariance::Full);
        let test = normals(9, 300, 150) * 2.0;
        for rows in [&x, &test] {
            let densities = model.log_density(rows.view()).unwrap();
            let scores = model.score(rows.view()).unwrap();
            for (row, score) in densities.rows().into_iter().zip(&scores) {
                let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
                let expected = top + sum.ln();
                assert!(
                    (score - expected).abs() <= 1e-13 * expected.abs(),
                    "{score} {expected}"
                );
            }
        }
    }
}

#[test]
fn sampling_and_refitting_recovers_the_model() {
    let (x, labels) = clusters(6, 200, 4, 2, 4.0);
    let model = fit(&x, &labels, 2, Covariance::Full);
    let n = 40_000;
    let rows = [0, 1].map(|class| model.sample(class, normals(70 + class as u64, n, 4).view()));
    let rows = rows.map(Result::unwrap);
    let again = ndarray::concatenate(Axis(0), &[rows[0].view(), rows[1].view()]).unwrap();
    let labels: Vec<usize> = (0..2 * n).map(|i| i / n).collect();
    let refitted = fit(&again, &labels, 2, Covariance::Full);
    for class in 0..2 {
        let (a, b) = (
            refitted.covariance(class).unwrap(),
            model.covariance(class).unwrap(),
        );
        assert!(relative(&a, &b) < 0.03);
    }
    assert!(relative(refitted.class_means(), model.class_means()) < 0.01);
}

#[test]
fn low_rank_with_all_directions_is_the_ridged_covariance() {
    let (x, labels) = clusters(7, 24, 20, 2, 1.0);
    let ridge = 0.05;
    let low = fit(&x, &labels, 2, Covariance::LowRank { rank: None, ridge });
    let params = LabelledGaussianMixture::params(2)
        .jitter(Jitter::Fixed(ridge))
        .check();
    let full = params.unwrap().fit_view(x.view(), &labels).unwrap();
    let test = normals(8, 10, 20);
    let (a, b) = (low.log_density(test.view()), full.log_density(test.view()));
    assert!(relative(&a.unwrap(), &b.unwrap()) < 1e-11);
}

#[test]
fn linfa_data_sets_of_f32_and_f64_fit_and_predict() {
    let (x, labels) = clusters(12, 60, 3, 2, 8.0);
    let dataset = Dataset::new(x.clone(), Array1::from(labels.clone()));
    let model = LabelledGaussianMixture::params(2).fit(&dataset).unwrap();
    let predicted: Array1<usize> = Predict::predict(&model, &x);
    assert_eq!(predicted.to_vec(), labels);
    // linfa's trait has no errors: a row that cannot be evaluated gets no class.
    let mut broken = x.clone();
    broken[[1, 2]] = f64::NAN;
    let predicted: Array1<usize> = Predict::predict(&model, &broken);
    assert_eq!((predicted[0], predicted[1]), (labels[0], 2));
    let single = Dataset::new(x.mapv(|v| v as f32), Array1::from(labels));
    let from_f32 = LabelledGaussianMixture::params(2).fit(&single).unwrap();
    let (a, b) = (
        from_f32.score(x.view()).unwrap(),
        model.score(x.view()).unwrap(),
    );
    assert!(relative(&a, &b) < 1e-4);
}

#[test]
fn a_model_survives_serialisation() {
    let (x, labels) = clusters(13, 60, 3, 2, 1.0);
    for form in FORMS {
        let model = fit(&x, &labels, 2, form);
        let text = serde_json::to_string(&model).unwrap();
        let again: LabelledGaussianMixture = serde_json::from_str(&text).unwrap();
        assert_eq!(
            again.score(x.view()).unwrap(),
            model.score(x.view()).unwrap()
        );
    }
}

#[test]
fn stored_parts_that_do_not_fit_are_refused() {
    let (x, labels) = clusters(13, 60, 3, 2, 1.0);
    for form in [Covariance::Full, Covariance::Tied, Covariance::Diagonal] {
        let model = serde_json::to_value(fit(&x, &labels, 2, form)).unwrap();
        let changes: [fn(&mut serde_json::Value); 3] = [
            |model| model["counts"] = serde_json::json!([1]),
            |model| model["class_means"]["dim"] = serde_json::json!([3, 2]),
            |model| model["log_determinants"] = serde_json::json!([0.0, 0.0, 0.0]),
        ];
        for change in changes {
            let mut broken = model.clone();
            change(&mut broken);
            assert!(
                serde_json::from_value::<LabelledGaussianMixture>(broken).is_err(),
                "{form:?}"
            );
        }
    }
    let short = r#"{"dimension": 2, "panels": [[1.0, 0.0, 0.0]]}"#;
    assert!(serde_json::from_str::<collapse_numeric::Cholesky>(short).is_err());
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let (x, labels) = clusters(14, 700, 140, 3, 0.5);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let model = fit(&x, &labels, 3, Covariance::Full);
            (model.score(x.view()).unwrap(), model.covariance(2).unwrap())
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// `x ↦ A x + b` shifts every log-density by `−ln |det A|`; a rotation leaves it.
    #[test]
    fn log_densities_are_affine_covariant(seed in 0u64..1000, stretch in 0.2f64..5.0) {
        let (x, labels) = clusters(seed, 60, 4, 2, 1.0);
        let a = normals(seed + 7, 4, 4);
        let matrix = nalgebra::DMatrix::from_fn(4, 4, |i, j| a[[i, j]]);
        let q = matrix.qr().q();
        let map = Array2::from_shape_fn((4, 4), |(i, j)| q[(i, j)] * if i == 0 { stretch } else { 1.0 });
        let moved = x.dot(&map.t()) + 3.0;
        let before = fit(&x, &labels, 2, Covariance::Full).log_density(x.view()).unwrap();
        let after = fit(&moved, &labels, 2, Covariance::Full).log_density(moved.view()).unwrap();
        let expected = before - stretch.ln();
        prop_assert!(relative(&after, &expected) < 1e-10);
    }

    /// Renaming the classes permutes the columns and leaves the score.
    #[test]
    fn class_names_do_not_matter(seed in 0u64..1000) {
        let (x, labels) = clusters(seed, 60, 3, 3, 1.0);
        let renamed: Vec<usize> = labels.iter().map(|l| (l + 1) % 3).collect();
        for form in FORMS {
            let a = fit(&x, &labels, 3, form).score(x.view()).unwrap();
            let b = fit(&x, &renamed, 3, form).score(x.view()).unwrap();
            prop_assert!(relative(&a, &b) < 1e-11);
        }
    }
}
