//! From scores to decisions: which samples to trust.

use collapse_features::Head;
use collapse_ood::metrics::Threshold;
use collapse_ood::{Detector, Entry, Fitted, detectors};
use ndarray::Array1;

use crate::error::{Error, Result};
use crate::saved::SavedDetectors;
use crate::splits::{CompleteSplits, FeatureSplits, Split};

/// How thresholds are chosen from held-out samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Share of in-distribution samples to accept, at least, in expectation; between 0 and 1.
    pub accept: f64,
    /// Level of the interval of each threshold's own share.
    pub level: f64,
    /// One threshold for every class that the network predicts, so that `accept` holds within each of them.
    pub per_class: bool,
}

/// What one detector decides of every sample of a set.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// The detector.
    pub score: String,
    /// Where it accepts; with thresholds by class, the one of all classes together.
    pub threshold: Threshold,
    /// One confidence a sample, `[N]`.
    pub confidences: Vec<f64>,
    /// With thresholds by class, every sample's predicted class and its threshold, `[N]`.
    pub by_class: Option<Vec<(usize, Threshold)>>,
}

impl Decisions {
    /// For every sample whether it is taken as in-distribution.
    pub fn accepted(&self) -> impl Iterator<Item = bool> {
        let accepts = |(row, &confidence)| self.threshold_of(row).accepts(confidence);
        self.confidences.iter().enumerate().map(accepts)
    }

    /// The threshold that decides of a sample.
    #[must_use]
    pub fn threshold_of(&self, row: usize) -> &Threshold {
        match &self.by_class {
            Some(by_class) => &by_class[row].1,
            None => &self.threshold,
        }
    }

    /// Samples that are not accepted.
    #[must_use]
    pub fn n_rejected(&self) -> usize {
        self.accepted().filter(|accepted| !accepted).count()
    }
}

/// Detectors with the thresholds by which they decide, for any number of sets or parts of a stream.
#[derive(Clone, Debug)]
pub struct Decider {
    detectors: SavedDetectors,
    rules: Vec<Rule>,
    /// From which logits follow, where they are read.
    head: Option<Head>,
}

/// Where one detector accepts.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The detector.
    pub score: String,
    /// The threshold of all held-out samples.
    pub threshold: Threshold,
    /// The threshold of every class predicted among them, `[C]`, where each class has its own; classes beyond reject
    /// nothing.
    pub by_class: Option<Vec<Threshold>>,
}

impl Rule {
    fn of_class(&self, by_class: &[Threshold], class: usize) -> Threshold {
        let own = by_class.get(class).copied();
        own.unwrap_or_else(|| Threshold::accepting_all(self.threshold.accept))
    }
}

impl SavedDetectors {
    /// Decides of every sample of `set` by each detector of `scores`: [`decider`](Self::decider) for one set, with one
    /// threshold a detector.
    ///
    /// # Errors
    /// As [`decider`](Self::decider) and [`Decider::decide`].
    pub fn decide(
        self,
        set: Split,
        scores: &[&str],
        accept: f64,
        level: f64,
    ) -> Result<Vec<Decisions>> {
        let policy = Policy {
            accept,
            level,
            per_class: false,
        };
        self.decider(scores, &policy)?.decide(set, 0)
    }

    /// Chooses the thresholds of the detectors `scores` on the held-out samples, see [`Threshold::conformal`] and
    /// [`Threshold::conformal_by_class`]. A name that stands twice counts once.
    ///
    /// # Errors
    /// [`Error::NoThreshold`] for a detector without held-out confidences; [`Error::NoPredictions`] for thresholds by class
    /// of held-out samples without logits; [`Error::Ood`] for a share or a level outside their range.
    pub fn decider(mut self, scores: &[&str], policy: &Policy) -> Result<Decider> {
        let mut rules: Vec<Rule> = Vec::new();
        for score in scores {
            if rules.iter().all(|rule| rule.score != *score) {
                rules.push(self.rule(score, policy)?);
            }
        }
        let asked = |name: &str| scores.contains(&name);
        self.fitted
            .detectors
            .retain(|detector| asked(detector.id().as_str()));
        self.held_out.retain(|held| asked(held.score.as_str()));
        let entry = |score: &str| {
            detectors()
                .iter()
                .find(|entry| entry.id().as_str() == score)
        };
        let reads_logits = |score: &&str| entry(score).is_none_or(Entry::needs_logits);
        let reads_logits = policy.per_class || scores.iter().any(reads_logits);
        Ok(Decider {
            head: self.features_head().filter(|_| reads_logits),
            detectors: self,
            rules,
        })
    }

