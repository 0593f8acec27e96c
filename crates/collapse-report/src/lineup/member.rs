//! A group looked at after one of its evaluated epochs.

use collapse_results::{Evaluation, Group, Results, Run, ScoreId, SetId};

use super::label::group_label;

/// A group after one epoch, with every run that was evaluated then.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) group: &'a Group,
    pub(crate) epoch: usize,
    /// Key of its row: the group's id, with `@short` at the short schedule's length.
    pub(crate) key: String,
    /// The group in words.
    pub(crate) label: String,
    /// Index of its colour and marker.
    pub(crate) series: usize,
    /// Runs by seed, each with its evaluation after `epoch`.
    pub(crate) runs: Vec<(&'a Run, &'a Evaluation)>,
}

impl<'a> Member<'a> {
    /// The last epoch of `group`; `None` without a finished run.
    pub(super) fn at_the_end(results: &'a Results, group: &'a Group) -> Option<Self> {
        Self::new(results, group, group.epochs)
    }

    /// `group` after an epoch before its last one; `None` where it was not evaluated then.
    pub(super) fn midway(results: &'a Results, group: &'a Group, epoch: usize) -> Option<Self> {
        let mut member = Self::new(results, group, epoch)?;
        if !member.is_midway() {
            return None;
        }
        member.key.push_str("@short");
        member.label.push_str(", midway");
        Some(member)
    }

    fn new(results: &'a Results, group: &'a Group, epoch: usize) -> Option<Self> {
        let mut runs: Vec<_> = results
            .runs_of(&group.id)
            .filter_map(|run| Some((run, run.evaluation_at(epoch)?)))
            .collect();
        runs.sort_by_key(|(run, _)| run.seed);
        (!runs.is_empty()).then(|| Self {
            group,
            epoch,
            key: group.id.clone(),
            label: group_label(group),
            series: 0,
            runs,
        })
    }

    pub(crate) fn is_midway(&self) -> bool {
        self.epoch < self.group.epochs
    }

    pub(crate) fn evaluations(&self) -> impl Iterator<Item = &'a Evaluation> {
        self.runs.iter().map(|(_, evaluation)| *evaluation)
    }

    /// One figure of every seed, in percent.
    pub(crate) fn percent(&self, pick: impl Fn(&Evaluation) -> Option<f64>) -> Vec<f64> {
        self.evaluations()
            .filter_map(|e| pick(e).map(|v| 100.0 * v))
            .collect()
    }

    /// AUROC of every seed in percent.
    pub(crate) fn auroc(&self, score: &ScoreId, set: &SetId) -> Vec<f64> {
        self.percent(|e| e.detection(score, set).map(|d| d.auroc))
    }

    /// A figure of the seeds that this and `other` share, as (this, other).
    pub(crate) fn paired(
        &self,
        other: &Self,
        pick: impl Fn(&Run, &Evaluation) -> Option<f64>,
    ) -> Vec<(f64, f64)> {
        let value = |(run, evaluation): &(&Run, &Evaluation)| pick(run, evaluation);
        self.runs
            .iter()
            .filter_map(|mine| {
                let theirs = other.runs.iter().find(|(run, _)| run.seed == mine.0.seed)?;
                Some((value(mine)?, value(theirs)?))
            })
            .collect()
    }
}

/// Mean AUROC by `score` over all of `sets`, in percent.
///
/// `None` unless each of them has a figure: a mean over fewer sets is another quantity.
pub(crate) fn mean_auroc(evaluation: &Evaluation, score: &ScoreId, sets: &[SetId]) -> Option<f64> {
    let found: Option<Vec<f64>> = sets
        .iter()
        .map(|set| Some(evaluation.detection(score, set)?.auroc))
        .collect();
    let found = found.filter(|found| !found.is_empty())?;
    Some(100.0 * found.iter().sum::<f64>() / found.len() as f64)
}
