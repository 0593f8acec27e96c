//! Detectors fitted on one training set, and the scores of one set by all of them.

use std::borrow::Cow;
use std::sync::Arc;

use collapse_results::ScoreId;
use ndarray::Array1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize, Serializer};

use crate::any::AnyDetector;
use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs};
use crate::neighbours::Bank;
use crate::settings::Settings;
use crate::table::{Entry, detectors};

/// Rows that all detectors score before the next are read.
const BLOCK_ROWS: usize = 512;

/// Detectors fitted on one training set, scored together.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Stored")]
pub struct Fitted {
    /// The detectors, in the order of [`detectors`].
    pub detectors: Vec<AnyDetector>,
    /// Detectors that could not be fitted, with the reason.
    pub skipped: Vec<Skipped>,
}

/// What a file says.
#[derive(Deserialize)]
struct Stored {
    detectors: Vec<AnyDetector>,
    skipped: Vec<Skipped>,
}

/// kNN and NNGuide search the same rows, which a file holds once.
impl From<Stored> for Fitted {
    fn from(stored: Stored) -> Self {
        let mut fitted = Self {
            detectors: stored.detectors,
            skipped: stored.skipped,
        };
        if let Some(bank) = fitted.knn_bank().cloned() {
            for detector in &mut fitted.detectors {
                if let AnyDetector::NnGuide(guide) = detector {
                    guide.complete(&bank);
                }
            }
        }
        fitted
    }
}

impl Serialize for Fitted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "Fitted")]
        struct Lean<'a> {
            detectors: Vec<Cow<'a, AnyDetector>>,
            skipped: &'a [Skipped],
        }
        let bank = self.knn_bank();
        let lean = |detector: &'_ AnyDetector| match (detector, bank) {
            (AnyDetector::NnGuide(guide), Some(bank)) => guide.lean(bank).map(AnyDetector::from),
            _ => None,
        };
        let detectors = self.detectors.iter();
        let lean =
            detectors.map(|detector| lean(detector).map_or(Cow::Borrowed(detector), Cow::Owned));
        let lean = Lean {
            detectors: lean.collect(),
            skipped: &self.skipped,
        };
        lean.serialize(serializer)
    }
}

/// A detector that could not be fitted or could not score a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: ScoreId,
    /// Why, and what would help.
    pub reason: String,
}

/// The scores of one set of samples by every detector that could score it.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Name of the set.
    pub set: String,
    /// One confidence a sample for every detector, `[N]` each, in the order of the detectors.
    pub scores: Vec<(ScoreId, Array1<f64>)>,
    /// Detectors that could not score the set, with the reason.
    pub failed: Vec<Skipped>,
    /// What a reader of the scores should know.
    pub notes: Vec<Note>,
}

/// A remark on one score of one set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The score.
    pub score: ScoreId,
    /// The remark, a sentence.
    pub text: String,
}

impl Scored {
    /// The scores of one detector, `[N]`.
    #[must_use]
    pub fn get(&self, score: &ScoreId) -> Option<&Array1<f64>> {
        let found = self.scores.iter().find(|(id, _)| id == score);
        found.map(|(_, values)| values)
    }
}

/// Fits every detector of one network; those that the inputs do not allow (no logits, no head, a singular class) are listed
/// in [`Fitted::skipped`] with the reason. Scores of an ensemble are fitted by name.
#[must_use]
pub fn fit_all(train: &TrainInputs, settings: &Settings) -> Fitted {
    let entries: Vec<&Entry> = detectors()
        .iter()
        .filter(|entry| !entry.needs_members())
        .collect();
    let fit = |entry: &&Entry| entry.fit(train, settings);
    let outcomes: Vec<Result<AnyDetector>> = entries.par_iter().map(fit).collect();
    let mut fitted = Fitted {
        detectors: Vec::new(),
        skipped: Vec::new(),
    };
    for (entry, outcome) in entries.into_iter().zip(outcomes) {
        match outcome {
            Ok(detector) => fitted.detectors.push(detector),
            Err(error) => fitted.skipped.push(Skipped {
                name: entry.id(),
                reason: error.to_string(),
            }),
        }
    }
    fitted
}

/// Fits the named detectors, in the order of the names.
///
/// # Errors
/// [`Error::UnknownDetector`], or the first failure of a detector as [`Error::Detector`].
pub fn fit_named<'n>(
    train: &TrainInputs,
    settings: &Settings,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Fitted> {
    let fit = |name: &str| {
        let entry = detectors().iter().find(|entry| entry.id().as_str() == name);
        let entry = entry.ok_or_else(|| Error::UnknownDetector {
            name: name.to_owned(),
            known: list(detectors().iter().map(Entry::id)),
        })?;
        entry
            .fit(train, settings)
            .map_err(|source| Error::Detector {
                detector: entry.id(),
                source: Box::new(source),
            })
    };
    Ok(Fitted {
        detectors: names.into_iter().map(fit).collect::<Result<_>>()?,
        skipped: Vec::new(),
    })
}

