//! Detection, calibration and selective-prediction metrics, exact in f64.
//!
//! Scores are confidences: larger = more in-distribution. NaN among the scores and quantities
//! that do not exist (an empty set, a class of one sample where a variance is wanted) are typed
//! errors, never a number.

mod calibration;
mod curves;
mod detection;
mod intervals;
mod ranking;
mod selective;
mod threshold;

pub use calibration::{
    Calibration, ReliabilityBin, TemperatureGrid, accuracy, calibration, correct,
    expected_calibration_error, nll, reliability, temperature_grid, temperature_optimum,
};
pub use curves::Points;
pub use detection::{Detection, auroc, detection};
pub use intervals::{Bootstrap, BootstrapIntervals, Interval, delong_interval, delong_variance};
pub use ranking::{Positive, Ranking};
pub use selective::{augrc, aurc, risk_coverage_curve};
pub use threshold::{Threshold, share_interval};
