//! Out-of-distribution detectors over features and logits, and the metrics that judge them.
//!
//! ```
//! use collapse_ood::{Inputs, ScoreId, Settings, TrainInputs, fit_all, metrics::detection};
//! use ndarray::{Array2, array};
//!
//! // Two classes on two axes; the out-of-distribution samples lie between them.
//! let features = Array2::from_shape_fn((40, 2), |(i, j)| {
//!     let wobble = ((i * 7 + j * 3) % 11) as f64 / 50.0;
//!     if i % 2 == j { 2.0 + wobble } else { wobble }
//! });
//! let labels: Vec<usize> = (0..40).map(|i| i % 2).collect();
//! let (weight, bias) = (array![[1.0, -1.0], [-1.0, 1.0]], array![0.0, 0.0]);
//! let logits = |z: &Array2<f64>| z.dot(&weight.t()) + &bias;
//!
//! let train_logits = logits(&features);
//! let inputs = Inputs::new(features.view(), train_logits.view(), false)?;
//! let train = TrainInputs::new(inputs, &labels)?.with_head(weight.view(), bias.view())?;
//! let fitted = fit_all(&train, &Settings::default());
//!
//! let (id, ood) = (array![[2.1, 0.1], [0.1, 2.1]], array![[1.0, 1.0], [0.9, 1.0]]);
//! let (id_logits, ood_logits) = (logits(&id), logits(&ood));
//! let id = fitted.score_all(&Inputs::new(id.view(), id_logits.view(), false)?);
//! let ood = fitted.score_all(&Inputs::new(ood.view(), ood_logits.view(), false)?);
//! for ((name, id), (_, ood)) in id.into_iter().zip(ood) {
//!     if [ScoreId::GMM_FEATURES, ScoreId::MAX_SOFTMAX].contains(&name) {
//!         assert_eq!(detection(&id?.to_vec(), &ood?.to_vec())?.auroc, 1.0);
//!     }
//! }
//! # Ok::<(), collapse_ood::Error>(())
//! ```
//!
//! # The map
//! * [`Inputs`], [`TrainInputs`]: what a network says about samples.
//! * [`detectors`](mod@detectors): the scores, one file each, behind the open trait [`Detector`], whose page writes one of its own;
//!   [`detectors()`] is their table, [`fit_all`] and [`fit_named`] fit them, [`Fitted`] scores them together and
//!   goes through serde.
//! * [`Fitted::score_set`], [`compare`](compare()), [`risk_coverage`]: every score on every set from one pass, with intervals.
//! * [`ensemble_scores`]: softmax entropy and mutual information of several networks together.
//! * [`metrics`]: AUROC, AUPR, FPR95 (both conventions), detection error, their intervals; accuracy, calibration, risk–coverage.
//!
//! # Caveats
//! * Every score is a confidence: larger = more in-distribution, also where the source has it the other way round.
//! * Undefined quantities are typed errors, never 0.5 or 0.
//! * Features may be f32 or f64; f32 stay f32 and are computed with in f64, one panel of rows after the other. Logits are f64.
//! * Everything is f64 in the result; kNN and NNGuide select their candidates in whole numbers with a bound on the rounding.

mod any;
mod compare;
mod detector;
pub mod detectors;
mod ensemble;
mod error;
mod fitted;
mod head;
mod inputs;
pub mod metrics;
mod neighbours;
mod percentile;
mod settings;
mod table;

pub use any::AnyDetector;
pub use collapse_numeric::{Matrix, RowSource, RowsView};
pub use collapse_results::ScoreId;
pub use compare::{Comparison, Intervals, RiskCoverage, compare, risk_coverage};
pub use detector::Detector;
pub use ensemble::{EnsembleScores, ensemble_scores, mean_softmax};
pub use error::{Error, Result};
pub use fitted::{Fitted, Note, Scored, Skipped, fit_all, fit_named};
pub use head::Head;
pub use inputs::{Inputs, TrainInputs};
pub use settings::Settings;
pub use table::{Entry, detectors};
