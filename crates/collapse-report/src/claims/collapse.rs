//! C4 and C5: neural collapse over training, and beside detection.

use std::collections::BTreeMap;

use collapse_results::{Claim, EpochRecord, Geometry, Run};

use super::compare::{
    BySeed, Compared, at_equal_length, aurocs, describe, judged, left_out, permutation, subtracted,
};
use super::detection::needs;
use super::verdict::{at_most_leaning, by_permutation};
use super::{Found, claim};
use crate::lineup::{Lineup, MAIN_SCORE, Member, Pair, Pairing, mean_auroc, schedule_label};
use crate::numbers::{fixed, signed};
use crate::statistics::{association_within_groups, spearman, summarize};

/// Runs of a group below which no correlation of its own is shown: below 8 the 95 % range of
/// Spearman's ρ under independence is wider than ±0.7. Our choice.
pub const SEEDS_FOR_RHO: usize = 8;

/// Points of accuracy by which an NC-loss group may stay behind cross-entropy of equal length and
/// still count as trained. Our choice.
pub const LIKE_TRAINED_MARGIN: f64 = 10.0;

/// The features of which NC is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    /// Normalised features, whether the head sees them or not.
    Unit,
    /// Raw features, whether the head sees them or not.
    Raw,
    /// What the head sees: normalised with L2, raw without.
    Head,
}

impl Space {
    fn of(self, record: &EpochRecord, l2: bool) -> Option<&Geometry> {
        let seen = match self {
            Self::Unit => l2,
            Self::Raw => !l2,
            Self::Head => true,
        };
        match seen {
            true => record.geometry.as_ref(),
            false => record.geometry_counterpart.as_ref(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Unit => "on normalised features of both",
            Self::Raw => "on raw features of both",
            Self::Head => "on what each head sees",
        }
    }
}

type Measure = fn(&Geometry) -> f64;

/// log10 of the measure without L2 over that with it, at every common epoch.
///
/// `None` where a measure is 0, whose logarithm does not exist.
fn decades(l2: &Run, base: &Run, space: Space, pick: Measure) -> Option<Vec<(usize, f64)>> {
    let mut found = Vec::new();
    for record in l2.history.iter().filter(|record| record.epoch > 0) {
        let Some(a) = space.of(record, true).map(pick) else {
            continue;
        };
        let other = base.history.iter().find(|r| r.epoch == record.epoch);
        let Some(b) = other.and_then(|r| space.of(r, false)).map(pick) else {
            continue;
        };
        if a <= 0.0 || b <= 0.0 {
            return None;
        }
        found.push((record.epoch, (b / a).log10()));
    }
    Some(found)
}

/// [`decades`] of every two runs of one seed.
fn decades_of_runs(
    pair: &Pair<'_, '_>,
    space: Space,
    pick: Measure,
) -> Vec<(u64, Vec<(usize, f64)>)> {
    let runs = pair.first.runs.iter();
    runs.filter_map(|(a, _)| {
        let (b, _) = pair.second.runs.iter().find(|(b, _)| b.seed == a.seed)?;
        Some((a.seed, decades(a, b, space, pick)?))
    })
    .collect()
}

/// Their means over epochs; none of runs without a common epoch.
fn decades_by_seed(pair: &Pair<'_, '_>, space: Space, pick: Measure) -> BySeed {
    let runs = decades_of_runs(pair, space, pick).into_iter();
    runs.filter_map(|(seed, found)| {
        let values: Vec<f64> = found.into_iter().map(|(_, value)| value).collect();
        Some((seed, summarize(&values)?.mean))
    })
    .collect()
}

/// Their means over seeds at every epoch, in words, network by network and length by length.
fn decades_by_epoch(lineup: &Lineup<'_>, space: Space, pick: Measure) -> Vec<String> {
    let words = |pair: Pair<'_, '_>| {
        let mut by_epoch: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (epoch, value) in decades_of_runs(&pair, space, pick)
            .into_iter()
            .flat_map(|(_, found)| found)
        {
            by_epoch.entry(epoch).or_default().push(value);
        }
        let means = by_epoch.iter().filter_map(|(epoch, values)| {
            Some(format!("{epoch} {}", signed(summarize(values)?.mean, 2)))
        });
        let means: Vec<String> = means.collect();
        let length = schedule_label(pair.first.group.schedule);
        (!means.is_empty()).then(|| format!("{}, {length}: {}", pair.network, means.join(", ")))
    };
    lineup.equal_pairs().filter_map(words).collect()
}

pub(super) fn comes_earlier(lineup: &Lineup<'_>) -> Claim {
    let compared = |space: Space, pick: Measure| {
        at_equal_length(lineup, |pair| decades_by_seed(pair, space, pick))
    };
    let nc1: Measure = |g| g.nc1;
    let unit = compared(Space::Unit, nc1);
    let (space, decisive) = match unit.is_empty() {
        true => (Space::Head, compared(Space::Head, nc1)),
        false => (Space::Unit, unit),
    };
    let found = judged(&decisive, 0.0).map(|(mut whole, mut strata)| {
        if space == Space::Head {
            whole.verdict = at_most_leaning(whole.verdict);
            for stratum in &mut strata {
                stratum.verdict = at_most_leaning(stratum.verdict);
            }
        }
        let parts: Vec<String> = decisive
            .iter()
            .filter_map(|c| c.describe("decades", 2))
            .collect();
        let mean = |space: Space, pick: Measure| {
            let values: Vec<f64> = compared(space, pick)
                .iter()
                .flat_map(Compared::values)
                .collect();
            Some(signed(summarize(&values)?.mean, 2))
        };
        let others: Vec<String> = OTHERS
            .iter()
            .filter_map(|(name, pick)| Some(format!("{name} {}", mean(space, *pick)?)))
            .collect();
        let beside = match space {
            Space::Head => " These runs hold NC of normalised features with L2 and of raw ones \
                            without: a part of the difference may be the projection itself, so \
                            the verdict goes no further than leaning."
                .to_owned(),
            _ => mean(Space::Raw, nc1)
                .map(|raw| format!(" NC1 {}: {raw}.", Space::Raw.words()))
                .unwrap_or_default(),
        };
        Found {
            evidence: format!(
                "log10 of NC1 without L2 minus with it, {}, averaged over the epochs measured in \
                 both, paired by seed; positive means more collapsed at the same epoch. {}. Epoch \
                 by epoch: {}. The other measures: {}.{beside}{}",
                space.words(),
                parts.join("; "),
                decades_by_epoch(lineup, space, nc1).join("; "),
                others.join(", "),
                left_out(&decisive),
            ),
            whole,
            strata,
        }
    });
    claim(
        "C4",
        "L2 normalisation brings neural collapse earlier in training.",
        needs(
            found,
            "needs groups with and without L2 of equal length, with NC measured over epochs",
        ),
    )
}

const OTHERS: [(&str, Measure); 3] = [
    ("NC2 (angles of means)", |g| g.nc2_equiangular_means),
    ("NC2 (norms of means)", |g| g.nc2_equinorm_means),
    ("NC3", |g| g.nc3),
];

/// (NC1, mean AUROC) of every run of a group after its last epoch.
struct Points<'l> {
    member: &'l Member<'l>,
    points: Vec<(f64, f64)>,
}

