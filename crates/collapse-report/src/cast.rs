//! Who plays which part: the groups of each network, by length of training and normalisation.

use collapse_results::{
    Evaluation, Group, Loss, Results, Role, Run, ScheduleLength, ScoreId, SetId,
};

/// Score of the method itself: Gaussians on the features.
pub(crate) const MAIN_SCORE: ScoreId = ScoreId::GMM_FEATURES;

/// A group looked at after one of its evaluated epochs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) group: &'a Group,
    pub(crate) epoch: usize,
    results: &'a Results,
}

impl<'a> View<'a> {
    fn new(results: &'a Results, group: &'a Group, epoch: usize) -> Option<Self> {
        let view = Self {
            group,
            epoch,
            results,
        };
        view.evaluations().next().is_some().then_some(view)
    }

    fn last(results: &'a Results, group: &'a Group) -> Option<Self> {
        Self::new(results, group, group.epochs)
    }

    /// Key of the row: the group's id, with `@short` at the short schedule's length.
    pub(crate) fn key(&self) -> String {
        if self.epoch == self.group.epochs {
            self.group.id.clone()
        } else {
            format!("{}@short", self.group.id)
        }
    }

    pub(crate) fn label(&self) -> String {
        let name = group_label(self.group);
        if self.epoch == self.group.epochs {
            name
        } else {
            format!("{name}, midway")
        }
    }

    /// Index of the group's colour and marker, the same in every figure: main groups in manifest
    /// order, then the midway views.
    pub(crate) fn series(&self) -> usize {
        let main = || self.results.groups.iter().filter(|group| !group.ablation);
        let place = main()
            .position(|group| group.id == self.group.id)
            .unwrap_or(0);
        if self.epoch == self.group.epochs {
            return place;
        }
        let earlier = main()
            .take(place)
            .filter(|g| !g.l2 && g.schedule == ScheduleLength::Long);
        main().count() + earlier.count()
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (&'a Run, &'a Evaluation)> + use<'a> {
        let (results, id, epoch) = (self.results, &self.group.id, self.epoch);
        results
            .runs
            .iter()
            .filter(move |run| run.group == *id)
            .filter_map(move |run| Some((run, run.evaluation_at(epoch)?)))
    }

    pub(crate) fn evaluations(&self) -> impl Iterator<Item = &'a Evaluation> + use<'a> {
        self.runs().map(|(_, evaluation)| evaluation)
    }

    /// One figure of every seed, in percent.
    pub(crate) fn percent(&self, pick: impl Fn(&Evaluation) -> Option<f64>) -> Vec<f64> {
        self.evaluations()
            .filter_map(|e| pick(e).map(|v| 100.0 * v))
            .collect()
    }

    /// (seed, mean AUROC over the OoD sets in percent) by `score`.
    pub(crate) fn mean_auroc(&self, score: &ScoreId) -> Vec<(u64, f64)> {
        self.runs()
            .filter_map(|(run, e)| Some((run.seed, 100.0 * mean_auroc(e, score)?)))
            .collect()
    }
}

/// Mean AUROC over all OoD sets by `score`, as a fraction.
pub(crate) fn mean_auroc(evaluation: &Evaluation, score: &ScoreId) -> Option<f64> {
    let found: Vec<f64> = evaluation
        .ood
        .iter()
        .filter(|result| result.score == *score)
        .map(|result| result.detection.auroc)
        .collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

/// The parts of one network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast<'a> {
    pub(crate) net: String,
    pub(crate) l2_short: Option<View<'a>>,
    pub(crate) l2_long: Option<View<'a>>,
    pub(crate) base_long: Option<View<'a>>,
    /// The long unnormalised group at the short schedule's length.
    pub(crate) base_midway: Option<View<'a>>,
    /// A group of its own, trained on the short schedule without normalisation.
    pub(crate) base_short: Option<View<'a>>,
    pub(crate) nc: Option<View<'a>>,
}

