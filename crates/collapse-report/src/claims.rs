//! The claims C1 to C5 as they look in the results: effect, interval, careful words.

use std::collections::BTreeMap;

use collapse_results::{Claim, Geometry, Results, Run, Verdict};

use crate::cast::{Cast, MAIN_SCORE, View, casts, mean_auroc};
use crate::statistics::{
    Difference, bootstrap_items, paired_difference, spearman, summarize, unpaired_difference,
    worst_case_difference,
};

/// Margin in percentage points within which two groups count as comparable in C2.
///
/// Our choice: the paper names none.
pub const COMPARABLE_MARGIN: f64 = 1.0;

/// Seeds below which a bootstrap of the worst case is too rough for more than "leaning".
///
/// Our choice.
pub const WORST_CASE_SEEDS: usize = 5;

/// (seed, value) of every seed.
type SeedValues = Vec<(u64, f64)>;

type Effect = Option<(f64, f64)>;

/// All five claims, in order; a claim whose groups are missing is `NotMeasured`.
pub fn claims(results: &Results) -> Vec<Claim> {
    let casts = casts(results);
    vec![
        normalisation_helps(&casts),
        short_suffices(&casts),
        worst_case_improves(&casts),
        collapse_comes_earlier(results, &casts),
        collapse_and_detection(&casts),
    ]
}

fn claim(id: &str, statement: &str, found: Option<Found>, needed: &str) -> Claim {
    let (id, statement) = (id.to_owned(), statement.to_owned());
    match found {
        Some(found) => Claim {
            id,
            statement,
            verdict: found.verdict,
            effect: Some(found.effect),
            interval: found.interval,
            evidence: found.evidence,
        },
        None => Claim {
            id,
            statement,
            verdict: Verdict::NotMeasured,
            effect: None,
            interval: None,
            evidence: format!("Not measured: {needed}."),
        },
    }
}

struct Found {
    verdict: Verdict,
    effect: f64,
    interval: Effect,
    evidence: String,
}

/// Verdict of an effect that the claim says is above `threshold`.
///
/// Leaning takes an effect that clears the threshold by half of what the interval leaves below it (our choice), so
/// that a difference far smaller than its uncertainty stays undecided.
fn verdict(effect: f64, interval: Effect, threshold: f64) -> Verdict {
    match interval {
        Some((low, _)) if low > threshold => Verdict::Supported,
        Some((_, high)) if high < threshold => Verdict::Contradicted,
        Some((low, _)) if effect - threshold > (effect - low) / 2.0 => Verdict::Leaning,
        _ => Verdict::Undecided,
    }
}

fn bounds(interval: Effect) -> String {
    interval.map_or_else(
        || "no interval from one seed".to_owned(),
        |(low, high)| format!("95 % interval {low:+.2} to {high:+.2}"),
    )
}

/// Pairs by seed where both sides have the same seeds, else compares unpaired.
fn difference(first: &[(u64, f64)], second: &[(u64, f64)]) -> Option<(Difference, &'static str)> {
    let values = |side: &[(u64, f64)]| -> Vec<f64> { side.iter().map(|(_, v)| *v).collect() };
    let same = first
        .iter()
        .map(|(s, _)| s)
        .eq(second.iter().map(|(s, _)| s));
    let (a, b) = (values(first), values(second));
    if same {
        Some((paired_difference(&a, &b)?, "paired by seed"))
    } else {
        Some((unpaired_difference(&a, &b)?, "unpaired"))
    }
}

fn accuracies(view: &View<'_>) -> Vec<(u64, f64)> {
    view.runs()
        .map(|(run, e)| (run.seed, 100.0 * e.accuracy))
        .collect()
}

fn describe(words: &str, difference: &Difference, how: &str) -> String {
    format!(
        "{words} {:+.2} points ({}, {how}, n = {}, {}permutation p = {:.3})",
        difference.mean,
        bounds(difference.interval),
        difference.n,
        if difference.exact { "exact " } else { "" },
        difference.p_value,
    )
}

