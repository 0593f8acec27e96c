//! Selective prediction: how wrong is the part of the test set one is sure of?

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
    let (mut covered, mut errors, mut sum) = (0.0, 0.0, 0.0);
    for group in order.chunk_by(|&a, &b| confidences[a] == confidences[b]) {
        let wrong = group.iter().filter(|&&sample| !correct[sample]).count() as f64;
        let share = wrong / group.len() as f64;
        for _ in group {
            covered += 1.0;
            errors += share;
            sum += errors / covered;
        }
    }
    Ok(sum / covered)
}
