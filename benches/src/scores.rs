//! Every score of collapse-ood.

use anyhow::Result;
use collapse_ood::{AnyDetector, Detector, Entry, Inputs, Settings, TrainInputs, detectors};
use ndarray::{Array1, Array2, Axis};

use crate::case::{Case, Work};
use crate::inputs::ClassFeatures;
use crate::yardstick::Yardstick;

const CLASSES: ClassFeatures = ClassFeatures {
    d: 64,
    n_classes: 10,
    separation: 1.0,
};
const TRAIN: usize = 1000;
const ROWS: usize = 1000;

/// Scores that the short form measures: one for each way to compute.
const SHORT: [&str; 8] = [
    "max_softmax",
    "energy",
    "gmm_features",
    "relative_mahalanobis",
    "knn",
    "vim",
    "ash",
    "gen",
];

pub(crate) fn cases() -> Vec<Case> {
    detectors().iter().map(case).collect()
}

fn case(entry: &'static Entry) -> Case {
    let name = entry.id();
    let d = CLASSES.d;
    let id = format!("score/{name}/bank{TRAIN}-rows{ROWS}x{d}/seed1");
    let yardstick = Yardstick::new("naive energy score", naive_energy);
    let short = SHORT.contains(&name.as_str());
    Case::new(id, ROWS, yardstick, move || score(entry)).in_short_form(short)
}

/// Features and what a head that finds the classes says of them.
struct Samples {
    features: Array2<f64>,
    logits: Array2<f64>,
    labels: Vec<usize>,
}

/// Mostly positive, as after a leaky ReLU.
fn features(n: usize, purpose: &str) -> (Array2<f64>, Vec<usize>) {
    let (features, labels) = CLASSES.draw(n, purpose);
    (features.mapv(|v| v.max(0.01 * v) + 1.0), labels)
}

/// Weight `[C, D]` and bias `[C]` of a head that looks for the nearest class mean.
fn head() -> (Array2<f64>, Array1<f64>) {
    let (train, labels) = features(TRAIN, "bench-train");
    let mut means = Array2::zeros((CLASSES.n_classes, CLASSES.d));
    for (row, class) in train.rows().into_iter().zip(labels) {
        let mut mean = means.row_mut(class);
        mean += &(&row * (CLASSES.n_classes as f64 / TRAIN as f64));
    }
    let weight = means * 0.2;
    let bias = weight.map_axis(Axis(1), |row| -2.5 * row.dot(&row));
    (weight, bias)
}

fn samples(n: usize, purpose: &str) -> Samples {
    let (features, labels) = features(n, purpose);
    let (weight, bias) = head();
    Samples {
        logits: features.dot(&weight.t()) + &bias,
        features,
        labels,
    }
}

fn score(entry: &Entry) -> Result<Work> {
    let (train, test) = (
        samples(TRAIN, "bench-train"),
        samples(ROWS, "bench-queries"),
    );
    let (weight, bias) = head();
    let inputs = Inputs::new(train.features.view(), train.logits.view(), false)?
        .with_members(vec![train.logits.view(); 2])?;
    let fitted = TrainInputs::new(inputs, &train.labels)?.with_head(weight.view(), bias.view())?;
    let detector: AnyDetector = entry.fit(&fitted, &Settings::default())?;
    let members = entry.needs_members();
    Ok(Box::new(move || {
        let mut inputs = Inputs::new(test.features.view(), test.logits.view(), false)?;
        if members {
            inputs = inputs.with_members(vec![test.logits.view(); 2])?;
        }
        std::hint::black_box(detector.score(&inputs)?);
        Ok(())
    }))
}

/// Logits by plain loops, then the logarithm of the sum of their exponentials, row by row.
fn naive_energy() -> Result<Work> {
    let test = samples(ROWS, "bench-queries");
    let (weight, _) = head();
    Ok(Box::new(move || {
        let mut total = 0.0;
        for row in test.features.rows() {
            let mut sum = 0.0;
            for class in weight.rows() {
                let mut logit = 0.0;
                for (x, w) in row.iter().zip(class) {
                    logit += x * w;
                }
                sum += f64::exp(0.1 * logit);
            }
            total += sum.ln();
        }
        std::hint::black_box(total);
        Ok(())
    }))
}
