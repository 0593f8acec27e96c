//! The view model of results, made once: members, networks, pairings, sets and scores.
//!
//! Tables, figures and claims are drawn from it, so that each of them says the same of who is
//! compared with whom.

mod caption;
mod label;
mod member;

use collapse_results::{Group, Loss, Results, Role, ScheduleLength, ScoreId, SetId};

pub use label::group_label;
pub(crate) use label::{net_label, schedule_label};
pub(crate) use member::{Member, mean_auroc};

/// Score of the method itself: Gaussians on the features.
pub(crate) const MAIN_SCORE: ScoreId = ScoreId::GMM_FEATURES;

/// Of which features collapse is shown, and why groups with and without L2 are not like with like.
pub(crate) const OF_THE_HEAD: &str = "of what the head sees (normalised features with L2, raw ones \
     without, so a part of a difference between the two is the projection itself; C4 compares \
     normalised features of both)";

/// Who is held against whom, within one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// L2 against none, both on the finished short schedule.
    EqualShort,
    /// L2 against none, both on the long schedule.
    EqualLong,
    /// L2 on the short schedule against none on the long one.
    ShortAgainstLong,
    /// L2 at the end of the short schedule against none in the middle of the long one, whose
    /// learning rate has not fallen yet.
    Midway,
    /// L2 on the short schedule against L2 on the long one.
    OverTraining,
    /// The NC loss against cross-entropy without L2, of equal length.
    NcLoss,
}

/// Two members of one network that are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'l, 'a> {
    pub(crate) network: &'l str,
    pub(crate) first: &'l Member<'a>,
    pub(crate) second: &'l Member<'a>,
}

/// The members of one network, by their place in the design.
#[derive(Clone, Debug, Default)]
struct Network {
    name: String,
    label: String,
    l2_short: Option<usize>,
    l2_long: Option<usize>,
    base_long: Option<usize>,
    /// The long unnormalised group at the short schedule's length.
    base_midway: Option<usize>,
    /// A group of its own, trained on the short schedule without normalisation.
    base_short: Option<usize>,
    nc: Option<usize>,
}

impl Network {
    /// Cross-entropy members in the order of the main table.
    fn main(&self) -> [Option<usize>; 5] {
        [
            self.l2_short,
            self.base_short,
            self.base_midway,
            self.base_long,
            self.l2_long,
        ]
    }

    fn pair(&self, pairing: Pairing) -> Option<(usize, usize)> {
        match pairing {
            Pairing::EqualShort => self.l2_short.zip(self.base_short),
            Pairing::EqualLong => self.l2_long.zip(self.base_long),
            Pairing::ShortAgainstLong => self.l2_short.zip(self.base_long),
            Pairing::Midway => self.l2_short.zip(self.base_midway),
            Pairing::OverTraining => self.l2_short.zip(self.l2_long),
            Pairing::NcLoss => self.nc.zip(self.base_short.or(self.base_midway)),
        }
    }
}

/// The view model of results.
#[derive(Clone, Debug)]
pub(crate) struct Lineup<'a> {
    pub(crate) results: &'a Results,
    /// The last evaluation of every group with a finished run in manifest order, then the midway
    /// ones.
    members: Vec<Member<'a>>,
    networks: Vec<Network>,
    /// OoD sets with figures: in the order of the data, those met only in runs after, then the controls.
    pub(crate) sets: Vec<SetId>,
    /// Those of them that means and claims run over: all but the controls, unless there is nothing else.
    pub(crate) averaged: Vec<SetId>,
    /// Scores in order of first appearance.
    pub(crate) scores: Vec<ScoreId>,
    /// What every caption ends with.
    pub(crate) made_from: String,
    /// Sizes of the image sets, and which are a part of a larger one.
    pub(crate) set_sizes: String,
}

impl<'a> Lineup<'a> {
    /// The view model of `results`.
    pub(crate) fn of(results: &'a Results) -> Self {
        let mut members: Vec<Member<'a>> = results
            .groups
            .iter()
            .filter_map(|group| Member::at_the_end(results, group))
            .collect();
        let mut networks = networks(&members);
        for network in &mut networks {
            let (Some(long), Some(short)) = (network.base_long, network.l2_short) else {
                continue;
            };
            let (epoch, group) = (members[short].epoch, members[long].group);
            if let Some(midway) = Member::midway(results, group, epoch) {
                network.base_midway = Some(members.len());
                members.push(midway);
            }
        }
        number_series(&mut members);
        let [averaged, controls] = ood_sets(results);
        let sets = [averaged.clone(), controls.clone()].concat();
        Self {
            results,
            members,
            networks,
            averaged: if averaged.is_empty() {
                controls
            } else {
                averaged
            },
            sets,
            scores: scores(results),
            made_from: caption::made_from(results),
            set_sizes: caption::set_sizes(results),
        }
    }

