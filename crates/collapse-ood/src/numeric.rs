//! Softmax and its relatives on one row.

use ndarray::ArrayView1;

use crate::error::{Error, Result};

/// Index of the largest entry, the first among equals; 0 for an empty row.
pub(crate) fn argmax(row: ArrayView1<f64>) -> usize {
    row.iter().enumerate().fold(
        0,
        |best, (index, value)| if *value > row[best] { index } else { best },
    )
}

/// ln Σ exp(row).
pub(crate) fn log_sum_exp(row: ArrayView1<f64>) -> f64 {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return top;
    }
    top + row
        .iter()
        .map(|value| (value - top).exp())
        .sum::<f64>()
        .ln()
}

/// ln Σ exp(row / temperature).
pub(crate) fn scaled_log_sum_exp(row: ArrayView1<f64>, temperature: f64) -> f64 {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top / temperature
        + row
            .iter()
            .map(|value| ((value - top) / temperature).exp())
            .sum::<f64>()
            .ln()
}

/// The probabilities of one row.
pub(crate) fn softmax(row: ArrayView1<f64>) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> = row.iter().map(|value| (value - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Euclidean norm, also where squares leave the range of f64.
pub(crate) fn norm(row: ArrayView1<f64>) -> f64 {
    let squared = row.dot(&row);
    if squared.is_finite() && squared > f64::MIN_POSITIVE {
        return squared.sqrt();
    }
    let largest = row
        .iter()
        .fold(0.0f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    largest
        * row
            .iter()
            .map(|value| (value / largest).powi(2))
            .sum::<f64>()
            .sqrt()
}

/// `numerator / denominator`, or an error that names the detector and the row.
pub(crate) fn ratio(
    what: &'static str,
    row: usize,
    numerator: f64,
    denominator: f64,
) -> Result<f64> {
    if denominator == 0.0 {
        let reason =
            format!("row {row} coincides with the centre of the training features; leave it out");
        return Err(Error::undefined(what, reason));
    }
    Ok(numerator / denominator)
}