    fn rule(&self, score: &str, policy: &Policy) -> Result<Rule> {
        let mut held_out = self.held_out.iter();
        let held_out = held_out.find(|held| held.score.as_str() == score);
        let held_out = held_out.ok_or_else(|| self.no_threshold(score))?;
        let (confidences, accept, level) = (&held_out.confidences, policy.accept, policy.level);
        let by_class = |classes: &[usize]| {
            let n_classes = classes.iter().max().map_or(0, |last| last + 1);
            Threshold::conformal_by_class(confidences, classes, n_classes, accept, level)
        };
        Ok(Rule {
            score: score.to_owned(),
            threshold: held_out.threshold(accept, level)?,
            by_class: match (policy.per_class, &held_out.predicted) {
                (false, _) => None,
                (true, Some(classes)) => Some(by_class(classes)?),
                (true, None) => {
                    return Err(Error::NoPredictions {
                        set: "the validation split that the detectors were saved with".to_owned(),
                    });
                }
            },
        })
    }

    fn no_threshold(&self, score: &str) -> Error {
        let known: Vec<&str> = self
            .held_out
            .iter()
            .map(|held| held.score.as_str())
            .collect();
        Error::NoThreshold {
            score: score.to_owned(),
            known: match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            },
        }
    }
}

impl Decider {
    /// The thresholds, in the order of the scores asked for.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides of every sample of `set`, which needs neither labels, which are not looked at, nor an out-of-distribution set.
    /// Its first row has the number `first_row` in messages: a stream's later part begins further on.
    ///
    /// Where the set does not say whether the head saw normalised features, the detectors' own word counts; where it has
    /// neither logits nor a head, they follow from the head that the detectors were fitted with.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`], [`Error::Heads`]; [`Error::In`] where the set lacks what a detector reads, or for samples that it cannot
    /// score; [`Error::NoPredictions`] for thresholds by class of a set without logits.
    pub fn decide(&self, mut set: Split, first_row: usize) -> Result<Vec<Decisions>> {
        let features = &mut set.features;
        features.labels = None;
        if !features.metadata.contains_key("l2") {
            let l2 = self.detectors.l2.to_string();
            features.metadata.insert("l2".to_owned(), l2);
        }
        let network = (features.n_features(), features.n_classes(), features.l2());
        let detectors = &self.detectors;
        detectors.check_network("the detectors", &set.origin, network)?;
        if let (None, None, Some(head)) = (&features.logits, &features.head, &self.head) {
            features.logits = Some(head.logits(features.head_features()));
        }
        let splits = self.complete(set)?;
        let test = splits.test();
        let inputs = test.inputs()?.from_row(first_row);
        let mut found = self.detectors.fitted.score_all(&inputs);
        let predicted = test.predicted();
        let decide = |rule: &Rule| {
            let mut scores = found.iter();
            let at = scores.position(|(id, _)| id.as_str() == rule.score);
            let at = at.ok_or_else(|| self.detectors.no_threshold(&rule.score))?;
            let (_, confidences) = found.swap_remove(at);
            let confidences: Array1<f64> = confidences.map_err(Error::within(&test.origin))?;
            let by_class = |thresholds: &Vec<Threshold>| -> Result<Vec<(usize, Threshold)>> {
                let classes = predicted.as_ref().ok_or_else(|| Error::NoPredictions {
                    set: test.origin.clone(),
                })?;
                let own = |&class: &usize| (class, rule.of_class(thresholds, class));
                Ok(classes.iter().map(own).collect())
            };
            Ok(Decisions {
                score: rule.score.clone(),
                threshold: rule.threshold,
                confidences: confidences.to_vec(),
                by_class: rule.by_class.as_ref().map(by_class).transpose()?,
            })
        };
        self.rules.iter().map(decide).collect()
    }

    fn complete(&self, set: Split) -> Result<CompleteSplits> {
        let splits = FeatureSplits {
            train: None,
            validation: None,
            test: set,
            ood: Vec::new(),
        };
        let splits = splits.complete(None)?;
        self.detectors.check_fits("the detectors", splits.test())?;
        Ok(splits)
    }

    /// The detectors that decide.
    #[must_use]
    pub fn fitted(&self) -> &Fitted {
        &self.detectors.fitted
    }
}
