//! The one error type of the crate.

/// Why a measure is undefined; each message names the remedy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no rows or no columns.
    #[error("the features are {rows} x {columns}: give at least one row and one column")]
    Empty {
        /// Rows given.
        rows: usize,
        /// Columns given.
        columns: usize,
    },
    /// Collapse is a relation between classes.
    #[error("{n_classes} class(es): neural collapse is defined for two or more")]
    TooFewClasses {
        /// Number of classes.
        n_classes: usize,
    },
    /// A class has no rows, so it has no mean.
    #[error(
        "class {class} has no samples, so it has no mean: add samples, or number the classes that there are from 0 without gaps"
    )]
    EmptyClass {
        /// Class index.
        class: usize,
    },
    /// Two arrays do not fit together.
    #[error("{what} is {found:?}, expected {expected:?}")]
    Shape {
        /// Array in question.
        what: &'static str,
        /// Its shape.
        found: [usize; 2],
        /// The shape it needs.
        expected: [usize; 2],
    },
    /// A measure divides by a quantity that is zero.
    #[error("{what} of class {class} is zero, so the {measure} is undefined: {remedy}")]
    Degenerate {
        /// Quantity that vanished.
        what: &'static str,
        /// First class concerned.
        class: usize,
        /// Measure that needs it.
        measure: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Squares of the features leave the range of f64.
    #[error(
        "the largest feature is {largest:e}, whose square leaves the range of f64: scale the features to between 1e-140 and 1e150"
    )]
    Range {
        /// Largest absolute value of the chunk.
        largest: f64,
    },
    /// Labels, finite numbers, products and decompositions.
    #[error(transparent)]
    Numeric(#[from] collapse_numeric::Error),
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
