//! Paired comparisons: differences by seed, within networks and over them.

use collapse_results::Stratum;

use super::verdict::{CONFIDENT, by_t};
use crate::lineup::{Lineup, MAIN_SCORE, Member, Pair, Pairing, mean_auroc};
use crate::numbers::{p_value, signed, signed_range, smallest_p};
use crate::statistics::{Difference, stratified_difference};

/// (seed, value).
pub(super) type BySeed = Vec<(u64, f64)>;

/// One network in one condition, compared seed by seed.
pub(super) struct Compared {
    /// The network, with the condition where there are several.
    pub(super) name: String,
    pub(super) network: String,
    pub(super) differences: BySeed,
    /// Runs on either side without a partner, or without the figure.
    pub(super) left_out: usize,
}

impl Compared {
    /// `value` gives a difference for two runs of the same seed that both have the figure.
    pub(super) fn of(pair: &Pair<'_, '_>, condition: &str, differences: BySeed) -> Self {
        let runs = pair.first.runs.len() + pair.second.runs.len();
        let name = match condition.is_empty() {
            true => pair.network.to_owned(),
            false => format!("{}, {condition}", pair.network),
        };
        Self {
            name,
            network: pair.network.to_owned(),
            left_out: runs - 2 * differences.len(),
            differences,
        }
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.differences.iter().map(|(_, value)| *value).collect()
    }

    pub(super) fn difference(&self) -> Option<Difference> {
        stratified_difference(&[self.values()])
    }

    /// The difference in words.
    pub(super) fn describe(&self, unit: &str, decimals: usize) -> Option<String> {
        let found = self.difference()?;
        Some(format!(
            "{}: {}",
            self.name,
            describe(&found, unit, decimals)
        ))
    }
}

/// Mean AUROC over all sets but controls, in percent, of the runs of `member` that have it on each.
pub(super) fn aurocs(lineup: &Lineup<'_>, member: &Member<'_>) -> BySeed {
    member
        .runs
        .iter()
        .filter_map(|(run, e)| Some((run.seed, mean_auroc(e, &MAIN_SCORE, &lineup.averaged)?)))
        .collect()
}

/// Accuracy of every seed in percent.
pub(super) fn accuracies(member: &Member<'_>) -> BySeed {
    let percent = member.runs.iter();
    percent
        .map(|(run, e)| (run.seed, 100.0 * e.accuracy))
        .collect()
}

/// The values of seeds that both sides have.
pub(super) fn matched(first: &BySeed, second: &BySeed) -> Vec<(u64, f64, f64)> {
    first
        .iter()
        .filter_map(|&(seed, a)| {
            let (_, b) = second.iter().find(|(other, _)| *other == seed)?;
            Some((seed, a, *b))
        })
        .collect()
}

/// First minus second of the seeds that both sides have.
pub(super) fn subtracted(first: &BySeed, second: &BySeed) -> BySeed {
    let pairs = matched(first, second).into_iter();
    pairs.map(|(seed, a, b)| (seed, a - b)).collect()
}

/// Every network's comparisons at equal length, short and long, where they have any pair.
pub(super) fn at_equal_length(
    lineup: &Lineup<'_>,
    differences: impl Fn(&Pair<'_, '_>) -> BySeed,
) -> Vec<Compared> {
    let mut found: Vec<Compared> = Vec::new();
    for network in lineup.networks() {
        for (pairing, words) in [(Pairing::EqualShort, "short"), (Pairing::EqualLong, "long")] {
            let pairs = lineup.pairs(pairing).filter(|p| p.network == network);
            found.extend(pairs.map(|pair| Compared::of(&pair, words, differences(&pair))));
        }
    }
    found.retain(|compared| !compared.differences.is_empty());
    found
}

/// The difference over all networks: the conditions of a network averaged seed by seed first,
/// then every network with the same weight.
pub(super) fn over_networks(compared: &[Compared]) -> Option<Difference> {
    let mut strata: Vec<Vec<f64>> = Vec::new();
    for conditions in compared.chunk_by(|a, b| a.network == b.network) {
        let (first, others) = conditions.split_first()?;
        let mean = |&(seed, value): &(u64, f64)| {
            let mut sum = value;
            for other in others {
                sum += other.differences.iter().find(|(s, _)| *s == seed)?.1;
            }
            Some(sum / conditions.len() as f64)
        };
        strata.push(first.differences.iter().filter_map(mean).collect());
    }
    stratified_difference(&strata)
}

/// Every comparison and the whole, judged by t against `threshold`.
pub(super) fn judged(compared: &[Compared], threshold: f64) -> Option<(Stratum, Vec<Stratum>)> {
    let whole = by_t("all", &over_networks(compared)?, threshold);
    let strata = compared
        .iter()
        .filter_map(|c| Some(by_t(&c.name, &c.difference()?, threshold)))
        .collect();
    Some((whole, strata))
}

/// A difference with its interval and both tests.
pub(super) fn describe(found: &Difference, unit: &str, decimals: usize) -> String {
    let interval = found.interval(CONFIDENT).map_or_else(
        || "no interval from one seed".to_owned(),
        |interval| format!("95 % interval {}", signed_range(interval, decimals)),
    );
    let t_test = found
        .p_value(0.0)
        .map_or_else(String::new, |p| format!(", t test {}", p_value(p)));
    format!(
        "{} {unit} ({interval}, n = {}{t_test}, signs flipped {})",
        signed(found.mean, decimals),
        found.n,
        permutation(&found.permutation),
    )
}

/// A permutation's p beside the smallest that so many seeds can give.
pub(super) fn permutation(test: &crate::statistics::Permutation) -> String {
    let smallest = match test.exact {
        true => format!("; smallest possible {}", smallest_p(test.smallest)),
        false => String::new(),
    };
    format!("{}{smallest}", p_value(test.p_value))
}

/// Says what was left out, so that no seed or set disappears silently; empty when nothing was.
pub(super) fn left_out(compared: &[Compared]) -> String {
    let found: Vec<String> = compared
        .iter()
        .filter(|c| c.left_out > 0)
        .map(|c| format!("{} of {}", c.left_out, c.name))
        .collect();
    if found.is_empty() {
        return String::new();
    }
    format!(
        " Runs left out for want of the same seed on the other side or of a figure on every set: {}.",
        found.join(", ")
    )
}