fn list(names: impl Iterator<Item = ScoreId>) -> String {
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.join(", ")
}

impl Fitted {
    /// Adds a detector of one's own, which is scored like the others.
    pub fn push(&mut self, detector: impl Detector + 'static) {
        self.detectors.push(AnyDetector::Own(Arc::new(detector)));
    }

    /// The scores of every detector, `[N]` each, from one pass over the inputs, in the order of the detectors.
    ///
    /// Every detector scores a block of rows before the next block is read; the blocks run in parallel and depend on the
    /// number of rows alone, so the bytes are the same for any number of threads.
    #[must_use]
    pub fn score_all(&self, inputs: &Inputs) -> Vec<(ScoreId, Result<Array1<f64>>)> {
        let all: Vec<&AnyDetector> = self.detectors.iter().collect();
        score_together(&all, inputs)
    }

    /// As [`score_all`](Self::score_all) by the named detectors alone, in the order of the names.
    ///
    /// # Errors
    /// [`Error::UnknownDetector`] for a detector that was not fitted.
    pub fn score_named<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        inputs: &Inputs,
    ) -> Result<Vec<(ScoreId, Result<Array1<f64>>)>> {
        let find = |name: &str| {
            let named = |detector: &&AnyDetector| detector.id().as_str() == name;
            let unknown = || Error::UnknownDetector {
                name: name.to_owned(),
                known: list(self.detectors.iter().map(Detector::id)),
            };
            self.detectors.iter().find(named).ok_or_else(unknown)
        };
        let found: Vec<&AnyDetector> = names.into_iter().map(find).collect::<Result<_>>()?;
        Ok(score_together(&found, inputs))
    }

    /// Scores a set by every detector, in one pass, and notes which scores cannot rank it.
    #[must_use]
    pub fn score_set(&self, set: &str, inputs: &Inputs) -> Scored {
        let mut scored = Scored {
            set: set.to_owned(),
            scores: Vec::new(),
            failed: Vec::new(),
            notes: Vec::new(),
        };
        for (score, outcome) in self.score_all(inputs) {
            match outcome {
                Ok(values) => {
                    scored.notes.extend(tie_note(set, &score, &values));
                    scored.scores.push((score, values));
                }
                Err(error) => scored.failed.push(Skipped {
                    name: score,
                    reason: format!("{set}: {error}"),
                }),
            }
        }
        scored
    }

    fn knn_bank(&self) -> Option<&Bank> {
        self.detectors.iter().find_map(|detector| match detector {
            AnyDetector::Knn(knn) => Some(knn.bank()),
            _ => None,
        })
    }

    /// The detector of this name.
    #[must_use]
    pub fn get(&self, score: &ScoreId) -> Option<&AnyDetector> {
        self.detectors
            .iter()
            .find(|detector| detector.id() == *score)
    }
}

/// The scores of one pass over the inputs, block by block of rows.
fn score_together(
    detectors: &[&AnyDetector],
    inputs: &Inputs,
) -> Vec<(ScoreId, Result<Array1<f64>>)> {
    let n = inputs.rows().nrows();
    let starts: Vec<usize> = (0..n).step_by(BLOCK_ROWS).collect();
    let blocks: Vec<Vec<Result<Array1<f64>>>> = starts
        .into_par_iter()
        .map(|start| {
            let part = inputs.part(start..n.min(start + BLOCK_ROWS));
            let scores = detectors.iter().map(|detector| detector.score(&part));
            scores.collect()
        })
        .collect();
    let mut together: Vec<Result<Vec<f64>>> = (0..detectors.len())
        .map(|_| Ok(Vec::with_capacity(n)))
        .collect();
    for block in blocks {
        for (all, part) in together.iter_mut().zip(block) {
            match (&mut *all, part) {
                (Ok(all), Ok(part)) => all.extend(part),
                // The first block in order that failed has the first row that failed.
                (Ok(_), Err(error)) => *all = Err(error),
                (Err(_), _) => {}
            }
        }
    }
    let named = detectors.iter().zip(together);
    named
        .map(|(detector, scores)| (detector.id(), scores.map(Array1::from)))
        .collect()
}

/// A note where two samples or more all have one value.
fn tie_note(set: &str, score: &ScoreId, values: &Array1<f64>) -> Option<Note> {
    let first = *values.first()?;
    (values.len() > 1 && values.iter().all(|value| *value == first)).then(|| Note {
        score: score.clone(),
        text: format!(
            "all {} values of {set} are {first}: the score does not tell these samples apart",
            values.len()
        ),
    })
}