/// Seed-wise values of all networks, kept apart by shifting the seed's key.
fn gather<'a>(
    casts: &[Cast<'a>],
    pick: impl Fn(&Cast<'a>) -> Option<(View<'a>, View<'a>)>,
    values: impl Fn(&View<'a>) -> Vec<(u64, f64)>,
) -> (SeedValues, SeedValues) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (index, cast) in casts.iter().enumerate() {
        if let Some((a, b)) = pick(cast) {
            let key = |(seed, value): (u64, f64)| (seed ^ (index as u64) << 48, value);
            first.extend(values(&a).into_iter().map(key));
            second.extend(values(&b).into_iter().map(key));
        }
    }
    (first, second)
}

fn normalisation_helps(casts: &[Cast<'_>]) -> Claim {
    let auroc = |view: &View<'_>| view.mean_auroc(&MAIN_SCORE);
    let equal_long = gather(casts, |c| Some((c.l2_long?, c.base_long?)), auroc);
    let equal_short = gather(casts, |c| Some((c.l2_short?, c.base_at_short()?)), auroc);
    let found = (|| {
        let long = difference(&equal_long.0, &equal_long.1);
        let short = difference(&equal_short.0, &equal_short.1);
        let (main, _) = long.or(short)?;
        let parts: Vec<String> = [("long training:", long), ("short training:", short)]
            .into_iter()
            .filter_map(|(words, d)| d.map(|(d, how)| describe(words, &d, how)))
            .collect();
        Some(Found {
            verdict: verdict(main.mean, main.interval, 0.0),
            effect: main.mean,
            interval: main.interval,
            evidence: format!(
                "AUROC of Gaussians on the features, mean over OoD sets, with L2 minus without, \
                 at equal length; {}. The first figure decides.",
                parts.join("; ")
            ),
        })
    })();
    claim(
        "C1",
        "L2-normalising the features improves OoD detection.",
        found,
        "needs groups with and without L2 of equal length",
    )
}

fn short_suffices(casts: &[Cast<'_>]) -> Claim {
    let pick = |c: &Cast<'_>| c.l2_short.is_some() && c.base_long.is_some();
    let pairs: Vec<Cast<'_>> = casts.iter().filter(|c| pick(c)).cloned().collect();
    let auroc = gather(
        &pairs,
        |c| Some((c.l2_short?, c.base_long?)),
        |v| v.mean_auroc(&MAIN_SCORE),
    );
    let accuracy = gather(&pairs, |c| Some((c.l2_short?, c.base_long?)), accuracies);
    let found = (|| {
        let (auroc, how) = difference(&auroc.0, &auroc.1)?;
        let (accuracy, _) = difference(&accuracy.0, &accuracy.1)?;
        let lengths: Vec<String> = pairs
            .iter()
            .filter_map(|c| {
                Some(format!(
                    "{} against {}",
                    c.l2_short?.epoch, c.base_long?.epoch
                ))
            })
            .collect();
        let each = [&auroc, &accuracy].map(|d| verdict(d.mean, d.interval, -COMPARABLE_MARGIN));
        let verdict = if each.contains(&Verdict::Contradicted) {
            Verdict::Contradicted
        } else if each == [Verdict::Supported; 2] {
            Verdict::Supported
        } else if each
            .iter()
            .all(|v| matches!(v, Verdict::Supported | Verdict::Leaning))
        {
            Verdict::Leaning
        } else {
            Verdict::Undecided
        };
        Some(Found {
            verdict,
            effect: auroc.mean,
            interval: auroc.interval,
            evidence: format!(
                "Short training with L2 minus long training without, {} epochs; {}; {}. \
                 Comparable means no more than {COMPARABLE_MARGIN:.0} point lower in both (our \
                 margin); the effect shown is that on AUROC.",
                lengths.join(", "),
                describe("mean AUROC", &auroc, how),
                describe("accuracy", &accuracy, how),
            ),
        })
    })();
    claim(
        "C2",
        "A fraction of the training suffices with L2: OoD scores and accuracy are comparable or better.",
        found,
        "needs a short group with L2 and a long one without",
    )
}

fn worst_case_improves(casts: &[Cast<'_>]) -> Claim {
    let found = (|| {
        let cast = casts
            .iter()
            .find(|c| c.l2_short.is_some() && c.base_long.is_some())?;
        let (l2, base) = (cast.l2_short?, cast.base_long?);
        let values = |view: &View<'_>| -> Vec<f64> {
            view.mean_auroc(&MAIN_SCORE)
                .into_iter()
                .map(|(_, v)| v)
                .collect()
        };
        let (a, b) = (values(&l2), values(&base));
        let (effect, interval) = worst_case_difference(&a, &b)?;
        let mut outcome = verdict(effect, interval, 0.0);
        let few = a.len().min(b.len()) < WORST_CASE_SEEDS;
        if few {
            outcome = match outcome {
                Verdict::Supported => Verdict::Leaning,
                Verdict::Contradicted => Verdict::Undecided,
                other => other,
            };
        }
        let (a, b) = (summarize(&a)?, summarize(&b)?);
        Some(Found {
            verdict: outcome,
            effect,
            interval,
            evidence: format!(
                "Worst mean AUROC over seeds of {}: {:.2} % after {} epochs with L2 ({} seeds) \
                 against {:.2} % after {} without ({} seeds): {effect:+.2} points (bootstrap over \
                 seeds, {}).{}",
                crate::cast::net_label(&cast.net),
                a.min,
                l2.epoch,
                a.n,
                b.min,
                base.epoch,
                b.n,
                bounds(interval),
                if few {
                    " With so few seeds the bootstrap of a minimum is too narrow, so the verdict \
                     goes no further than leaning."
                } else {
                    ""
                }
            ),
        })
    })();
    claim(
        "C3",
        "The worst case over seeds improves.",
        found,
        "needs a short group with L2 and a long one without",
    )
}

/// Mean over common epochs of log10 of `pick`; epochs where it is 0 are left out.
fn decades(first: &Run, second: &Run, pick: fn(&Geometry) -> f64) -> Option<f64> {
    let found: Vec<f64> = first
        .history
        .iter()
        .filter(|record| record.epoch > 0)
        .filter_map(|record| {
            let a = pick(record.geometry.as_ref()?);
            let other = second.history.iter().find(|r| r.epoch == record.epoch)?;
            let b = pick(other.geometry.as_ref()?);
            (a > 0.0 && b > 0.0).then(|| (b / a).log10())
        })
        .collect();
    Some(summarize(&found)?.mean)
}

fn collapse_comes_earlier(results: &Results, casts: &[Cast<'_>]) -> Claim {
    let found = (|| {
        let cast = casts.iter().find_map(|c| {
            let equal = c.l2_long.zip(c.base_long).or(c.l2_short.zip(c.base_short));
            equal.map(|pair| (c, pair))
        });
        let (cast, (l2, base)) = cast?;
        let pairs: Vec<(&Run, &Run)> = results
            .runs_of(&l2.group.id)
            .filter_map(|a| {
                Some((
                    a,
                    results.runs_of(&base.group.id).find(|b| b.seed == a.seed)?,
                ))
            })
            .collect();
        let gaps = |pick: fn(&Geometry) -> f64| -> Vec<f64> {
            pairs
                .iter()
                .filter_map(|(a, b)| decades(a, b, pick))
                .collect()
        };
        let nc1 = gaps(|g| g.nc1);
        let test = paired_difference(&nc1, &vec![0.0; nc1.len()])?;
        let others: Vec<String> = [
            ("NC2 (angles of means)", gaps(|g| g.nc2_equiangular_means)),
            ("NC2 (norms of means)", gaps(|g| g.nc2_equinorm_means)),
            ("NC3", gaps(|g| g.nc3)),
        ]
        .into_iter()
        .filter_map(|(name, values)| Some(format!("{name} {:+.2}", summarize(&values)?.mean)))
        .collect();
        Some(Found {
            verdict: verdict(test.mean, test.interval, 0.0),
            effect: test.mean,
            interval: test.interval,
            evidence: format!(
                "{} over {} epochs: log10 of NC1 without L2 minus with it is {:+.2} decades, averaged \
                 over the measured epochs ({}, paired by seed, n = {}; positive means more \
                 collapsed at the same epoch). The other measures: {}.",
                crate::cast::net_label(&cast.net),
                l2.epoch,
                test.mean,
                bounds(test.interval),
                test.n,
                others.join(", "),
            ),
        })
    })();
    claim(
        "C4",
        "L2 normalisation brings neural collapse earlier in training.",
        found,
        "needs groups with and without L2 of equal length, with NC measured over epochs",
    )
}

/// (log10 NC1, mean AUROC) of an evaluated network.
type Point = (f64, f64);

fn collapse_and_detection(casts: &[Cast<'_>]) -> Claim {
    let mut points: Vec<Point> = Vec::new();
    // Evaluations of one run at several epochs are resampled together.
    let mut by_run: BTreeMap<(&str, u64), Vec<Point>> = BTreeMap::new();
    let mut within = Vec::new();
    for view in casts.iter().flat_map(Cast::all_rows) {
        let start = points.len();
        for (run, evaluation) in view.runs() {
            if let Some(auroc) = mean_auroc(evaluation, &MAIN_SCORE)
                && let Some(geometry) = evaluation.geometry.value()
                && geometry.nc1 > 0.0
            {
                let point = (geometry.nc1.log10(), 100.0 * auroc);
                points.push(point);
                by_run
                    .entry((&run.group, run.seed))
                    .or_default()
                    .push(point);
            }
        }
        if let Some(rho) = correlation(&points[start..]) {
            within.push(rho);
        }
    }
    let found = (|| {
        let rho = correlation(&points)?;
        let runs: Vec<&[Point]> = by_run.values().map(Vec::as_slice).collect();
        let interval = bootstrap_items(&runs, 0.95, |sample| {
            correlation(&sample.concat()).unwrap_or(f64::NAN)
        });
        let flipped = interval.map(|(low, high)| (-high, -low));
        let within = summarize(&within).map_or_else(String::new, |s| {
            format!(
                " Within single groups the mean correlation is {:+.2}.",
                s.mean
            )
        });
        let intervention = casts.iter().find_map(|c| {
            let (nc, other) = (c.nc?, c.base_at_short()?);
            let (d, how) = difference(&nc.mean_auroc(&MAIN_SCORE), &other.mean_auroc(&MAIN_SCORE))?;
            Some(format!(
                " {}.",
                describe(
                    "The NC-loss group against cross-entropy of equal length:",
                    &d,
                    how
                )
            ))
        });
        Some(Found {
            verdict: verdict(-rho, flipped, 0.0),
            effect: rho,
            interval,
            evidence: format!(
                "Spearman correlation of NC1 with the mean AUROC over {} evaluated networks: {rho:+.2} ({}, \
                 bootstrap over runs); negative means that more collapsed networks detect \
                 better. Groups differ in more than NC1, so this is no causal statement.{within}{}",
                points.len(),
                bounds(interval),
                intervention.unwrap_or_default(),
            ),
        })
    })();
    claim(
        "C5",
        "Neural collapse and OoD performance are linked (no causal claim).",
        found,
        "needs at least three networks with NC1 and AUROC",
    )
}

fn correlation(points: &[Point]) -> Option<f64> {
    let nc1: Vec<f64> = points.iter().map(|p| p.0).collect();
    let auroc: Vec<f64> = points.iter().map(|p| p.1).collect();
    spearman(&nc1, &auroc)
}

/// A verdict in a word or two.
pub fn verdict_label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Leaning => "leaning towards it",
        Verdict::Undecided => "undecided",
        Verdict::Contradicted => "contradicted",
        Verdict::NotMeasured => "not measured",
    }
}