impl<'a> Cast<'a> {
    /// The unnormalised counterpart of the short L2 group at the same number of epochs.
    pub(crate) fn base_at_short(&self) -> Option<View<'a>> {
        self.base_short.or(self.base_midway)
    }

    /// Cross-entropy views in the order of the main table.
    pub(crate) fn main_rows(&self) -> Vec<View<'a>> {
        [
            self.l2_short,
            self.base_short,
            self.base_midway,
            self.base_long,
            self.l2_long,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// All views at the end of training and in between, with the NC-loss group.
    pub(crate) fn all_rows(&self) -> Vec<View<'a>> {
        self.main_rows().into_iter().chain(self.nc).collect()
    }
}

/// The casts of all networks, in manifest order.
pub(crate) fn casts(results: &Results) -> Vec<Cast<'_>> {
    let mut found: Vec<Cast<'_>> = Vec::new();
    for group in results.groups.iter().filter(|group| !group.ablation) {
        let index = match found.iter().position(|cast| cast.net == group.net) {
            Some(index) => index,
            None => {
                found.push(Cast {
                    net: group.net.clone(),
                    ..Cast::default()
                });
                found.len() - 1
            }
        };
        let cast = &mut found[index];
        let slot = match (group.loss, group.l2, group.schedule) {
            (Loss::NeuralCollapse, _, _) => &mut cast.nc,
            (Loss::CrossEntropy, true, ScheduleLength::Short) => &mut cast.l2_short,
            (Loss::CrossEntropy, true, ScheduleLength::Long) => &mut cast.l2_long,
            (Loss::CrossEntropy, false, ScheduleLength::Short) => &mut cast.base_short,
            (Loss::CrossEntropy, false, ScheduleLength::Long) => &mut cast.base_long,
        };
        if slot.is_none() {
            *slot = View::last(results, group);
        }
    }
    for cast in &mut found {
        if let (Some(long), Some(short)) = (cast.base_long, cast.l2_short)
            && short.epoch < long.epoch
        {
            cast.base_midway = View::new(results, long.group, short.epoch);
        }
    }
    found
}

/// The last evaluation of every group that has a finished run, in manifest order.
pub(crate) fn last_views(results: &Results) -> Vec<View<'_>> {
    results
        .groups
        .iter()
        .filter_map(|group| View::last(results, group))
        .collect()
}

/// `ResNet18` for `resnet18`.
pub(crate) fn net_label(net: &str) -> String {
    net.strip_prefix("resnet")
        .map_or_else(|| net.to_owned(), |depth| format!("ResNet{depth}"))
}

/// A group in words, e.g. `ResNet18 · L2 · short`.
pub fn group_label(group: &Group) -> String {
    let mut words = vec![net_label(&group.net)];
    words.push(if group.l2 {
        "L2".into()
    } else {
        "no L2".into()
    });
    if group.loss == Loss::NeuralCollapse {
        words.push("NC loss".into());
    }
    words.push(match group.schedule {
        ScheduleLength::Short => "short".into(),
        ScheduleLength::Long => "long".into(),
    });
    if group.ablation && group.spectral_norm.is_none() {
        words.push("no SN".into());
    }
    if !group.modified {
        words.push("no mod".into());
    }
    words.extend(group.precision.clone());
    words.join(" · ")
}

/// Names of the OoD sets, in the order of the data; sets met only in runs come after.
pub(crate) fn ood_sets(results: &Results) -> Vec<SetId> {
    let mut sets: Vec<SetId> = results
        .data
        .iter()
        .filter(|set| set.role == Role::Ood)
        .map(|set| set.name.clone())
        .collect();
    for result in results
        .runs
        .iter()
        .flat_map(|r| &r.evaluations)
        .flat_map(|e| &e.ood)
    {
        if !sets.contains(&result.set) {
            sets.push(result.set.clone());
        }
    }
    sets.retain(|set| {
        let mut all = results
            .runs
            .iter()
            .flat_map(|r| &r.evaluations)
            .flat_map(|e| &e.ood);
        all.any(|result| result.set == *set)
    });
    sets
}

/// Names of the scores in order of first appearance.
pub(crate) fn scores(results: &Results) -> Vec<ScoreId> {
    let mut scores: Vec<ScoreId> = Vec::new();
    for result in results
        .runs
        .iter()
        .flat_map(|r| &r.evaluations)
        .flat_map(|e| &e.ood)
    {
        if !scores.contains(&result.score) {
            scores.push(result.score.clone());
        }
    }
    scores
}
