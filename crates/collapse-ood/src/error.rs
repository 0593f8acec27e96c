use collapse_density::DensityError;

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
    /// A number is NaN or infinite.
    #[error(
        "{what}[{row}, {column}] is {value}: find out why the network produced it, or leave the row out"
    )]
    NotFinite {
        /// The array.
        what: &'static str,
        /// Row, from zero.
        row: usize,
        /// Column, from zero.
        column: usize,
        /// The value.
        value: f64,
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
    /// A label is not a class.
    #[error(
        "label {label} at row {row} is not one of the classes 0..{n_classes}: labels count from 0"
    )]
    LabelOutOfRange {
        /// Row, from zero.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        n_classes: usize,
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
    /// The density below a detector failed.
    #[error("{detector}: {source}")]
    Density {
        /// The detector.
        detector: &'static str,
        /// What the density says.
        source: DensityError,
    },
}

impl Error {
    pub(crate) fn density(detector: &'static str) -> impl Fn(DensityError) -> Self {
        move |source| Self::Density { detector, source }
    }

    pub(crate) fn undefined(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Undefined {
            what,
            reason: reason.into(),
        }
    }
}
