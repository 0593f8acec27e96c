//! Scores keep their order where the softmax saturates, which is where collapsed networks live.
#![allow(clippy::unwrap_used)]

use collapse_ood::detectors::{Gen, MaxSoftmax, SoftmaxEntropy};
use collapse_ood::metrics::{auroc, calibration, nll};
use collapse_ood::{Detector, Inputs, ScoreId, Settings, TrainInputs, fit_named};
use collapse_random::Stream;
use ndarray::{Array1, Array2, array};

const N_CLASSES: usize = 10;

/// f32 logits whose largest lies N(`margin`, 3) above the log-sum-exp of the others.
fn logits(seed: u64, n: usize, margin: f64) -> Array2<f64> {
    let mut stream = Stream::new(seed, "saturated logits", 0);
    let mut logits = Array2::zeros((n, N_CLASSES));
    for (row, mut logits) in logits.rows_mut().into_iter().enumerate() {
        logits.mapv_inplace(|_: f64| f64::from(stream.normal() as f32));
        logits[row % N_CLASSES] = f64::NEG_INFINITY;
        let others = logits.mapv(f64::exp).sum().ln();
        let top = others + margin + 3.0 * stream.normal();
        logits[row % N_CLASSES] = f64::from(top as f32);
    }
    logits
}

fn score(detector: &dyn Detector, logits: &Array2<f64>) -> Vec<f64> {
    let features = Array2::<f64>::ones((logits.nrows(), 1));
    let inputs = Inputs::new(features.view(), logits.view(), false).unwrap();
    detector.score(&inputs).unwrap().to_vec()
}

/// ln p / (1 − p) by its definition, in the order of the classes.
fn exact(logits: &Array2<f64>) -> Vec<f64> {
    let odds = |(row, logits): (usize, ndarray::ArrayView1<f64>)| {
        let top = row % N_CLASSES;
        let others = (0..N_CLASSES).filter(|class| *class != top);
        -others
            .map(|class| (logits[class] - logits[top]).exp())
            .sum::<f64>()
            .ln()
    };
    logits.rows().into_iter().enumerate().map(odds).collect()
}

#[test]
fn saturated_probabilities_keep_the_exact_auroc() {
    let (id, ood) = (logits(1, 20_000, 36.0), logits(2, 20_000, 32.0));
    let expected = auroc(&exact(&id), &exact(&ood)).unwrap();
    let of =
        |detector: &dyn Detector| auroc(&score(detector, &id), &score(detector, &ood)).unwrap();
    assert_eq!(of(&MaxSoftmax), expected);
    // The probability itself ties.
    let p = |logits| -> Vec<f64> {
        let scores = score(&MaxSoftmax, logits);
        scores.into_iter().map(MaxSoftmax::probability).collect()
    };
    assert!(auroc(&p(&id), &p(&ood)).unwrap() < expected - 0.001);
    // Entropy and GEN order nearly as the margin does.
    assert!((of(&SoftmaxEntropy) - expected).abs() < 3e-3);
    assert!((of(&Gen::new(0.1, N_CLASSES).unwrap()) - expected).abs() < 2e-2);
    for detector in [
        &MaxSoftmax as &dyn Detector,
        &SoftmaxEntropy,
        &Gen::new(0.1, 100).unwrap(),
    ] {
        let mut scores = score(detector, &id);
        scores.sort_by(f64::total_cmp);
        scores.dedup();
        assert!(scores.len() > 19_990, "{}: {}", detector.id(), scores.len());
    }
}

/// Values where p does not saturate, from the definitions.
#[test]
fn scores_are_what_they_were_away_from_saturation() {
    let logits = array![[1.5, -0.25, 0.75], [0.0, 0.0, 0.0]];
    let p = |row: usize| -> Vec<f64> {
        let weights = logits.row(row).mapv(f64::exp);
        (&weights / weights.sum()).to_vec()
    };
    for row in 0..2 {
        let p = p(row);
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-14;
        let probability = MaxSoftmax::probability(score(&MaxSoftmax, &logits)[row]);
        assert!(near(probability, p[0]));
        let entropy: f64 = p.iter().map(|p| p * p.ln()).sum();
        assert!(near(score(&SoftmaxEntropy, &logits)[row], entropy));
        let mut sorted = p.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let terms = sorted[..2].iter().map(|p| (p * (1.0 - p)).powf(0.3));
        let gen_sum = -terms.sum::<f64>();
        assert!(near(
            score(&Gen::new(0.3, 2).unwrap(), &logits)[row],
            gen_sum
        ));
    }
}

#[test]
fn losses_and_calibration_keep_what_is_left_of_one() {
    // 1 − p = 9 e⁻⁶⁰ for every row, and every row is right: so are the calibration error and, to first order, the NLL.
    let margin: f64 = 60.0;
    let logits = Array2::from_shape_fn(
        (5, N_CLASSES),
        |(row, class)| {
            if row == class { margin } else { 0.0 }
        },
    );
    let labels = [0, 1, 2, 3, 4];
    let expected = 9.0 * (-margin).exp();
    let found = calibration(logits.view(), &labels, 1.0).unwrap();
    assert!((found.nll / expected - 1.0).abs() < 1e-12, "{}", found.nll);
    assert!((found.ece / expected - 1.0).abs() < 1e-12, "{}", found.ece);
    assert_eq!(nll(logits.view(), &labels).unwrap(), found.nll);
}

#[test]
fn a_score_that_cannot_rank_is_noted() {
    let logits = Array2::from_shape_fn(
        (6, 3),
        |(row, class)| {
            if class == 0 { 5.0 } else { row as f64 * 1e-3 }
        },
    );
    let features = Array2::from_shape_fn((6, 2), |(i, j)| (i + j) as f64);
    let inputs = || Inputs::new(features.view(), logits.view(), false).unwrap();
    let train = TrainInputs::new(inputs(), &[0, 0, 0, 1, 1, 2]).unwrap();
    let names = ["max_softmax", "max_logit"];
    let fitted = fit_named(&train, &Settings::default(), names).unwrap();
    let scored = fitted.score_set("test", &inputs());
    let notes: Vec<_> = scored.notes.iter().map(|note| &note.score).collect();
    assert_eq!(notes, [&ScoreId::MAX_LOGIT]);
    assert_eq!(
        scored.notes[0].text,
        "all 6 values of test are 5: the score does not tell these samples apart"
    );
    // One sample has nothing to be told apart from.
    let first = features.slice(ndarray::s![..1, ..]);
    let one = Inputs::new(first, logits.slice(ndarray::s![..1, ..]), false).unwrap();
    assert!(fitted.score_set("one", &one).notes.is_empty());
    // Infinite values tie too: a single class leaves nothing to doubt.
    let single = Array2::<f64>::zeros((6, 1));
    let alone = Inputs::new(features.view(), single.view(), false).unwrap();
    let train = TrainInputs::new(alone, &[0; 6]).unwrap();
    let fitted = fit_named(&train, &Settings::default(), ["max_softmax"]).unwrap();
    let alone = Inputs::new(features.view(), single.view(), false).unwrap();
    let scored = fitted.score_set("test", &alone);
    assert_eq!(scored.scores[0].1, Array1::from_elem(6, f64::INFINITY));
    assert_eq!(scored.notes.len(), 1);
}
