//! The evaluation of one network as tables, notes and one self-contained HTML page.
//!
//! ```
//! use collapse_evaluate::{FeatureSplits, Split};
//! use collapse_features::FeatureSet;
//! use collapse_ood::{Intervals, Settings};
//! use collapse_page::{Made, Report, notes_on_sets};
//! use ndarray::Array2;
//!
//! let features = |n: usize, far: f64| Array2::from_shape_fn((n, 3), |(i, j)| {
//!     let noise = ((i * 37 + j * 11) % 23) as f64 / 50.0;
//!     far + noise + if i % 3 == j { 1.0 } else { 0.0 }
//! });
//! let labelled = |n: usize| FeatureSet::new(features(n, 0.0)).with_labels((0..n).map(|i| i % 3).collect());
//! let splits = FeatureSplits {
//!     train: Some(Split::new("train", labelled(60))),
//!     validation: None,
//!     test: Split::new("test", labelled(30)),
//!     ood: vec![Split::new("far", FeatureSet::new(features(30, 5.0)))],
//! };
//! let splits = splits.complete(None)?;
//! let fitted = splits.fit_named(&Settings::default(), ["gmm_features", "knn"])?;
//! let evaluation = splits.evaluate(fitted, &Intervals::default())?;
//!
//! let report = Report {
//!     splits: &splits,
//!     evaluation: &evaluation,
//!     held_out: &[],
//!     standings: evaluation.standings(&[], &[]),
//!     notes: notes_on_sets(&splits),
//! };
//! let page = report.page(&Made {
//!     fitted: vec![("Training split", "train, 60 samples".to_owned())],
//!     code_version: "0.1.0",
//!     call: "the example of the front page",
//!     numbers: "The numbers are in `evaluation`.",
//! })?;
//! assert!(page.contains("2 detectors on 1 out-of-distribution sets"));
//! # Ok::<(), collapse_page::Error>(())
//! ```
//!
//! # Map
//! - [`Report`]: an evaluation with what is said of it; [`summary`](Report::summary), [`scores`](Report::scores),
//!   [`calibration`](Report::calibration) and [`neural_collapse`](Report::neural_collapse) are its tables, [`page`](Report::page) the page that holds all of them and the
//!   figures.
//! - [`notes_on_detectors`], [`notes_on_sets`]: what a reader of the numbers has to know to trust them.
//! - [`Made`]: what a page says of its making.
//!
//! # Caveats
//! - Nothing is computed here but positions in a picture, and nothing is written: the page is a text.

mod notes;
mod page;
mod tables;

use collapse_evaluate::{CompleteSplits, Evaluation, HeldOut, Standing};

pub use notes::{notes_on_detectors, notes_on_sets};
pub use page::Made;

/// The result of making a page.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A curve cannot be drawn.
    #[error(transparent)]
    Evaluate(#[from] collapse_evaluate::Error),
    /// The page cannot be filled.
    #[error(transparent)]
    Report(#[from] collapse_report::Error),
}

/// Everything that is shown of one evaluation.
#[derive(Debug)]
pub struct Report<'a> {
    /// The sets that were evaluated.
    pub splits: &'a CompleteSplits,
    /// What was found.
    pub evaluation: &'a Evaluation,
    /// Confidences on held-out samples, for the thresholds; may be empty.
    pub held_out: &'a [HeldOut],
    /// The detectors, the best first.
    pub standings: Vec<Standing>,
    /// What is to be known beside the numbers.
    pub notes: Vec<String>,
}

impl Report<'_> {
    /// The page as HTML that needs nothing beside itself.
    ///
    /// # Errors
    /// [`Error::Evaluate`] for a score that is NaN, [`Error::Report`] for a page that cannot be filled.
    pub fn page(&self, made: &Made<'_>) -> Result<String> {
        page::html(self, made)
    }
}
