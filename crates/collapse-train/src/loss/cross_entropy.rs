//! Mean cross-entropy.

/// Mean cross-entropy of `logits` [N, C] and its gradient, computed in f64.
///
/// With smoothing s the target is (1 − s) onehot + s/C, as in PyTorch. `labels` are below
/// `n_classes`; the gradient is with respect to the logits.
///
/// ```
/// let (loss, gradient) = collapse_train::loss::cross_entropy(&[0.0, 0.0], &[1], 2, 0.0);
/// assert!((loss - 2.0f64.ln()).abs() < 1e-15);
/// assert_eq!(gradient, [0.5, -0.5]);
/// ```
#[must_use]
pub fn cross_entropy(
    logits: &[f32],
    labels: &[usize],
    n_classes: usize,
    label_smoothing: f64,
) -> (f64, Vec<f32>) {
    let n = labels.len().max(1) as f64;
    let spread = label_smoothing / n_classes as f64;
    let mut total = 0.0;
    let mut gradient = Vec::with_capacity(logits.len());
    for (row, &label) in logits.chunks_exact(n_classes).zip(labels) {
        let max = row.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x));
        let max = f64::from(max);
        let sum: f64 = row.iter().map(|&x| (f64::from(x) - max).exp()).sum();
        let log_sum = sum.ln() + max;
        for (k, &x) in row.iter().enumerate() {
            let x = f64::from(x);
            let target = spread
                + if k == label {
                    1.0 - label_smoothing
                } else {
                    0.0
                };
            if target != 0.0 {
                total += target * (log_sum - x);
            }
            gradient.push((((x - log_sum).exp() - target) / n) as f32);
        }
    }
    (total / n, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_is_the_difference_quotient() {
        let logits = [0.3f32, -1.0, 2.0, 0.1, 0.2, -0.4];
        let labels = [2, 0];
        for smoothing in [0.0, 0.1] {
            let (_, gradient) = cross_entropy(&logits, &labels, 3, smoothing);
            for i in 0..logits.len() {
                let step = 1.0 / 256.0;
                let at = |delta: f32| {
                    let mut moved = logits;
                    moved[i] += delta;
                    cross_entropy(&moved, &labels, 3, smoothing).0
                };
                let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
                assert!((slope - f64::from(gradient[i])).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn large_logits_stay_finite() {
        let (loss, gradient) = cross_entropy(&[1e4, -1e4], &[1], 2, 0.0);
        assert_eq!(loss, 2e4);
        assert!(gradient.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn a_nan_logit_gives_a_nan_loss() {
        assert!(cross_entropy(&[f32::NAN, 0.0], &[0], 2, 0.0).0.is_nan());
    }
}
