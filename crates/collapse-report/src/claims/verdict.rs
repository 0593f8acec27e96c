//! From an effect and its uncertainty to a word, by the same rule on both sides.

use collapse_results::{Stratum, Verdict};

use crate::statistics::{Difference, Permutation};

/// Level at which an effect counts as shown, for or against a claim: 5 % two-sided.
pub const CONFIDENT: f64 = 0.95;

/// Level at which an effect counts as leaning, for or against a claim: 20 % two-sided.
pub const LEANING: f64 = 0.80;

/// The verdict of a two-sided p-value and the direction of its effect.
///
/// Supported or contradicted at [`CONFIDENT`], leaning to either side at [`LEANING`]. For a t test
/// this is the same as asking on which side of the threshold the 95 % and the 80 % interval lie.
pub(super) fn by_p(towards_claim: bool, p_value: Option<f64>) -> Verdict {
    match (p_value, towards_claim) {
        (Some(p), true) if p <= 1.0 - CONFIDENT + ROUNDING => Verdict::Supported,
        (Some(p), false) if p <= 1.0 - CONFIDENT + ROUNDING => Verdict::Contradicted,
        (Some(p), true) if p <= 1.0 - LEANING + ROUNDING => Verdict::Leaning,
        (Some(p), false) if p <= 1.0 - LEANING + ROUNDING => Verdict::LeaningAgainst,
        _ => Verdict::Undecided,
    }
}

/// 1 − 0.95 in binary is a little more than 0.05, 1 − 0.8 a little less than 0.2.
const ROUNDING: f64 = 1e-12;

/// Judges a difference that the claim says is above `threshold`, by Student's t.
pub(super) fn by_t(name: &str, difference: &Difference, threshold: f64) -> Stratum {
    let p_value = difference.p_value(threshold);
    Stratum {
        name: name.to_owned(),
        verdict: by_p(difference.mean > threshold, p_value),
        effect: difference.mean,
        interval: difference.interval(CONFIDENT),
        p_value,
        // The t distribution has no smallest p.
        smallest_p: None,
        n: difference.n,
    }
}

/// Judges an effect that the claim says is positive (or negative, where `sign` is −1) by a
/// permutation test.
pub(super) fn by_permutation(
    name: &str,
    effect: f64,
    sign: f64,
    test: &Permutation,
    n: usize,
) -> Stratum {
    Stratum {
        name: name.to_owned(),
        verdict: by_p(sign * effect > 0.0, Some(test.p_value)),
        effect,
        interval: None,
        p_value: Some(test.p_value),
        smallest_p: Some(test.smallest),
        n,
    }
}

/// A verdict that may not go further than leaning, on either side.
pub(super) fn at_most_leaning(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Supported => Verdict::Leaning,
        Verdict::Contradicted => Verdict::LeaningAgainst,
        other => other,
    }
}

/// A verdict in a word or two.
#[must_use]
pub fn verdict_label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Leaning => "leaning towards it",
        Verdict::Undecided => "undecided",
        Verdict::LeaningAgainst => "leaning against it",
        Verdict::Contradicted => "contradicted",
        Verdict::NotMeasured => "not measured",
    }
}
