//! The one error type of the crate.

/// What can go wrong when a density is fitted or evaluated; each message names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DensityError {
    /// There are no rows to fit.
    #[error("there are no samples: a density needs at least two rows per class")]
    Empty,
    /// There are no columns.
    #[error("the features have no columns: give an [N, D] array with D >= 1")]
    NoFeatures,
    /// Labels and features differ in length.
    #[error("{features} feature rows but {labels} labels: give one label per row")]
    LabelCount {
        /// Rows of the features.
        features: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A label is not a class index.
    #[error(
        "label {label} of row {row} is outside 0..{n_classes}: raise n_classes or drop the row"
    )]
    LabelOutOfRange {
        /// Row of the label.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes in the parameters.
        n_classes: usize,
    },
    /// A feature is NaN or infinite.
    #[error("feature [{row}, {column}] is {value}: drop the row or repair the extraction")]
    NotFinite {
        /// Row of the value.
        row: usize,
        /// Column of the value.
        column: usize,
        /// The value.
        value: f64,
    },
    /// The number of columns differs from that of the model.
    #[error("the features have {found} columns, expected {expected}: use the same layer")]
    FeatureDimension {
        /// Columns of the model.
        expected: usize,
        /// Columns given.
        found: usize,
    },
    /// A class has too few samples for its covariance.
    #[error(
        "class {class} has {samples} samples, needs at least {needed}: add samples, \
         lower n_classes, or share one covariance (Covariance::Tied)"
    )]
    TooFewSamples {
        /// Class index.
        class: usize,
        /// Samples seen.
        samples: usize,
        /// Samples needed.
        needed: usize,
    },
    /// Squares of the features leave the range of f64.
    #[error(
        "the {what} of class {class} leaves the range of f64: scale the features so that \
         their spread is between 1e-150 and 1e150"
    )]
    Range {
        /// Class index.
        class: usize,
        /// Quantity that overflowed or vanished.
        what: &'static str,
    },
    /// No jitter made the covariance positive definite.
    #[error(
        "covariance of class {class} is singular at every jitter up to {jitter:e}: it has {samples} \
         samples for {dimension} dimensions; add samples, rescale the features, or choose \
         Covariance::Shrinkage, Covariance::Tied or Covariance::LowRank"
    )]
    Singular {
        /// Class index (0 for a covariance shared by all).
        class: usize,
        /// Samples behind the covariance.
        samples: usize,
        /// Number of features.
        dimension: usize,
        /// Largest jitter tried.
        jitter: f64,
    },
    /// A hyper-parameter is out of its range.
    #[error("{name} is {value}: choose {expected}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value, as text.
        value: String,
        /// The allowed range.
        expected: &'static str,
    },
    /// Two partial statistics do not belong together.
    #[error("cannot merge statistics of {left} with {right}: build both by the same parameters")]
    Incompatible {
        /// Shape and kind of the left operand.
        left: String,
        /// Shape and kind of the right operand.
        right: String,
    },
    /// A matrix given to a decomposition has the wrong shape or content.
    #[error("{what}: {remedy}")]
    Matrix {
        /// The defect.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The EM mixture of `linfa-clustering` failed.
    #[error(
        "EM mixture with {n_clusters} clusters failed ({reason}): lower n_clusters or \
         n_components, or raise reg_covariance"
    )]
    Em {
        /// Clusters asked for.
        n_clusters: usize,
        /// Message of the underlying algorithm.
        reason: String,
    },
    /// Error of linfa itself.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

/// Result with [`DensityError`].
pub type Result<T, E = DensityError> = std::result::Result<T, E>;