impl<'l> Points<'l> {
    fn of(lineup: &Lineup<'_>, member: &'l Member<'l>) -> Self {
        let points = member.evaluations().filter_map(|evaluation| {
            let auroc = mean_auroc(evaluation, &MAIN_SCORE, &lineup.averaged)?;
            Some((evaluation.geometry.value()?.nc1, auroc))
        });
        Self {
            member,
            points: points.collect(),
        }
    }
}

/// Spearman's ρ over points.
fn rho(points: &[(f64, f64)]) -> Option<f64> {
    let (nc1, auroc): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    spearman(&nc1, &auroc)
}

pub(super) fn goes_with_detection(lineup: &Lineup<'_>) -> Claim {
    let untrained = untrained(lineup);
    let groups: Vec<Points<'_>> = trained(lineup)
        .into_iter()
        .map(|member| Points::of(lineup, member))
        .collect();
    let strata: Vec<Vec<(f64, f64)>> = groups.iter().map(|g| g.points.clone()).collect();
    let found = association_within_groups(&strata).map(|(effect, test)| {
        let used = strata.iter().filter(|points| points.len() > 1);
        let n: usize = used.map(Vec::len).sum();
        let each: Vec<String> = groups
            .iter()
            .filter(|g| g.points.len() >= SEEDS_FOR_RHO)
            .filter_map(|g| Some(format!("{} {}", g.member.label, signed(rho(&g.points)?, 2))))
            .collect();
        let each = match each.is_empty() {
            true => String::new(),
            false => format!(" Within single groups ρ is {}.", each.join(", ")),
        };
        let pooled = rho(&strata.concat()).map_or_else(String::new, |rho| {
            format!(
                " Over all runs together ρ is {}, a description: groups differ in more than NC1.",
                signed(rho, 2)
            )
        });
        let judged = by_network(&groups);
        Found {
            whole: by_permutation("all", effect, -1.0, &test, n),
            strata: judged,
            evidence: format!(
                "Rank correlation of NC1 with the mean AUROC over {}, ranks centred within groups, \
                 over {n} runs after their last epoch: {} (one side permuted within groups, {}); \
                 negative means that the more collapsed of two runs that differ in the seed alone \
                 detects better.{each}{pooled}{}{}",
                super::detection::sets(lineup),
                signed(effect, 2),
                permutation(&test),
                intervention(lineup, &untrained),
                excluded(&untrained),
            ),
        }
    });
    claim(
        "C5",
        "Neural collapse and OoD performance are linked (no causal claim).",
        needs(
            found,
            "needs a group of at least two runs with NC1 and AUROC",
        ),
    )
}

