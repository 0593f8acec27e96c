//! Every figure of one network from what it says about its splits; no images, no training, no tables.
//!
//! ```
//! use collapse_evaluate::{FeatureSplits, Split};
//! use collapse_features::FeatureSet;
//! use collapse_ood::{Intervals, ScoreId, Settings};
//! use ndarray::{Array1, Array2};
//!
//! // Three classes on the axes of the feature space, a little noise, and the head that tells them apart.
//! let head = Array2::eye(3);
//! let features = |n: usize, far: f64| Array2::from_shape_fn((n, 3), |(i, j)| {
//!     let noise = ((i * 37 + j * 11) % 23) as f64 / 50.0;
//!     far + noise + if i % 3 == j { 1.0 } else { 0.0 }
//! });
//! let labelled = |n: usize| FeatureSet::new(features(n, 0.0)).with_labels((0..n).map(|i| i % 3).collect());
//!
//! let splits = FeatureSplits {
//!     train: Some(Split::new("train", labelled(60).with_head(head, Array1::zeros(3)))),
//!     validation: Some(Split::new("validation", labelled(30))),
//!     test: Split::new("test", labelled(30)),
//!     ood: vec![Split::new("far", FeatureSet::new(features(30, 5.0)))],
//! };
//! // The head of the training split gives all other splits their logits.
//! let splits = splits.complete(None)?;
//! let fitted = splits.fit_all(&Settings::default())?;
//! let evaluation = splits.evaluate(fitted, &Intervals::default())?;
//!
//! let gmm = evaluation.comparisons.iter().find(|found| found.score == ScoreId::GMM_FEATURES);
//! assert_eq!(gmm.map(|found| found.detection.auroc), Some(1.0));
//! assert_eq!(evaluation.calibrated.map(|found| found.plain.accuracy), Some(1.0));
//! # Ok::<(), collapse_evaluate::Error>(())
//! ```
//!
//! # Map
//! - [`FeatureSplits`], [`Split`]: the feature sets of one network; [`FeatureSplits::complete`] gives every set the
//!   normalisation, the head and the logits that follow from the others and checks that they belong together.
//! - [`CompleteSplits`]: fits detectors ([`fit_all`](CompleteSplits::fit_all), [`fit_named`](CompleteSplits::fit_named))
//!   and evaluates them ([`evaluate`](CompleteSplits::evaluate)).
//! - [`Evaluation`]: every score against every out-of-distribution set with intervals, [`Calibrated`], [`Geometry`], the
//!   agreement of the densities, risk–coverage, histograms.
//! - [`evaluate_ensemble`]: several networks together, from their logits.
//! - [`Evaluation::figures`]: what is written of it ([`Figures`]).
//! - [`Evaluation::standings`]: one line a detector, the best first ([`Standing`]).
//! - [`Measurement`]: the part of it that is cheap enough for many epochs, alone by [`CompleteSplits::measure`].
//! - [`SavedDetectors`]: fitted detectors in a sealed file, with their confidences on held-out samples ([`HeldOut`]);
//!   [`SavedDetectors::decider`] chooses thresholds by a [`Policy`] and gives a [`Decider`], which accepts or rejects new
//!   samples, part by part ([`Decisions`]).
//! - [`CompleteSplits::record`], [`Evaluation::measurement`]: its projections on the schema of results.
//!
//! # Caveats
//! - Detectors, densities and geometry are fitted on the training split, the temperature on the validation split; test
//!   and out-of-distribution sets are scored, never fitted.
//! - A figure that does not exist is absent with its reason and costs nothing else.

mod calibrated;
mod counterpart;
mod curves;
mod decide;
mod ensemble;
mod error;
mod evaluation;
mod figures;
mod geometry;
mod held_out;
mod histogram;
mod measurement;
mod numbers;
mod record;
mod saved;
mod splits;
mod standings;

pub use calibrated::Calibrated;
pub use curves::DetectionCurves;
pub use decide::{Decider, Decisions, Policy, Rule};
pub use ensemble::{EnsembleFigures, EnsembleSet, evaluate_ensemble};
pub use error::{Error, Result};
pub use evaluation::Evaluation;
pub use figures::Figures;
pub use geometry::Geometry;
pub use held_out::HeldOut;
pub use measurement::Measurement;
pub use saved::SavedDetectors;
pub use splits::{CompleteSplits, FeatureSplits, Split};
pub use standings::Standing;
