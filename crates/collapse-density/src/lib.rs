//! Gaussian densities over labelled features, in linfa's manner.
//!
//! ```
//! use collapse_density::{Covariance, LabelledGaussianMixture};
//! use linfa::prelude::*;
//! use ndarray::array;
//!
//! # fn main() -> Result<(), collapse_density::Error> {
//! let features = array![[0.0, 0.1], [0.2, 0.0], [0.1, 0.3], [5.0, 5.1], [5.3, 5.0], [5.1, 5.4]];
//! let train = Dataset::new(features, array![0usize, 0, 0, 1, 1, 1]);
//! let model = LabelledGaussianMixture::params(2)
//!     .covariance(Covariance::Full)
//!     .fit(&train)?;
//!
//! let test = array![[0.1, 0.1], [2.5, 2.5]];
//! let score = model.score(test.view())?;
//! assert!(score[0] > score[1]); // larger = more in-distribution
//! assert_eq!(model.jitter(), 0.0); // always reported
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! * [`LabelledGaussianMixture`]: one Gaussian per class, DDU's score. [`Params`] choose the
//!   [`Covariance`] and the [`Jitter`]; [`PartialStatistics`] fits in one pass over chunks and merges parts.
//! * [`TiedGaussian`]: class means with one covariance, for the Mahalanobis family.
//! * [`EmMixture`]: a mixture without labels, by EM from the start that linfa gives it, with the same `score` face; [`agreement()`](agreement())
//!   tells whether the two say the same. Fitting it takes linfa-clustering, which the default feature `em` brings.
//! * Products and factorisations come from [`collapse_numeric`].
//!
//! # Caveats
//! * Everything is computed in f64, also from f32 features: on collapsed features f32 log-densities tie.
//! * For rank-deficient classes (`n_c ≤ D`) the jitter that the ladder finds depends on rounding, and log-densities
//!   at so small a jitter are far from exact in any implementation. Prefer [`Covariance::Shrinkage`].
//!   With fewer samples than dimensions [`Covariance::LowRank`] is exact at any ridge.
//! * A model of full covariances holds `C · D² / 2` numbers; fitting needs no second copy of them where the covariances are regular.

mod agreement;
mod em;
mod error;
mod factor;
mod fit;
mod labelled;
mod params;
mod prune;
mod rows;
mod score;
mod shrinkage;
mod statistics;
mod tied;

pub use agreement::{Agreement, agreement};
pub use em::{EmMixture, EmParams};
pub use error::{Error, Result};
pub use labelled::LabelledGaussianMixture;
pub use params::{Covariance, Jitter, Params, Shrinkage, ValidParams};
pub use statistics::PartialStatistics;
pub use tied::{Divisor, TiedGaussian};
