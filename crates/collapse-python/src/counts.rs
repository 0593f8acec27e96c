//! Whole numbers of Python, which may be negative or beyond what fits.

use pyo3::PyResult;
use pyo3::exceptions::PyValueError;

/// Resamples that a bootstrap can hold in memory, as on the command line.
const RESAMPLES: i128 = 1_000_000;

/// A number of things, or a seed; `name` is the argument's.
pub fn count<T: TryFrom<i128>>(name: &str, value: i128) -> PyResult<T> {
    T::try_from(value).map_err(|_| {
        let wrong = if value < 0 { "negative" } else { "too large" };
        PyValueError::new_err(format!(
            "{name} is {value}, {wrong}: give a whole number from 0 on"
        ))
    })
}

/// Resamples of a bootstrap.
pub fn resamples(name: &str, value: i128) -> PyResult<usize> {
    match (1..=RESAMPLES).contains(&value) {
        true => count(name, value),
        false => Err(PyValueError::new_err(format!(
            "{name} is {value}: give 1 to {RESAMPLES} resamples, e.g. 1000"
        ))),
    }
}
