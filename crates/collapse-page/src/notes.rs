//! What a reader of the table has to know to trust it.

use std::collections::BTreeSet;

use collapse_density::{Covariance, Jitter};
use collapse_evaluate::{CompleteSplits, Evaluation, Split};
use collapse_ood::{AnyDetector, Detector, ScoreId, Skipped};

/// Gap between logits and those of the head, as a share of the largest logit, that no rounding explains.
const GAP: f64 = 0.05;

/// What is to be known of the detectors and of sets that contradict themselves; `covariance` is what a caller of this interface
/// gives to choose another form of class covariances, e.g. `--covariance`.
#[must_use]
pub fn notes_on_detectors(
    splits: &CompleteSplits,
    evaluation: &Evaluation,
    covariance: &str,
) -> Vec<String> {
    let mut notes = contradictions(splits);
    for name in [ScoreId::GMM_FEATURES, ScoreId::GMM_LOGITS] {
        let Some(AnyDetector::Gmm(gmm)) = evaluation.fitted.get(&name) else {
            continue;
        };
        let mixture = gmm.mixture();
        let least = mixture.counts().iter().enumerate().min_by_key(|(_, n)| **n);
        let (class, samples) = least.map_or((0, 0), |(class, n)| (class, *n));
        let d = mixture.n_features();
        let full = matches!(mixture.parameters().covariance(), Covariance::Full);
        let needed = mixture.parameters().jitter() == Jitter::Ladder && mixture.jitter() > 0.0;
        if full && samples <= d {
            notes.push(format!(
                "{name}: class {class} has {samples} samples for {d} dimensions, so the jitter {:e} decides its \
                 density; {covariance} ledoit-wolf or low-rank does not depend on it",
                mixture.jitter()
            ));
        } else if full && needed {
            notes.push(format!(
                "{name}: the class covariances are singular without the jitter {:e}, as with features that never vary; \
                 {covariance} ledoit-wolf does not depend on it",
                mixture.jitter()
            ));
        }
    }
    notes.extend(singular(evaluation));
    let remarks = evaluation.notes();
    notes.extend(remarks.map(|note| format!("{}: {}", note.score, note.text)));
    let calibrated = evaluation.calibrated.as_ref();
    if let Some(reason) = calibrated.and_then(|found| found.temperature_undefined.as_ref())
        && let Some(validation) = splits.validation()
    {
        notes.push(format!("{}: {reason}", validation.origin));
    }
    notes
}

/// What the sets lack or count in another way.
#[must_use]
pub fn notes_on_sets(splits: &CompleteSplits) -> Vec<String> {
    let mut notes = Vec::new();
    if splits.test().features.labels.is_none() {
        notes.push(format!(
            "{} has no labels, so accuracy, calibration and risk–coverage are left out",
            splits.test().origin
        ));
    }
    if let (Some(classes), Some(train)) = (splits.classes(), splits.train()) {
        notes.push(format!(
            "the labels of {} do not count from 0; its {} classes are those present, {}",
            train.origin,
            classes.len(),
            range(classes)
        ));
    }
    notes
}

/// The detectors that are not among the results, with what they lack or why they cannot be used, by reason.
pub(crate) fn notes_on_skipped(evaluation: &Evaluation) -> Vec<String> {
    let mut by_reason: Vec<(String, BTreeSet<ScoreId>)> = Vec::new();
    for Skipped { name, reason } in evaluation.skipped() {
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => _ = names.insert(name),
            None => by_reason.push((reason, BTreeSet::from([name]))),
        }
    }
    let note = |(reason, names): (String, BTreeSet<ScoreId>)| {
        let names: Vec<&str> = names.iter().map(ScoreId::as_str).collect();
        format!("without {}: {reason}", names.join(", "))
    };
    by_reason.into_iter().map(note).collect()
}

/// Sets whose logits are not what their head makes of their features.
fn contradictions(splits: &CompleteSplits) -> Vec<String> {
    let apart = |set: &Split| {
        let gap = set.logits_gap().filter(|gap| *gap > GAP)?;
        Some(format!(
            "{}: its logits are not those of its head and features, {:.0} % of the largest apart; is l2 right, and are all three of \
             one network?",
            set.origin,
            100.0 * gap
        ))
    };
    splits.sets().filter_map(apart).collect()
}

/// The distances whose covariance a jitter alone makes positive definite.
fn singular(evaluation: &Evaluation) -> Option<String> {
    let jitter = |detector: &AnyDetector| match detector {
        AnyDetector::Mahalanobis(distances) => Some((detector.id(), distances.jitter())),
        _ => None,
    };
    let found = evaluation.fitted.detectors.iter().filter_map(jitter);
    let found: Vec<(ScoreId, f64)> = found.filter(|(_, jitter)| *jitter > 0.0).collect();
    let largest = found.iter().map(|(_, jitter)| *jitter).reduce(f64::max)?;
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    Some(format!(
        "{}: the covariance of all classes is singular without a jitter (up to {largest:e}), as with features that never vary; whatever \
         varies there later is as good as infinitely far",
        names.join(", ")
    ))
}

/// The first and the last of ascending numbers.
fn range(numbers: &[usize]) -> String {
    match numbers {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    }
}
