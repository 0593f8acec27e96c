//! The one error type of the crate.

/// What can go wrong when a density is fitted or evaluated; each message names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no rows to fit.
    #[error("there are no samples: a density needs at least two rows per class")]
    Empty,
    /// There are no columns.
    #[error("the features have no columns: give an [N, D] array with D >= 1")]
    NoFeatures,
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
        "class {class} has {samples} of the {needed} samples that it needs: add samples, \
         leave the class out, or share one covariance among the classes (tied)"
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
         samples for {dimension} dimensions; add samples, rescale the features, or choose a shrunk, \
         tied or low-rank covariance"
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
    /// EM found no mixture.
    #[error(
        "the EM mixture of {n_clusters} clusters failed ({reason}): try fewer clusters, fewer principal \
         components, or a larger variance added to the covariances"
    )]
    Em {
        /// Clusters asked for.
        n_clusters: usize,
        /// What went wrong.
        reason: String,
    },
    /// A file holds a model whose parts do not fit together.
    #[error(
        "the stored parts are not those of {n_classes} classes and {n_features} features: store the model again"
    )]
    Stored {
        /// Classes of the means.
        n_classes: usize,
        /// Columns of the means.
        n_features: usize,
    },
    /// Labels, finite numbers, products and decompositions.
    #[error(transparent)]
    Numeric(#[from] collapse_numeric::Error),
    /// Error of linfa itself.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}

impl Error {
    /// The same error with class index `k` called `labels[k]`: for a density of the classes that occur among labels with gaps.
    #[must_use]
    pub fn with_labels(mut self, labels: &[usize]) -> Self {
        if let Self::TooFewSamples { class, .. }
        | Self::Range { class, .. }
        | Self::Singular { class, .. } = &mut self
            && let Some(label) = labels.get(*class)
        {
            *class = *label;
        }
        self
    }
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
