//! Softmax and its relatives on one row of logits.

use ndarray::ArrayView1;

/// Index of the largest entry of `row` `[C]`, the first among equals; 0 for an empty row.
#[must_use]
pub fn argmax<V: PartialOrd + Copy>(row: ArrayView1<V>) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// `ln Σ exp(row)` of `row` `[C]`, shifted by the largest entry; −∞ for an empty row.
#[must_use]
pub fn log_sum_exp(row: ArrayView1<f64>) -> f64 {
    log_sum_exp_at(row, 1.0)
}

/// `ln Σ exp(row / temperature)` of `row` `[C]` for a positive temperature.
#[must_use]
pub fn log_sum_exp_at(row: ArrayView1<f64>, temperature: f64) -> f64 {
    let top = largest(row);
    if !top.is_finite() {
        return top;
    }
    let weights = row.iter().map(|value| ((value - top) / temperature).exp());
    top / temperature + weights.sum::<f64>().ln()
}

/// The probabilities of `row` `[C]`.
#[must_use]
pub fn softmax(row: ArrayView1<f64>) -> Vec<f64> {
    let top = largest(row);
    let mut weights: Vec<f64> = row.iter().map(|value| (value - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

fn largest(row: ArrayView1<f64>) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn log_sum_exp_keeps_its_range() {
        assert_eq!(log_sum_exp(array![0.0, 0.0].view()), 2f64.ln());
        assert_eq!(log_sum_exp(array![-1e300, -1e300].view()), -1e300);
        assert_eq!(
            log_sum_exp(array![f64::NEG_INFINITY, 3.0].view()),
            3.0,
            "a class that cannot be"
        );
        let none: [f64; 0] = [];
        assert_eq!(log_sum_exp(ArrayView1::from(&none)), f64::NEG_INFINITY);
        assert!(
            (log_sum_exp_at(array![2.0, 4.0].view(), 2.0) - (1f64.exp() + 2f64.exp()).ln()).abs()
                < 1e-15
        );
    }

    #[test]
    fn argmax_takes_the_first_among_equals() {
        assert_eq!(argmax(array![1.0, 3.0, 3.0].view()), 1);
        assert_eq!(
            argmax(array![f32::NEG_INFINITY, f32::NEG_INFINITY].view()),
            0
        );
    }

    #[test]
    fn probabilities_sum_to_one() {
        let p = softmax(array![1000.0, 999.0, -1000.0].view());
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!((p[0] - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-15);
    }
}
