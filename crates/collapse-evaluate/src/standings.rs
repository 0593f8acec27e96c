//! One line for each detector: how it does over all out-of-distribution sets.

use collapse_ood::{Comparison, ScoreId};
use serde::Serialize;

use crate::evaluation::Evaluation;

/// How one score does over the out-of-distribution sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The score.
    pub score: ScoreId,
    /// Sets that it could score.
    pub sets: usize,
    /// Mean AUROC over these, 0..=1.
    pub auroc: f64,
    /// Mean AUROC over the near sets, where there are some.
    pub near: Option<f64>,
    /// Mean AUROC over the far sets, where there are some.
    pub far: Option<f64>,
    /// Mean share of out-of-distribution samples accepted where 95 % of in-distribution samples are.
    pub fpr95_id_positive: f64,
    /// The set of the least AUROC.
    pub worst_set: String,
    /// The AUROC there.
    pub worst_auroc: f64,
}

impl Evaluation {
    /// Every score, that of the largest mean AUROC first; `near` and `far` name sets whose means are wanted apart. A score
    /// that could not score some set stands behind those that could score all.
    #[must_use]
    pub fn standings(&self, near: &[&str], far: &[&str]) -> Vec<Standing> {
        let mut standings: Vec<Standing> = self
            .comparisons
            .chunk_by(|a, b| a.score == b.score)
            .filter_map(|found| Standing::of(found, near, far))
            .collect();
        standings.sort_by(|a, b| {
            let key = |standing: &Standing| (standing.sets, standing.auroc);
            let ((n, a), (m, b)) = (key(a), key(b));
            m.cmp(&n).then(b.total_cmp(&a))
        });
        standings
    }
}

impl Standing {
    fn of(found: &[Comparison], near: &[&str], far: &[&str]) -> Option<Self> {
        let mean = |values: Vec<f64>| match values.len() {
            0 => None,
            n => Some(values.iter().sum::<f64>() / n as f64),
        };
        let auroc_of = |named: &[&str]| {
            let own = found.iter().filter(|one| named.contains(&one.set.as_str()));
            mean(own.map(|one| one.detection.auroc).collect())
        };
        let worst = found
            .iter()
            .min_by(|a, b| a.detection.auroc.total_cmp(&b.detection.auroc))?;
        let of_all = |pick: fn(&Comparison) -> f64| mean(found.iter().map(pick).collect());
        Some(Self {
            score: worst.score.clone(),
            sets: found.len(),
            auroc: of_all(|one| one.detection.auroc)?,
            near: auroc_of(near),
            far: auroc_of(far),
            fpr95_id_positive: of_all(|one| one.detection.fpr95_id_positive)?,
            worst_set: worst.set.clone(),
            worst_auroc: worst.detection.auroc,
        })
    }
}
