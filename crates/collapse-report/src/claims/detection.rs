//! C1 to C3: what L2 normalisation does to detection and accuracy.

use collapse_results::{Claim, Defined, Stratum};

use super::compare::{
    Compared, accuracies, at_equal_length, aurocs, describe, judged, left_out, matched,
    over_networks, permutation, subtracted,
};
use super::verdict::{CONFIDENT, by_p, by_permutation};
use super::{Found, claim};
use crate::lineup::{Lineup, Pair, Pairing};
use crate::numbers::{fixed, signed};
use crate::statistics::{Difference, worst_case_difference};

/// Margin in percentage points within which two groups count as comparable in C2.
///
/// Our choice: the paper names none.
pub const COMPARABLE_MARGIN: f64 = 1.0;

const POINTS: &str = "points";

pub(super) fn normalisation_helps(lineup: &Lineup<'_>) -> Claim {
    let auroc =
        |pair: &Pair<'_, '_>| subtracted(&aurocs(lineup, pair.first), &aurocs(lineup, pair.second));
    let compared = at_equal_length(lineup, auroc);
    let found = judged(&compared, 0.0).map(|(whole, strata)| {
        let parts: Vec<String> = compared
            .iter()
            .filter_map(|c| c.describe(POINTS, 2))
            .collect();
        let midway: Vec<String> = lineup
            .pairs(Pairing::Midway)
            .filter_map(|pair| Compared::of(&pair, "", auroc(&pair)).describe(POINTS, 2))
            .collect();
        let midway = match midway.is_empty() {
            true => String::new(),
            false => format!(
                " Beside the middle of the long training without L2 (as many epochs, but the \
                 learning rate has not fallen yet; a description that decides nothing): {}.",
                midway.join("; ")
            ),
        };
        Found {
            evidence: format!(
                "AUROC of Gaussians on the features, mean over {}, with L2 minus without, finished \
                 schedules of equal length, paired by seed. {}. The verdict is on the mean of the \
                 lengths, every network with the same weight: {} {POINTS}.{midway}{}",
                sets(lineup),
                parts.join("; "),
                signed(whole.effect, 2),
                left_out(&compared),
            ),
            whole,
            strata,
        }
    });
    claim(
        "C1",
        "L2-normalising the features improves OoD detection.",
        needs(found, "needs groups with and without L2 of equal length"),
    )
}

pub(super) fn short_suffices(lineup: &Lineup<'_>) -> Claim {
    let pairs: Vec<Pair<'_, '_>> = lineup.pairs(Pairing::ShortAgainstLong).collect();
    let compared = |values: &dyn Fn(&Pair<'_, '_>) -> Vec<(u64, f64)>| -> Vec<Compared> {
        let all = pairs
            .iter()
            .map(|pair| Compared::of(pair, "", values(pair)));
        all.filter(|c| !c.differences.is_empty()).collect()
    };
    let auroc = compared(&|p| subtracted(&aurocs(lineup, p.first), &aurocs(lineup, p.second)));
    let accuracy = compared(&|p| subtracted(&accuracies(p.first), &accuracies(p.second)));
    let found = (|| {
        let both = [over_networks(&auroc)?, over_networks(&accuracy)?];
        let strata = auroc
            .iter()
            .filter_map(|a| {
                let b = accuracy.iter().find(|b| b.name == a.name)?;
                Some(in_both(&a.name, &[a.difference()?, b.difference()?]))
            })
            .collect();
        let lengths: Vec<String> = pairs
            .iter()
            .map(|p| format!("{} {} against {}", p.network, p.first.epoch, p.second.epoch))
            .collect();
        Some(Found {
            evidence: format!(
                "Short training with L2 minus long training without, paired by seed ({} epochs); \
                 mean AUROC over {}: {}; accuracy: {}. Comparable means no more than \
                 {COMPARABLE_MARGIN:.0} point lower in both (our margin); the effect shown is that \
                 on AUROC, p the larger of the two against the margin where both hold and twice the \
                 smaller where one fails.{}",
                lengths.join(", "),
                sets(lineup),
                describe(&both[0], POINTS, 2),
                describe(&both[1], POINTS, 2),
                left_out(&auroc),
            ),
            whole: in_both("all", &both),
            strata,
        })
    })();
    claim(
        "C2",
        "A fraction of the training suffices with L2: OoD scores and accuracy are comparable or \
         better.",
        needs(found, "needs a short group with L2 and a long one without"),
    )
}

