//! Every score of collapse-ood.

use anyhow::Result;
use collapse_ood::{AnyDetector, Detector, Entry, Inputs, Settings, TrainInputs, detectors};
use ndarray::{Array1, Array2};

use crate::case::{Case, Work};
use crate::inputs::{ClassFeatures, normals};
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

/// Features that are not negative, as after a ReLU, with the logits of a head.
struct Samples {
    features: Array2<f64>,
    logits: Array2<f64>,
    labels: Vec<usize>,
}

fn head() -> Result<Array2<f64>> {
    let shape = (CLASSES.n_classes, CLASSES.d);
    Ok(0.3 * Array2::from_shape_vec(shape, normals(1, "bench-head", shape.0 * shape.1))?)
}

fn samples(n: usize, purpose: &str) -> Result<Samples> {
    let (features, labels) = CLASSES.draw(n, purpose);
    let features = features.mapv(|v| v.max(0.01 * v) + 1.0);
    Ok(Samples {
        logits: features.dot(&head()?.t()),
        features,
        labels,
    })
}

fn score(entry: &Entry) -> Result<Work> {
    let (train, test) = (
        samples(TRAIN, "bench-train")?,
        samples(ROWS, "bench-queries")?,
    );
    let weight = head()?;
    let bias = Array1::zeros(CLASSES.n_classes);
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
    let test = samples(ROWS, "bench-queries")?;
    let weight = head()?;
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
