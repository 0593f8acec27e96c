//! The f64 ground of the statistics: what densities, geometry and detectors compute with.
//!
//! ```
//! use collapse_numeric::{log_sum_exp, matmul_nt, normalize_rows};
//! use ndarray::array;
//!
//! let unit = normalize_rows(array![[3.0, 4.0], [0.0, 2.0]].view());
//! let cosines = matmul_nt(unit.view(), unit.view())?;
//! assert!((cosines[[0, 1]] - 0.8).abs() < 1e-15);
//! // Never overflows.
//! assert_eq!(log_sum_exp(array![1000.0, 1000.0].view()), 1000.0 + 2f64.ln());
//! # Ok::<(), collapse_numeric::Error>(())
//! ```
//!
//! # Map
//! * Products: [`matmul`], [`matmul_nt`], [`gram`], [`mean`], [`covariance`], lengths under a [`Projection`]; on slices
//!   [`inner_products`], [`subtract_product`], [`sum_by_lanes`].
//! * Decompositions: [`symmetric_eigen`], [`right_singular`], [`trapezoid`], [`Cholesky`] of [`SymmetricPanels`].
//! * Sources of rows: [`Matrix`] and its [`RowsView`] hold f32 or f64; whatever is a [`RowSource`] is read in f64 panel by panel.
//! * Rows: [`check_finite`], [`norm`], [`normalize_rows`] with the one [`NORM_FLOOR`], [`check_labels`], [`rows_by_class`].
//! * Logits: [`argmax`], [`log_sum_exp`], [`log_odds`] and the parts of a [`Softmax`] that does not saturate.
//!
//! # Caveats
//! * `ndarray` has no fast f64 product without a BLAS installed, so blocks of rows go to [`faer`]'s single-threaded kernels, spread over
//!   rayon. The blocks depend on the shapes alone: results have the same bytes for any number of threads.
//! * All matrices are row-major `[rows, columns]`; other layouts are copied where a kernel needs rows.

mod cholesky;
mod classes;
mod decompositions;
mod error;
#[cfg(target_arch = "x86_64")]
mod gram;
mod lanes;
mod logits;
mod panels;
mod products;
mod projection;
mod rows;
mod source;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub use cholesky::{Cholesky, overflow_to_infinity};
pub use classes::{check_labels, rows_by_class};
pub use decompositions::{
    RightSingular, SymmetricEigen, right_singular, symmetric_eigen, trapezoid,
};
pub use error::{Error, Result};
pub use lanes::{dot, sum_by_lanes};
pub use logits::{Softmax, argmax, log_odds, log_sum_exp};
pub use panels::{PANEL, SymmetricPanels};
pub use products::{
    Element, covariance, gram, inner_products, matmul, matmul_nt, mean, subtract_product,
};
pub use projection::Projection;
pub use rows::{NORM_FLOOR, check_finite, distance, norm, normalize_rows, power_of_two_below};
pub use source::{About, Matrix, PANEL_ROWS, ReadRow, RowSource, RowsView, largest_magnitude};