/// Whether both differences lie above −[`COMPARABLE_MARGIN`].
///
/// For the claim both must hold, so the larger p decides (an intersection–union test, Berger
/// 1982); against it one failure suffices, so the smallest p counts twice (Bonferroni).
fn in_both(name: &str, differences: &[Difference; 2]) -> Stratum {
    let tests = differences.map(|d| (d.mean > -COMPARABLE_MARGIN, d.p_value(-COMPARABLE_MARGIN)));
    let holds = tests.iter().all(|(above, _)| *above);
    let p_values = || tests.iter().filter(|(above, _)| *above == holds);
    let p_value = match holds {
        true => p_values().try_fold(0.0f64, |most, (_, p)| Some(most.max((*p)?))),
        false => p_values().try_fold(1.0f64, |least, (_, p)| Some(least.min(2.0 * (*p)?))),
    };
    let auroc = &differences[0];
    Stratum {
        name: name.to_owned(),
        verdict: by_p(holds, p_value),
        effect: auroc.mean,
        interval: auroc.interval(CONFIDENT),
        p_value,
        smallest_p: None,
        n: auroc.n,
    }
}

pub(super) fn worst_case_improves(lineup: &Lineup<'_>) -> Claim {
    let mut names = Vec::new();
    let mut strata: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut all: Vec<Compared> = Vec::new();
    for pair in lineup.pairs(Pairing::ShortAgainstLong) {
        let (first, second) = (aurocs(lineup, pair.first), aurocs(lineup, pair.second));
        let matched = matched(&first, &second);
        if !matched.is_empty() {
            names.push((pair.network, pair.first.epoch, pair.second.epoch));
            strata.push(matched.iter().map(|(_, a, b)| (*a, *b)).collect());
        }
        all.push(Compared::of(&pair, "", subtracted(&first, &second)));
    }
    let found = (|| {
        let whole = worst_case_difference(&strata)?;
        let mut parts = Vec::new();
        let mut judged = Vec::new();
        for ((network, short, long), pairs) in names.iter().zip(&strata) {
            let found = worst_case_difference(std::slice::from_ref(pairs))?;
            let least =
                |side: fn(&(f64, f64)) -> f64| pairs.iter().map(side).fold(f64::INFINITY, f64::min);
            parts.push(format!(
                "{network}: {} % after {short} epochs with L2 against {} % after {long} without, \
                 {} points (n = {} pairs, sides swapped {})",
                fixed(least(|p| p.0), 2),
                fixed(least(|p| p.1), 2),
                signed(found.difference, 2),
                found.n,
                permutation(&found.permutation),
            ));
            let (difference, test) = (found.difference, &found.permutation);
            judged.push(by_permutation(network, difference, 1.0, test, found.n));
        }
        Some(Found {
            whole: by_permutation("all", whole.difference, 1.0, &whole.permutation, whole.n),
            strata: judged,
            evidence: format!(
                "Worst mean AUROC over seeds. {}. The test swaps the two runs of a seed; no \
                 interval is given, as the bootstrap of a minimum gives none that holds.{}",
                parts.join("; "),
                left_out(&all),
            ),
        })
    })();
    claim(
        "C3",
        "The worst case over seeds improves.",
        needs(found, "needs a short group with L2 and a long one without"),
    )
}

/// The sets that a mean AUROC runs over, by name.
pub(super) fn sets(lineup: &Lineup<'_>) -> String {
    let names: Vec<&str> = lineup.averaged.iter().map(|set| set.as_str()).collect();
    names.join(", ")
}

/// What was found, or else what it would need.
pub(super) fn needs(found: Option<Found>, needed: &str) -> Defined<Found> {
    Defined::from_fields(found, Some(needed.to_owned()))
}
