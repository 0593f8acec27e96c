//! The one error type of the crate.

/// What can go wrong; each message names the value and the remedy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no rows.
    #[error("there are no rows: give at least one sample")]
    NoRows,
    /// A number is NaN or infinite.
    #[error("{what} [{row}, {column}] is {value}: leave the row out or repair its source")]
    NotFinite {
        /// The array.
        what: &'static str,
        /// Row of the first such number, from zero.
        row: usize,
        /// Its column, from zero.
        column: usize,
        /// The number, as text.
        value: String,
    },
    /// Labels and rows differ in number.
    #[error("{rows} rows but {labels} labels: give one label for each row")]
    LabelCount {
        /// Number of rows.
        rows: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A label is not a class.
    #[error(
        "label {label} of row {row} is not one of the {n_classes} classes: labels count from 0 to {}",
        n_classes.saturating_sub(1)
    )]
    LabelOutOfRange {
        /// Row of the label, from zero.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        n_classes: usize,
    },
    /// A matrix has the wrong shape or content.
    #[error("{what}: {remedy}")]
    Matrix {
        /// The defect.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Error {
    pub(crate) fn matrix(what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Matrix {
            what: what.into(),
            remedy,
        }
    }
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
