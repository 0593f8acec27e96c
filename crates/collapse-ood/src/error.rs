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
    #[error("{detector} needs the last linear layer: export head.weight [C, D] and head.bias [C]")]
    NeedsHead {
        /// The detector.
        detector: &'static str,
    },
    /// The detector reads logits, which were not given.
    #[error(
        "{detector} reads logits: export logits [N, C], or head.weight [C, D] and head.bias [C], from which they follow"
    )]
    NeedsLogits {
        /// The detector.
        detector: &'static str,
    },
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
    /// No detector has this name.
    #[error("no detector `{name}`: choose among {known}")]
    UnknownDetector {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Labels, finite numbers, products and decompositions.
    #[error(transparent)]
    Numeric(#[from] collapse_numeric::Error),
    /// The density below a detector failed.
    #[error("{detector}: {source}")]
    Density {
        /// The detector.
        detector: &'static str,
        /// What the density says.
        source: collapse_density::Error,
    },
}

impl Error {
    pub(crate) fn density(detector: &'static str) -> impl Fn(collapse_density::Error) -> Self {
        move |source| Self::Density { detector, source }
    }

    pub(crate) fn undefined(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Undefined {
            what,
            reason: reason.into(),
        }
    }
}
