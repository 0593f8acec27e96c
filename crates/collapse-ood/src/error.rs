//! The one error type of the crate.

use collapse_results::ScoreId;

/// The result of fitting, scoring or measuring.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong; each message names the value and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A quantity that does not exist for these inputs.
    #[error("{what} is undefined: {reason}")]
    Undefined {
        /// The quantity.
        what: &'static str,
        /// Why, and what would define it.
        reason: String,
    },
    /// NaN, where an order is needed.
    #[error(
        "{what}[{index}] is NaN: find the detector or row that produced it, or leave the row out"
    )]
    NotANumber {
        /// The array.
        what: &'static str,
        /// Index of the first NaN.
        index: usize,
    },
    /// Two inputs that belong together differ in size.
    #[error(
        "{what} has {found}, expected {expected}: give the arrays of one network and one split"
    )]
    Shape {
        /// The array.
        what: &'static str,
        /// The size found.
        found: String,
        /// The size expected.
        expected: String,
    },
    /// The detector computes with the last linear layer, which was not given.
    #[error("the last linear layer is needed: export head.weight [C, D] and head.bias [C]")]
    NeedsHead,
    /// The detector reads logits, which were not given.
    #[error(
        "logits are needed: export logits [N, C], or head.weight [C, D] and head.bias [C], from which they follow"
    )]
    NeedsLogits,
    /// The detector reads features, and there are none.
    #[error("features are needed: export the input of the last linear layer as features [N, D]")]
    NeedsFeatures,
    /// The detector compares several networks, and there is one.
    #[error(
        "the logits of other networks are needed for an ensemble: give their feature sets of the same samples, --ensemble of `score`"
    )]
    NeedsMembers,
    /// A setting is outside its range.
    #[error("{name} is {value}: it must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The range.
        expected: String,
    },
    /// A file holds a detector whose parts do not fit together.
    #[error("{what} of the stored detector do not fit together: fit and store it again")]
    Stored {
        /// The parts.
        what: &'static str,
    },
    /// No detector has this name.
    #[error("no detector `{name}`: choose among {known}")]
    UnknownDetector {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Labels seem to count from 1.
    #[error(
        "the labels run from 1 to {n_classes} for {n_classes} classes: subtract 1 from each, since classes count from 0"
    )]
    LabelsFromOne {
        /// Number of classes.
        n_classes: usize,
    },
    /// Labels, finite numbers, products and decompositions.
    #[error(transparent)]
    Numeric(#[from] collapse_numeric::Error),
    /// The density below a detector failed.
    #[error(transparent)]
    Density(#[from] collapse_density::Error),
    /// A detector asked for by name failed.
    #[error("{detector}: {source}")]
    Detector {
        /// Its name.
        detector: ScoreId,
        /// What it says.
        source: Box<Error>,
    },
}

impl Error {
    pub(crate) fn undefined(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Undefined {
            what,
            reason: reason.into(),
        }
    }
}