    /// What it was made from, with the sizes of the image sets before it.
    pub(crate) fn made_from_sets(&self) -> String {
        let text = format!("{} {}", self.set_sizes, self.made_from);
        text.trim_start().to_owned()
    }

    /// The last evaluation of every group, ablations too, in manifest order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(|member| !member.is_midway())
    }

    /// The last evaluation of every group but ablations, in manifest order.
    pub(crate) fn finished(&self) -> impl Iterator<Item = &Member<'a>> {
        self.all().filter(|member| !member.group.ablation)
    }

    /// Rows of the main table: cross-entropy members of each network, midway ones too.
    pub(crate) fn main(&self) -> impl Iterator<Item = &Member<'a>> {
        let indices = self.networks.iter().flat_map(Network::main).flatten();
        indices.map(|index| &self.members[index])
    }

    /// As [`Lineup::main`], with each network's NC-loss group after its others.
    pub(crate) fn main_and_nc(&self) -> impl Iterator<Item = &Member<'a>> {
        let indices = self
            .networks
            .iter()
            .flat_map(|network| network.main().into_iter().chain([network.nc]))
            .flatten();
        indices.map(|index| &self.members[index])
    }

    /// The pairs of every network that has both sides.
    pub(crate) fn pairs(
        &self,
        pairing: Pairing,
    ) -> impl Iterator<Item = Pair<'_, 'a>> + use<'_, 'a> {
        self.networks.iter().filter_map(move |network| {
            let (first, second) = network.pair(pairing)?;
            Some(Pair {
                network: &network.label,
                first: &self.members[first],
                second: &self.members[second],
            })
        })
    }

    /// L2 against none on finished schedules of equal length, short pairs first.
    pub(crate) fn equal_pairs(&self) -> impl Iterator<Item = Pair<'_, 'a>> + use<'_, 'a> {
        let lengths = [Pairing::EqualShort, Pairing::EqualLong];
        lengths.into_iter().flat_map(|length| self.pairs(length))
    }

    /// Names of the networks, in manifest order.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &str> {
        self.networks.iter().map(|network| network.label.as_str())
    }
}

/// The networks of all but ablation groups; of several groups in one place the first counts.
fn networks(members: &[Member<'_>]) -> Vec<Network> {
    let mut found: Vec<Network> = Vec::new();
    for (member, group) in members.iter().map(|member| member.group).enumerate() {
        if group.ablation {
            continue;
        }
        let index = match found.iter().position(|network| network.name == group.net) {
            Some(index) => index,
            None => {
                found.push(Network {
                    name: group.net.clone(),
                    label: net_label(&group.net),
                    ..Network::default()
                });
                found.len() - 1
            }
        };
        place(&mut found[index], group).get_or_insert(member);
    }
    found
}

fn place<'n>(network: &'n mut Network, group: &Group) -> &'n mut Option<usize> {
    match (group.loss, group.l2, group.schedule) {
        (Loss::NeuralCollapse, _, _) => &mut network.nc,
        (Loss::CrossEntropy, true, ScheduleLength::Short) => &mut network.l2_short,
        (Loss::CrossEntropy, true, ScheduleLength::Long) => &mut network.l2_long,
        (Loss::CrossEntropy, false, ScheduleLength::Short) => &mut network.base_short,
        (Loss::CrossEntropy, false, ScheduleLength::Long) => &mut network.base_long,
    }
}

/// Colour and marker, the same in every figure: groups in manifest order, then the midway ones.
fn number_series(members: &mut [Member<'_>]) {
    let drawn = members.iter_mut().filter(|member| !member.group.ablation);
    for (series, member) in drawn.enumerate() {
        member.series = series;
    }
}

/// The sets with figures, without the controls and the controls.
fn ood_sets(results: &Results) -> [Vec<SetId>; 2] {
    let mut met: Vec<SetId> = Vec::new();
    for result in ood_results(results) {
        if !met.contains(&result.set) {
            met.push(result.set.clone());
        }
    }
    let [mut sets, controls] = [Role::Ood, Role::Control].map(|role| -> Vec<SetId> {
        let known = results.data.iter().filter(|set| set.role == role);
        known
            .map(|set| set.name.clone())
            .filter(|name| met.contains(name))
            .collect()
    });
    met.retain(|set| !sets.contains(set) && !controls.contains(set));
    sets.extend(met);
    [sets, controls]
}

fn scores(results: &Results) -> Vec<ScoreId> {
    let mut scores: Vec<ScoreId> = Vec::new();
    for result in ood_results(results) {
        if !scores.contains(&result.score) {
            scores.push(result.score.clone());
        }
    }
    scores
}

fn ood_results(results: &Results) -> impl Iterator<Item = &collapse_results::OodResult> {
    results
        .runs
        .iter()
        .flat_map(|run| &run.evaluations)
        .flat_map(|evaluation| &evaluation.ood)
}
