//! The one error type of the crate.

use std::path::PathBuf;

/// The result of completing, fitting or evaluating.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the feature sets of one network cannot be evaluated; each message names the set and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two sets have one name.
    #[error("two sets are named {name}; give each a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// Two sets say different things of the head's input.
    #[error(
        "{first} and {second} disagree on whether the head saw normalised features (metadata l2); export both from one \
         network, or say --l2"
    )]
    L2 {
        /// The first set that says it.
        first: String,
        /// A set that says otherwise.
        second: String,
    },
    /// Two sets come with different heads.
    #[error(
        "{first} and {second} disagree: their heads differ; both must come from the same network"
    )]
    Heads {
        /// The first set or file of detectors with a head.
        first: String,
        /// A set with another.
        second: String,
    },
    /// There is nothing to fit on.
    #[error("no training features; give --train, or --load with detectors kept by --save")]
    NoTraining,
    /// A set lacks the logits that a figure cannot do without.
    #[error("{origin} has neither logits nor a head; export one of them to {purpose}")]
    NoLogits {
        /// The set.
        origin: String,
        /// What they are needed for.
        purpose: &'static str,
    },
    /// A set lacks the labels that a figure cannot do without.
    #[error("{origin} has no labels; export labels [N] as integers to {purpose}")]
    NoLabels {
        /// The set.
        origin: String,
        /// What they are needed for.
        purpose: &'static str,
    },
    /// The labels of a set are not the classes of its network.
    #[error(
        "{origin}: label {label} at row {row} is not one of the network's classes 0..{n_classes}; {remedy}"
    )]
    Labels {
        /// The set.
        origin: String,
        /// Row, from zero.
        row: usize,
        /// The label.
        label: usize,
        /// Number of classes.
        n_classes: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// A file of detectors cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of detectors cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// JSON cannot hold the detectors.
    #[error(
        "cannot write {}: a number of the detectors is not finite, which JSON has no word for ({reason}); choose another ending than \
         .json, or scale the features", path.display()
    )]
    NoJson {
        /// The file.
        path: PathBuf,
        /// Where it stands.
        reason: String,
    },
    /// A file of detectors is not what was written.
    #[error(
        "{} was damaged or edited since it was written: its seal does not fit its content; make it again with --save",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file holds something else than detectors of this version.
    #[error("{} holds no detectors that this version reads ({reason}); make it with --save", path.display())]
    NoDetectors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Detectors were fitted on features of another network.
    #[error(
        "{detectors} and {set} disagree: {what} is {fitted} and {found}; both must come from the same network"
    )]
    OtherNetwork {
        /// The file of detectors.
        detectors: String,
        /// The set to be scored.
        set: String,
        /// The quantity.
        what: &'static str,
        /// Its value where the detectors were fitted.
        fitted: String,
        /// Its value in the set.
        found: String,
    },
    /// A detector has no held-out confidences from which to choose a threshold.
    #[error(
        "no threshold for {score}: there are held-out confidences of {known}; save the detectors with --validation, or name one of these with --detector"
    )]
    NoThreshold {
        /// The detector.
        score: String,
        /// The detectors that have them.
        known: String,
    },
    /// Thresholds by class need the classes that the network predicts.
    #[error(
        "{set} has neither logits nor a head, so no predicted classes for thresholds by class; export one of them, or leave out --per-class"
    )]
    NoPredictions {
        /// The set.
        set: String,
    },
    /// A file cannot be put in its place.
    #[error(transparent)]
    Files(#[from] collapse_files::Error),
    /// A feature set is not what it should be, or two do not belong together.
    #[error(transparent)]
    Features(#[from] collapse_features::Error),
    /// A detector or a metric fails on one set.
    #[error("in {origin}")]
    In {
        /// The set.
        origin: String,
        /// What it says.
        source: collapse_ood::Error,
    },
    /// A detector that was asked for cannot be fitted, or a metric fails.
    #[error(transparent)]
    Ood(#[from] collapse_ood::Error),
}

impl Error {
    /// Names the set in which a detector or a metric fails.
    pub(crate) fn within(origin: &str) -> impl FnOnce(collapse_ood::Error) -> Self {
        let origin = origin.to_owned();
        move |source| Self::In { origin, source }
    }
}
