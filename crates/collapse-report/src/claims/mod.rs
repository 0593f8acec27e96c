//! The claims C1 to C5 as they look in the results: effect, interval, p, careful words.
//!
//! Each claim is judged for every network and as a whole in which every network weighs the same.
//! The p-value of a claim belongs to the test that gives its verdict, so the two cannot
//! contradict each other. Formulas and sources: `docs/method.md`.

mod collapse;
mod compare;
mod detection;
mod verdict;

use collapse_results::{Claim, Defined, Results, Stratum};

use crate::lineup::Lineup;
use crate::statistics::holm;

pub(crate) use collapse::trained;
pub use collapse::{LIKE_TRAINED_MARGIN, SEEDS_FOR_RHO};
pub use detection::COMPARABLE_MARGIN;
pub use verdict::{CONFIDENT, LEANING, verdict_label};

/// All five claims, in order; a claim whose groups are missing is `NotMeasured`.
#[must_use]
pub fn claims(results: &Results) -> Vec<Claim> {
    judge(&Lineup::of(results))
}

pub(crate) fn judge(lineup: &Lineup<'_>) -> Vec<Claim> {
    let mut claims = vec![
        detection::normalisation_helps(lineup),
        detection::short_suffices(lineup),
        detection::worst_case_improves(lineup),
        collapse::comes_earlier(lineup),
        collapse::goes_with_detection(lineup),
    ];
    let raw: Vec<f64> = claims.iter().filter_map(|claim| claim.p_value).collect();
    let judged = claims.iter_mut().filter(|claim| claim.p_value.is_some());
    for (claim, corrected) in judged.zip(holm(&raw)) {
        claim.p_holm = Some(corrected);
    }
    claims
}

/// What a claim found.
struct Found {
    whole: Stratum,
    strata: Vec<Stratum>,
    evidence: String,
}

/// The claim with what was found, or with what it would need.
fn claim(id: &str, statement: &str, found: Defined<Found>) -> Claim {
    let unjudged = Claim::not_measured(id, statement);
    match found {
        Defined::Value(found) => Claim {
            verdict: found.whole.verdict,
            effect: Some(found.whole.effect),
            interval: found.whole.interval,
            p_value: found.whole.p_value,
            smallest_p: found.whole.smallest_p,
            n: Some(found.whole.n),
            // With one network its figures are those of the whole.
            strata: match found.strata.len() {
                1 => Vec::new(),
                _ => found.strata,
            },
            evidence: found.evidence,
            ..unjudged
        },
        Defined::Undefined(needed) => Claim {
            evidence: format!("Not measured: {needed}."),
            ..unjudged
        },
    }
}
