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
    let errors = errors_by_coverage(confidences, correct)?;
    let risks = errors.iter().zip(1u64..);
    let risks = risks.map(|(errors, covered)| errors / covered as f64);
    Ok(risks.sum::<f64>() / errors.len() as f64)
}

/// Area under the generalised risk–coverage curve, in 0..=0.5, smaller = better: the integral over
/// the coverage, from 0 to 1, of the share of *all* samples that are accepted and wrong, by the
/// trapezoidal rule. Tied samples enter in an average order.
///
/// Its risk does not weigh the most confident samples over again as that of [`aurc`] does. It is
/// the chance that of two samples, drawn with replacement, one is wrong and accepted before the
/// other: with error rate e and the AUROC A of telling right from wrong by confidence,
/// AUGRC = (1 − A) e (1 − e) + e²/2.
///
/// Source: Traub et al., *Overcoming Common Flaws in the Evaluation of Selective Classification
/// Systems* (2024), equation 5 and appendix.
///
/// # Errors
/// As [`aurc`].
pub fn augrc(confidences: &[f64], correct: &[bool]) -> Result<f64> {
    let errors = errors_by_coverage(confidences, correct)?;
    let n = errors.len() as f64;
    let last = errors.last().copied().unwrap_or(0.0);
    Ok((errors.iter().sum::<f64>() - 0.5 * last) / (n * n))
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
    let errors = errors_by_coverage(confidences, correct)?;
    let n = errors.len() as f64;
    let points = errors.iter().zip(1u64..);
    let points = points.map(|(errors, covered)| (covered as f64 / n, errors / covered as f64));
    Ok(thinned(points, resolution))
}

/// Errors among the k most confident samples for k = 1..=N, tied samples in an average order.
fn errors_by_coverage(confidences: &[f64], correct: &[bool]) -> Result<Vec<f64>> {
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
    let mut found = Vec::with_capacity(order.len());
    let mut errors = 0.0;
    for group in order.chunk_by(|&a, &b| confidences[a] == confidences[b]) {
        let wrong = group.iter().filter(|&&sample| !correct[sample]).count() as f64;
        let share = wrong / group.len() as f64;
        for _ in group {
            errors += share;
            found.push(errors);
        }
    }
    Ok(found)
}
