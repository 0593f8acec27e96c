//! Detection figures of one ranking.

use rayon::join;
use serde::{Deserialize, Serialize};

use super::ranking::{Positive, Ranking, area, fpr_at, least_error, precision_recall};
use crate::error::{Error, Result};

/// The detection figures of one score on one pair of sets, each in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// P(id > ood) + ½ P(id = ood), the area under the ROC curve.
    pub auroc: f64,
    /// Average precision (step sum) with ID positive.
    pub aupr_in: f64,
    /// Average precision (step sum) with OoD positive.
    pub aupr_out: f64,
    /// Share of OoD accepted at the first threshold that accepts 95 % of ID.
    pub fpr95_id_positive: f64,
    /// Share of ID rejected at the first threshold that rejects 95 % of OoD.
    pub fpr95_ood_positive: f64,
    /// Least ½ (share of ID rejected + share of OoD accepted) over all thresholds.
    pub detection_error: f64,
}

impl Ranking {
    /// Area under the ROC curve; ties count one half. The same for either positive class.
    #[must_use]
    pub fn auroc(&self) -> f64 {
        let (n_id, n_ood) = self.sizes();
        area(self.descending(), n_id, n_ood)
    }

    /// Average precision: Σ (Rₙ − Rₙ₋₁) Pₙ over thresholds.
    ///
    /// Source: scikit-learn `average_precision_score`.
    #[must_use]
    pub fn average_precision(&self, positive: Positive) -> f64 {
        precision_recall(self.towards(positive), positive, self.sizes_for(positive).0).step
    }

    /// Area under the precision–recall curve by the trapezoidal rule, which joins its points by straight lines and so is
    /// too optimistic where many scores tie; what OpenOOD and pytorch-ood report.
    ///
    /// Source: OpenOOD `evaluators/metrics.py`.
    #[must_use]
    pub fn trapezoidal_aupr(&self, positive: Positive) -> f64 {
        precision_recall(self.towards(positive), positive, self.sizes_for(positive).0).trapezoid
    }

    /// False-positive rate at the first threshold whose true-positive rate reaches `level`.
    ///
    /// # Errors
    /// [`Error::Setting`] when `level` is outside 0..=1.
    pub fn fpr_at_tpr(&self, positive: Positive, level: f64) -> Result<f64> {
        if !(0.0..=1.0).contains(&level) {
            let value = level.to_string();
            return Err(Error::Setting {
                name: "true-positive rate",
                value,
                expected: "between 0 and 1".into(),
            });
        }
        Ok(fpr_at(
            self.towards(positive),
            positive,
            self.sizes_for(positive),
            level,
        ))
    }

    /// Least ½ (share of ID rejected + share of OoD accepted) over all thresholds.
    #[must_use]
    pub fn detection_error(&self) -> f64 {
        let (n_id, n_ood) = self.sizes();
        least_error(self.descending(), n_id, n_ood)
    }

    /// All figures.
    #[must_use]
    pub fn detection(&self) -> Detection {
        let (n_id, n_ood) = self.sizes();
        let down = || {
            (
                area(self.descending(), n_id, n_ood),
                precision_recall(self.descending(), Positive::Id, n_id).step,
                fpr_at(self.descending(), Positive::Id, (n_id, n_ood), 0.95),
            )
        };
        let up = || {
            (
                precision_recall(self.ascending(), Positive::Ood, n_ood).step,
                fpr_at(self.ascending(), Positive::Ood, (n_ood, n_id), 0.95),
                least_error(self.descending(), n_id, n_ood),
            )
        };
        let ((auroc, aupr_in, fpr95_id_positive), (aupr_out, fpr95_ood_positive, detection_error)) =
            join(down, up);
        Detection {
            auroc,
            aupr_in,
            aupr_out,
            fpr95_id_positive,
            fpr95_ood_positive,
            detection_error,
        }
    }

    pub(crate) fn sizes(&self) -> (u64, u64) {
        let (n_id, n_ood) = self.counts();
        (n_id as u64, n_ood as u64)
    }

    fn sizes_for(&self, positive: Positive) -> (u64, u64) {
        let (n_id, n_ood) = self.sizes();
        match positive {
            Positive::Id => (n_id, n_ood),
            Positive::Ood => (n_ood, n_id),
        }
    }
}

/// Area under the ROC curve of in-distribution against out-of-distribution scores.
///
/// ```
/// assert_eq!(collapse_ood::metrics::auroc(&[3.0, 2.0], &[1.0, 2.0])?, 0.875);
/// # Ok::<(), collapse_ood::Error>(())
/// ```
///
/// # Errors
/// As [`Ranking::new`].
pub fn auroc(id: &[f64], ood: &[f64]) -> Result<f64> {
    Ok(Ranking::new(id, ood)?.auroc())
}

/// All detection figures of in-distribution against out-of-distribution scores.
///
/// # Errors
/// As [`Ranking::new`].
pub fn detection(id: &[f64], ood: &[f64]) -> Result<Detection> {
    Ok(Ranking::new(id, ood)?.detection())
}