/// The association in each network alone.
fn by_network(groups: &[Points<'_>]) -> Vec<collapse_results::Stratum> {
    let mut networks: Vec<&str> = groups.iter().map(|g| g.member.group.net.as_str()).collect();
    networks.dedup();
    networks
        .iter()
        .filter_map(|net| {
            let own = groups.iter().filter(|g| g.member.group.net == *net);
            let strata: Vec<Vec<(f64, f64)>> = own.map(|g| g.points.clone()).collect();
            let (effect, test) = association_within_groups(&strata)?;
            let n = strata.iter().filter(|p| p.len() > 1).map(Vec::len).sum();
            let name = crate::lineup::net_label(net);
            Some(by_permutation(&name, effect, -1.0, &test, n))
        })
        .collect()
}

/// The groups that C5 judges.
pub(crate) fn trained<'l, 'a>(lineup: &'l Lineup<'a>) -> Vec<&'l Member<'a>> {
    let untrained = untrained(lineup);
    let left_out = |member: &&Member<'_>| untrained.iter().any(|(m, _)| m.key == member.key);
    lineup.finished().filter(|m| !left_out(m)).collect()
}

/// NC-loss groups whose accuracy stays behind that of cross-entropy, with the points they lack.
///
/// Half-trained networks differ in collapse and in detection because they differ in training.
fn untrained<'l, 'a>(lineup: &'l Lineup<'a>) -> Vec<(&'l Member<'a>, f64)> {
    let accuracy = |member: &Member<'_>| {
        let values = member.percent(|e| Some(e.accuracy));
        summarize(&values).map_or(0.0, |s| s.mean)
    };
    lineup
        .pairs(Pairing::NcLoss)
        .map(|pair| (pair.first, accuracy(pair.second) - accuracy(pair.first)))
        .filter(|(_, behind)| *behind > LIKE_TRAINED_MARGIN)
        .collect()
}

fn excluded(untrained: &[(&Member<'_>, f64)]) -> String {
    untrained
        .iter()
        .map(|(member, behind)| {
            format!(
                " {} is left out: its accuracy is {} points below cross-entropy of equal length \
                 (limit {LIKE_TRAINED_MARGIN:.0}), so it is not a trained network.",
                member.label,
                fixed(*behind, 1)
            )
        })
        .collect()
}

/// The NC-loss groups beside cross-entropy of equal length.
fn intervention(lineup: &Lineup<'_>, untrained: &[(&Member<'_>, f64)]) -> String {
    let found: Vec<String> = lineup
        .pairs(Pairing::NcLoss)
        .filter(|pair| !untrained.iter().any(|(m, _)| m.key == pair.first.key))
        .filter_map(|pair| {
            let differences = subtracted(&aurocs(lineup, pair.first), &aurocs(lineup, pair.second));
            let difference = Compared::of(&pair, "", differences).difference()?;
            let words = describe(&difference, "points", 2);
            Some(format!("{}: {words}", pair.network))
        })
        .collect();
    if found.is_empty() {
        return String::new();
    }
    format!(
        " Mean AUROC with the NC loss minus cross-entropy of equal length: {}.",
        found.join("; ")
    )
}
