//! The learning rate as a function of the epoch.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the rate falls; epochs count from 0 here, as in PyTorch's schedulers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Schedule {
    /// ×0.1 at 3/7 and 5/7 of the epochs: 150 and 250 of 350 (source: DDU); 26 and 43 of 60,
    /// 43 and 71 of 100 (our choice).
    #[default]
    Sevenths,
    /// Multiplied by `factor` at each of `milestones`.
    MultiStep {
        /// Epochs at which the rate falls, ascending.
        milestones: Vec<usize>,
        /// Factor of each fall.
        factor: f64,
    },
    /// Half a cosine from the base rate to 0 at the end.
    Cosine,
    /// Always the base rate.
    Constant,
}

impl Schedule {
    /// Rate used during `epoch` (from 0) of `epochs`, from the base rate `base`.
    ///
    /// ```
    /// use collapse_train::Schedule;
    ///
    /// let rate = |epoch| Schedule::Sevenths.learning_rate(0.1, epoch, 350);
    /// assert_eq!([rate(149), rate(150)], [0.1, 0.1 * 0.1]);
    /// ```
    #[must_use]
    pub fn learning_rate(&self, base: f64, epoch: usize, epochs: usize) -> f64 {
        match self {
            Self::Sevenths => steps(base, epoch, &sevenths(epochs), 0.1),
            Self::MultiStep { milestones, factor } => steps(base, epoch, milestones, *factor),
            Self::Cosine => {
                let progress = epoch as f64 / epochs.max(1) as f64;
                base * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Self::Constant => base,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Self::MultiStep { milestones, factor } = self {
            if !milestones.is_sorted() {
                return Err(Error::Config {
                    field: "schedule.milestones",
                    value: format!("{milestones:?}"),
                    remedy: "list them in ascending order",
                });
            }
            if !(factor.is_finite() && *factor > 0.0) {
                return Err(Error::Config {
                    field: "schedule.factor",
                    value: factor.to_string(),
                    remedy: "choose a positive number (0.1 in the reference)",
                });
            }
        }
        Ok(())
    }
}

/// 3/7 and 5/7 of the epochs, rounded to the nearest.
#[must_use]
pub fn sevenths(epochs: usize) -> [usize; 2] {
    let part = |k: usize| (2 * k * epochs + 7) / 14;
    [part(3), part(5)]
}

fn steps(base: f64, epoch: usize, milestones: &[usize], factor: f64) -> f64 {
    // Multiplying step by step gives PyTorch's rounding.
    milestones
        .iter()
        .filter(|&&milestone| milestone <= epoch)
        .fold(base, |rate, _| rate * factor)
}

/// Rate of one step with linear warm-up: over the first `warm_up` epochs the rate rises from
/// one `1/(steps)`-th of itself to its full value, step by step.
#[must_use]
pub fn warm_up(rate: f64, step_in_run: u64, steps_per_epoch: u64, warm_up_epochs: usize) -> f64 {
    let steps = (warm_up_epochs as u64).saturating_mul(steps_per_epoch);
    if step_in_run >= steps {
        rate
    } else {
        rate * (step_in_run + 1) as f64 / steps as f64
    }
}

/// Epochs after which a run of `last` epochs is measured: 0, then every epoch to 14, then about
/// every eighth part more, and always `last`.
///
/// Source: Papyan, Han, Donoho (2020), their list of epochs; epoch 0 is our addition.
#[must_use]
pub fn log_spaced_epochs(last: usize) -> Vec<usize> {
    const LISTED: [usize; 41] = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20, 22, 24, 27, 29, 32, 35,
        38, 42, 45, 50, 54, 59, 65, 71, 77, 85, 92, 101, 110, 121, 132, 144,
    ];
    const LATER: [usize; 10] = [158, 172, 188, 206, 225, 245, 268, 293, 320, 350];
    let mut epochs: Vec<usize> = LISTED
        .into_iter()
        .chain(LATER)
        .filter(|&epoch| epoch < last)
        .collect();
    epochs.push(last);
    epochs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_are_the_papers() {
        assert_eq!(sevenths(350), [150, 250]);
        assert_eq!(sevenths(60), [26, 43]);
        assert_eq!(sevenths(100), [43, 71]);
        assert_eq!(sevenths(7), [3, 5]);
    }

    #[test]
    fn cosine_ends_near_zero_and_falls() {
        let rates: Vec<f64> = (0..10)
            .map(|e| Schedule::Cosine.learning_rate(0.1, e, 10))
            .collect();
        assert_eq!(rates[0], 0.1);
        assert!(rates.windows(2).all(|w| w[1] < w[0]));
        assert!(rates[9] < 0.01);
    }

    #[test]
    fn warm_up_reaches_the_rate() {
        assert_eq!(warm_up(0.1, 0, 10, 1), 0.01);
        assert_eq!(warm_up(0.1, 9, 10, 1), 0.1);
        assert_eq!(warm_up(0.1, 0, 10, 0), 0.1);
    }

    #[test]
    fn measured_epochs_end_with_the_last() {
        assert_eq!(log_spaced_epochs(3), [0, 1, 2, 3]);
        assert_eq!(log_spaced_epochs(18).last(), Some(&18));
        assert_eq!(log_spaced_epochs(350).last(), Some(&350));
        assert!(log_spaced_epochs(350).is_sorted_by(|a, b| a < b));
    }
}
