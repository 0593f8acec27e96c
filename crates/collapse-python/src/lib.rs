//! The module `collapse._collapse`, which the package `collapse` in `python/` presents.
//!
//! Everything is computed by the crates below; here arrays come in, numbers and arrays go out, and errors become
//! exceptions with the same words. The interpreter is released while anything is computed.

mod arrays;
mod call;
mod counts;
mod density;
mod detectors;
mod errors;
mod evaluate;
mod geometry;
mod metrics;
mod sets;
mod settings;

use pyo3::prelude::*;

/// Out-of-distribution detectors, their metrics, Gaussian densities and neural-collapse measures.
#[pymodule]
mod _collapse {
    #[pymodule_export]
    use super::density::{EmMixture, LabelledGaussianMixture};
    #[pymodule_export]
    use super::detectors::{Decisions, Detectors, Threshold, detector_names};
    #[pymodule_export]
    use super::evaluate::evaluate;
    #[pymodule_export]
    use super::geometry::neural_collapse;
    #[pymodule_export]
    use super::metrics::{
        accuracy, aupr, aurc, auroc, auroc_interval, bootstrap_intervals, calibration, detection,
        detection_error, ece, fpr_at_tpr, fpr95, nll, share_interval, temperature,
    };
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
