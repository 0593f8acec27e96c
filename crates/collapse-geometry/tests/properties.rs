//! Invariances of the measures, agreement of their two routes, and bad input.
#![allow(clippy::unwrap_used)] // A test fails by panicking, its helpers too.

use collapse_geometry::{
    ClassScatter, Collapse, Error, Head, Result, RowsView, measure, simplex_etf,
};
use collapse_numeric as numeric;
use ndarray::{Array1, Array2, s};
use proptest::prelude::*;

/// Uniform numbers in −1..1 from a linear congruential generator.
fn uniform(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D;
    Array2::from_shape_simple_fn((rows, columns), || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

struct Case {
    features: Array2<f64>,
    labels: Vec<usize>,
    weight: Array2<f64>,
    bias: Array1<f64>,
}

impl Case {
    fn new(seed: u64, n: usize, d: usize, n_classes: usize, noise: f64) -> Self {
        let labels: Vec<usize> = (0..n)
            .map(|i| (i * i + i / n_classes) % n_classes)
            .collect();
        let labels = (0..n)
            .map(|i| if i < n_classes { i } else { labels[i] })
            .collect::<Vec<_>>();
        let centers = uniform(seed + 1, n_classes, d);
        let mut features = uniform(seed, n, d) * noise;
        for (mut row, &label) in features.rows_mut().into_iter().zip(&labels) {
            row += &centers.row(label);
        }
        let weight = uniform(seed + 2, n_classes, d) * 0.3 + &centers;
        let bias = uniform(seed + 3, 1, n_classes).row(0).to_owned() * 0.1;
        Self {
            features,
            labels,
            weight,
            bias,
        }
    }

    fn measure(&self) -> Result<Collapse> {
        let head = Head {
            weight: self.weight.view(),
            bias: self.bias.view(),
        };
        measure(
            self.features.view(),
            &self.labels,
            self.weight.nrows(),
            head,
        )
    }
}

fn close(a: f64, b: f64, limit: f64) -> bool {
    (a - b).abs() <= limit * a.abs().max(b.abs()).max(1e-6)
}

fn same(a: &Collapse, b: &Collapse) -> bool {
    let numbers = |c: &Collapse| {
        let (v, s) = (c.variability, c.structure);
        [
            v.nc1,
            v.trace_ratio,
            v.cdnv,
            s.nc2_norms_means,
            s.nc2_norms_classifier,
            s.nc2_angles_means,
            s.nc2_angles_classifier,
            s.nc2_etf_means,
            s.nc3,
            s.nc3_dual_err,
            s.nc3_cosine,
            s.nc3_distance,
            c.nc4,
            c.accuracy,
            c.nearest_mean_accuracy,
        ]
    };
    numbers(a)
        .into_iter()
        .zip(numbers(b))
        .all(|(a, b)| close(a, b, 1e-9))
}

/// `tr(Σ_W Σ_B⁺)` from the definition, with nalgebra's pseudo-inverse.
#[test]
fn nc1_matches_its_definition() {
    let case = Case::new(1, 200, 12, 5, 0.4);
    let found = case.measure().unwrap();
    let (n, d, c) = (200, 12, 5);
    let mut scatter = ClassScatter::new(c, d).unwrap();
    scatter.update(case.features.view(), &case.labels).unwrap();
    let means = scatter.class_means();
    let global = means.mean_axis(ndarray::Axis(0)).unwrap();
    let within = nalgebra::DMatrix::from_fn(d, d, |i, j| {
        let terms = (0..n).map(|r| {
            let mean = means.row(case.labels[r]);
            (case.features[[r, i]] - mean[i]) * (case.features[[r, j]] - mean[j])
        });
        terms.sum::<f64>() / n as f64
    });
    let between = nalgebra::DMatrix::from_fn(d, d, |i, j| {
        let terms = means
            .rows()
            .into_iter()
            .map(|m| (m[i] - global[i]) * (m[j] - global[j]));
        terms.sum::<f64>() / c as f64
    });
    let expected = (&within * between.clone().pseudo_inverse(1e-10).unwrap()).trace();
    assert!(close(found.variability.nc1, expected, 1e-9));
    let ratio = within.trace() / between.trace();
    assert!(close(found.variability.trace_ratio, ratio, 1e-12));
    let weighted = found
        .classes
        .iter()
        .map(|k| k.nc1 * k.count as f64)
        .sum::<f64>()
        / n as f64;
    assert!(close(weighted, expected, 1e-9));
    let streamed = scatter.within_class_covariance().unwrap();
    assert!(
        streamed
            .indexed_iter()
            .all(|((i, j), v)| close(*v, within[(i, j)], 1e-9))
    );
}

#[test]
fn merged_chunks_equal_the_whole_even_when_collapsed() {
    for noise in [1.0, 1e-8] {
        let case = Case::new(3, 150, 140, 4, noise);
        let mut parts = [0..1, 1..40, 40..150].map(|rows| {
            let mut part = ClassScatter::new(4, 140).unwrap();
            let chunk = case.features.slice(s![rows.clone(), ..]);
            part.update(chunk, &case.labels[rows]).unwrap();
            part
        });
        let [first, rest @ ..] = &mut parts;
        rest.iter().for_each(|part| first.merge(part).unwrap());
        let (streamed, whole) = (
            first.variability().unwrap(),
            case.measure().unwrap().variability,
        );
        let limit = if noise == 1.0 { 1e-11 } else { 1e-6 };
        assert!(
            (streamed.nc1 / whole.nc1 - 1.0).abs() < limit,
            "{streamed:?} {whole:?}"
        );
        assert!((streamed.cdnv / whole.cdnv - 1.0).abs() < limit);
    }
}

#[test]
fn total_collapse_is_zero_at_any_scale() {
    let etf = simplex_etf(6, 9).unwrap();
    let labels: Vec<usize> = (0..60).map(|i| i % 6).collect();
    for scale in [1e-300, 1e-150, 1.0, 1e150, 1e300] {
        let case = Case {
            features: etf.select(ndarray::Axis(0), &labels) * scale,
            labels: labels.clone(),
            weight: &etf * 4.0,
            bias: Array1::zeros(6),
        };
        let found = case.measure().unwrap();
        assert!(found.variability.nc1 < 1e-20 && found.variability.cdnv < 1e-20);
        let s = found.structure;
        for value in [
            s.nc2_norms_means,
            s.nc2_angles_means,
            s.nc2_etf_classifier,
            s.nc3,
            s.nc3_dual_err,
        ] {
            assert!(value.abs() < 1e-12, "{scale:e}: {found:?}");
        }
        assert_eq!((found.nc4, found.accuracy), (0.0, 1.0));
        assert!((found.classes[2].mean_norm / scale - 1.0).abs() < 1e-12);
    }
}

#[test]
fn undefined_measures_are_typed_errors() {
    let good = || Case::new(5, 30, 4, 3, 0.5);
    let fails = |change: &dyn Fn(&mut Case)| {
        let mut case = good();
        change(&mut case);
        case.measure().unwrap_err()
    };
    assert!(matches!(
        fails(&|c| c.features[[7, 2]] = f64::NAN),
        Error::Numeric(numeric::Error::NotFinite {
            row: 7,
            column: 2,
            ..
        })
    ));
    assert!(matches!(
        fails(&|c| c.weight[[1, 0]] = f64::INFINITY),
        Error::Numeric(numeric::Error::NotFinite { .. })
    ));
    assert!(matches!(
        fails(&|c| c.bias[1] = f64::NAN),
        Error::Numeric(numeric::Error::NotFinite { .. })
    ));
    assert!(matches!(
        fails(&|c| c.labels[4] = 3),
        Error::Numeric(numeric::Error::LabelOutOfRange {
            row: 4,
            label: 3,
            ..
        })
    ));
    assert!(matches!(
        fails(&|c| c.labels.truncate(5)),
        Error::Numeric(numeric::Error::LabelCount { .. })
    ));
    assert!(matches!(
        fails(&|c| c.labels.fill(0)),
        Error::EmptyClass { class: 1 }
    ));
    assert!(matches!(
        fails(&|c| c.features = Array2::zeros((0, 4))),
        Error::Empty { .. }
    ));
    assert!(matches!(
        fails(&|c| c.features.fill(1.0)),
        Error::Degenerate { .. }
    ));
    assert!(matches!(
        fails(&|c| c.weight.row_mut(2).fill(0.0)),
        Error::Degenerate { class: 2, .. }
    ));
    assert!(matches!(
        fails(&|c| c.weight = Array2::zeros((3, 5))),
        Error::Shape { .. }
    ));
    assert!(matches!(
        fails(&|c| c.bias = Array1::zeros(2)),
        Error::Shape { .. }
    ));
    let one = Case {
        labels: vec![0; 30],
        weight: Array2::ones((1, 4)),
        bias: Array1::zeros(1),
        ..good()
    };
    assert!(matches!(
        one.measure(),
        Err(Error::TooFewClasses { n_classes: 1 })
    ));
    assert!(ClassScatter::new(3, 4).unwrap().variability().is_err());
}

#[test]
fn a_stream_refuses_what_it_cannot_square() {
    for scale in [1e-300, 1e300] {
        let case = Case::new(5, 30, 4, 3, 0.5);
        let mut scatter = ClassScatter::new(3, 4).unwrap();
        let before = scatter.clone();
        let error = scatter.update((&case.features * scale).view(), &case.labels);
        assert!(matches!(error, Err(Error::Range { .. })), "{error:?}");
        assert_eq!(scatter, before);
        // All at once is scaled first.
        let scaled = Case {
            features: &case.features * scale,
            ..case
        };
        assert!(scaled.measure().unwrap().variability.nc1.is_finite());
    }
}

#[test]
fn one_sample_a_class_has_no_spread() {
    let found = Case::new(6, 5, 8, 5, 1.0).measure().unwrap();
    assert!(found.variability.nc1 < 1e-20);
}

#[test]
fn many_classes_in_few_and_in_many_dimensions() {
    for (d, n_classes) in [(16, 100), (256, 100), (2048, 10), (2048, 1000), (32, 1000)] {
        let found = Case::new(7, 4 * n_classes, d, n_classes, 0.1)
            .measure()
            .unwrap();
        assert!(found.variability.nc1.is_finite() && found.variability.nc1 > 0.0);
        assert_eq!(found.classes.len(), n_classes);
    }
}

#[test]
fn results_survive_json() {
    let found = Case::new(8, 40, 4, 3, 0.5).measure().unwrap();
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.contains("\"nc1\"") && text.contains("\"nc2_norms_means\""));
    assert_eq!(serde_json::from_str::<Collapse>(&text).unwrap(), found);
}

/// The measures of f32 features, of which no whole copy is made, are those of the same numbers in f64.
#[test]
fn the_precision_of_the_features_does_not_matter() {
    let mut case = Case::new(5, 700, 6, 3, 0.4);
    let narrow = case.features.mapv(|value| value as f32);
    case.features = narrow.mapv(f64::from);
    let head = || Head {
        weight: case.weight.view(),
        bias: case.bias.view(),
    };
    let expected = case.measure().unwrap();
    let found = measure(narrow.view(), &case.labels, 3, head()).unwrap();
    assert_eq!(found, expected);
    let turned = narrow.t().as_standard_layout().into_owned();
    let found = measure(turned.t(), &case.labels, 3, head()).unwrap();
    assert_eq!(found, expected);
    let unit = numeric::normalize_rows(case.features.view());
    let view = RowsView::from(narrow.view()).normalized();
    let found = measure(view, &case.labels, 3, head()).unwrap();
    let of_unit = measure(unit.view(), &case.labels, 3, head()).unwrap();
    assert_eq!(found, of_unit);
    let mut scatters = [
        ClassScatter::new(3, 6).unwrap(),
        ClassScatter::new(3, 6).unwrap(),
    ];
    scatters[0].update(narrow.view(), &case.labels).unwrap();
    scatters[1]
        .update(case.features.view(), &case.labels)
        .unwrap();
    assert_eq!(scatters[0], scatters[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn rotation_scale_and_class_names_do_not_matter(seed in 0u64..10_000, scale in 0.01f64..100.0) {
        let case = Case::new(seed, 90, 7, 4, 0.5);
        let before = case.measure().unwrap();
        let random = uniform(seed + 9, 7, 7);
        let q = nalgebra::DMatrix::from_fn(7, 7, |i, j| random[[i, j]]).qr().q();
        let rotation = Array2::from_shape_fn((7, 7), |(i, j)| q[(i, j)]);
        let rotated = Case {
            features: case.features.dot(&rotation) * scale,
            labels: case.labels.clone(),
            weight: case.weight.dot(&rotation),
            bias: &case.bias * scale,
        };
        prop_assert!(same(&rotated.measure().unwrap(), &before));

        let order = [2, 0, 3, 1];
        let renamed = Case {
            features: case.features.clone(),
            labels: case.labels.iter().map(|l| order.iter().position(|o| o == l).unwrap()).collect(),
            weight: case.weight.select(ndarray::Axis(0), &order),
            bias: case.bias.select(ndarray::Axis(0), &order),
        };
        prop_assert!(same(&renamed.measure().unwrap(), &before));
    }
}
