//! Selective prediction: how wrong is the part of the test set one is sure of?

use super::curves::{Points, thinned};
use crate::error::{Error, Result};

/// Area under the risk–coverage curve, in 0..=1, smaller = better: the mean over k of the error
/// rate among the k most confident samples. Tied samples enter in an average order.
///
/// Source: Geifman, Uziel and El-Yaniv, *Bias-Reduced Uncertainty Estimation* (2019).
///
/// # Errors
/// [`Error::Undefined`] without samples, [`Error::Shape`] for different lengths,
/// [`Error::NotANumber`].
pub fn aurc(confidences: &[f64], correct: &[bool]) -> Result<f64> {
    let risks = risks(confidences, correct)?;
    Ok(risks.iter().sum::<f64>() / risks.len() as f64)
}

/// The curve itself: (coverage, error rate among the covered), from the most confident sample to all; at most about
/// 2 · `resolution` points.
///
/// # Errors
/// As [`aurc`].
pub fn risk_coverage_curve(
    confidences: &[f64],
    correct: &[bool],
    resolution: usize,
) -> Result<Points> {
    let risks = risks(confidences, correct)?;
    let n = risks.len() as f64;
    let points = risks.iter().enumerate();
    let points = points.map(|(covered, risk)| ((covered + 1) as f64 / n, *risk));
    Ok(thinned(points, resolution))
}

/// The error rate among the k most confident samples for k = 1, …, N.
fn risks(confidences: &[f64], correct: &[bool]) -> Result<Vec<f64>> {
    if confidences.len() != correct.len() {
        return Err(Error::Shape {
            what: "correct",
            found: format!("{} entries", correct.len()),
            expected: format!("{}, one for each confidence", confidences.len()),
        });
    }
    if confidences.is_empty() {
        return Err(Error::undefined(
            "the risk–coverage area",
            "there are no samples",
        ));
    }
    if let Some(index) = confidences
        .iter()
        .position(|confidence| confidence.is_nan())
    {
        return Err(Error::NotANumber {
            what: "confidences",
            index,
        });
    }
    let mut order: Vec<usize> = (0..confidences.len()).collect();
    order.sort_unstable_by(|&a, &b| confidences[b].total_cmp(&confidences[a]));
    let (mut errors, mut risks) = (0.0, Vec::with_capacity(confidences.len()));
    for group in order.chunk_by(|&a, &b| confidences[a] == confidences[b]) {
        let wrong = group.iter().filter(|&&sample| !correct[sample]).count() as f64;
        let share = wrong / group.len() as f64;
        for _ in group {
            errors += share;
            risks.push(errors / (risks.len() + 1) as f64);
        }
    }
    Ok(risks)
}
