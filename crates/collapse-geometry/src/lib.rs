//! Neural-collapse measures NC1 to NC4, streaming class scatter and the simplex ETF.
//!
//! ```
//! use collapse_geometry::{Head, measure, simplex_etf};
//! use ndarray::Array1;
//!
//! # fn main() -> Result<(), collapse_geometry::Error> {
//! // A fully collapsed network: every sample sits on its class mean, the means are a simplex ETF
//! // and so is the classifier.
//! let etf = simplex_etf(3, 4)?;
//! let labels = [0, 1, 2, 0, 1, 2];
//! let features = etf.select(ndarray::Axis(0), &labels);
//! let bias = Array1::zeros(3);
//! let head = Head { weight: etf.view(), bias: bias.view() };
//!
//! let collapse = measure(features.view(), &labels, 3, head)?;
//! assert!(collapse.variability.nc1 < 1e-20);
//! assert!(collapse.structure.nc2_angles_means < 1e-12);
//! assert!(collapse.structure.nc3 < 1e-12);
//! assert_eq!(collapse.nc4, 0.0);
//! # Ok(())
//! # }
//! ```
//!
//! Features are a view of f32 or of f64; f32 are computed with in f64, block by block, without a whole copy.
//!
//! # Map
//! * [`measure`]: everything about one set of features, as a [`Collapse`].
//! * [`Variability`] (NC1, trace ratio, CDNV), [`Structure`] (NC2, NC3; from means and classifier alone with
//!   [`structure()`]), [`ood_orthogonality`] (NC5).
//! * [`ClassScatter`]: the means and NC1 from chunks, in one pass, mergeable.
//! * [`simplex_etf`] and [`etf_error`]: the limit shape and the distance from it.
//!
//! # Caveats
//! * Public implementations of NC1 differ by the factor `C`; both forms are given, each under its name.
//! * `μ_G` is the mean of the class means, not of the samples; on imbalanced data the two differ.
//! * An undefined measure is a typed error, never a number.

mod error;
mod etf;
mod means;
mod measure;
mod scatter;
mod structure;
mod variability;

pub use collapse_numeric::{RowSource, RowsView};
pub use error::{Error, Result};
pub use etf::{etf_error, simplex_etf};
pub use measure::{ClassDetail, Collapse, Head, measure};
pub use scatter::ClassScatter;
pub use structure::{Moments, Structure, ood_orthogonality, structure};
pub use variability::Variability;
