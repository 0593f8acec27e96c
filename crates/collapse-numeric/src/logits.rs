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

/// `ln Σ exp(row)` of `row` `[C]`; −∞ for an empty row. Never overflows.
#[must_use]
pub fn log_sum_exp(row: ArrayView1<f64>) -> f64 {
    Softmax::of(row, 1.0).log_sum_exp()
}

/// `ln (p / (1 − p))` of the largest probability p of the softmax of `row` `[C]`, as the largest logit minus the log-sum-exp of the
/// others: where p itself rounds to 1, as on collapsed networks, this keeps every digit. +∞ where there is one class alone.
#[must_use]
pub fn log_odds(row: ArrayView1<f64>) -> f64 {
    if row.is_empty() {
        return f64::INFINITY;
    }
    let top = argmax(row);
    let others = || row.iter().enumerate().filter(|(index, _)| *index != top);
    let second = others().map(|(_, value)| *value);
    let second = second.fold(f64::NEG_INFINITY, f64::max);
    if second == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    let weights = others().map(|(_, value)| (value - second).exp());
    (row[top] - second) - weights.sum::<f64>().ln()
}

/// The softmax of one row of logits over a temperature, in parts that keep their digits where one class has nearly everything:
/// `1 − p` there is not what the rounding of `p` leaves.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    top: usize,
    largest: f64,
    others: f64,
    /// `ln (1 + others)`.
    log_total: f64,
    temperature: f64,
}

impl Softmax {
    /// Of `row / temperature`, `row` `[C]`, for a positive temperature.
    #[must_use]
    pub fn of(row: ArrayView1<f64>, temperature: f64) -> Self {
        let top = argmax(row);
        let largest = row.get(top).copied().unwrap_or(f64::NEG_INFINITY);
        let weight = |(index, value): (usize, &f64)| match index == top {
            true => 0.0,
            false => ((value - largest) / temperature).exp(),
        };
        let others: f64 = row.iter().enumerate().map(weight).sum();
        Self {
            top,
            largest,
            others,
            log_total: others.ln_1p(),
            temperature,
        }
    }

    /// Index of the largest logit, the first among equals.
    #[must_use]
    pub fn top(&self) -> usize {
        self.top
    }

    /// Probability of the largest logit, in 1/C..=1.
    #[must_use]
    pub fn confidence(&self) -> f64 {
        1.0 / (1.0 + self.others)
    }

    /// One minus the [`confidence`](Self::confidence), to full relative precision.
    #[must_use]
    pub fn doubt(&self) -> f64 {
        self.others / (1.0 + self.others)
    }

    /// Probability of a class by its logit, to full relative precision.
    #[must_use]
    pub fn probability(&self, logit: f64) -> f64 {
        ((logit - self.largest) / self.temperature).exp() / (1.0 + self.others)
    }

    /// `−ln p` of a class by its logit, in nats, to full relative precision.
    #[must_use]
    pub fn loss(&self, logit: f64) -> f64 {
        (self.largest - logit) / self.temperature + self.log_total
    }

    /// `ln Σ exp(row / temperature)`.
    #[must_use]
    pub fn log_sum_exp(&self) -> f64 {
        if !self.largest.is_finite() {
            return self.largest;
        }
        self.largest / self.temperature + self.log_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn log_sum_exp_keeps_its_range() {
        assert_eq!(log_sum_exp(array![0.0, 0.0].view()), 2f64.ln());
        assert_eq!(
            log_sum_exp(array![1000.0, 1000.0].view()),
            1000.0 + 2f64.ln()
        );
        assert_eq!(log_sum_exp(array![-1e300, -1e300].view()), -1e300);
        assert_eq!(log_sum_exp(array![f64::NEG_INFINITY, 3.0].view()), 3.0);
        let none: [f64; 0] = [];
        assert_eq!(log_sum_exp(ArrayView1::from(&none)), f64::NEG_INFINITY);
        let halved = Softmax::of(array![2.0, 4.0].view(), 2.0).log_sum_exp();
        assert!((halved - (1f64.exp() + 2f64.exp()).ln()).abs() < 1e-15);
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
    fn a_saturated_softmax_keeps_its_digits() {
        // 1 − p = 9 e⁻⁵⁰ to first order, far below the spacing of numbers near 1.
        let mut row = array![0.0, 50.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let softmax = Softmax::of(row.view(), 1.0);
        let expected = 9.0 * (-50f64).exp();
        assert_eq!((softmax.top(), softmax.confidence()), (1, 1.0));
        assert!((softmax.doubt() / expected - 1.0).abs() < 1e-14);
        assert!((softmax.loss(50.0) / expected - 1.0).abs() < 1e-14);
        assert!((softmax.loss(0.0) - 50.0).abs() < 1e-14);
        assert!((log_odds(row.view()) - (50.0 - 9f64.ln())).abs() < 1e-14);
        // Beyond the range of exp the order stays.
        row[1] = 1e6;
        let far = log_odds(row.view());
        row[1] = 1e6 + 1.0;
        assert_eq!(log_odds(row.view()) - far, 1.0);
        assert_eq!(log_odds(array![3.0].view()), f64::INFINITY);
    }

    #[test]
    fn probabilities_sum_to_one_and_agree_with_the_odds() {
        let row = array![1.5, -0.25, 0.75, 1.0];
        let softmax = Softmax::of(row.view(), 1.0);
        let p: Vec<f64> = row
            .iter()
            .map(|logit| softmax.probability(*logit))
            .collect();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert_eq!(p[0], softmax.confidence());
        assert!((softmax.confidence() + softmax.doubt() - 1.0).abs() < 1e-15);
        assert!((log_odds(row.view()) - (p[0] / (1.0 - p[0])).ln()).abs() < 1e-14);
        assert!(
            row.iter()
                .zip(&p)
                .all(|(l, p)| (softmax.loss(*l) + p.ln()).abs() < 1e-14)
        );
    }
}
