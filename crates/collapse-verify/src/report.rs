//! What was compared, and whether it agrees.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The agreement of one quantity with its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// File of the reference, without ending.
    pub file: String,
    /// Case within the file.
    pub case: String,
    /// What was compared.
    pub quantity: String,
    /// Largest error: over the largest absolute reference value, unless the quantity says otherwise.
    pub largest_error: f64,
    /// What is allowed.
    pub tolerance: f64,
    /// Whether the error is within the tolerance.
    pub ok: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            case,
            quantity,
            largest_error,
            tolerance,
            ok,
        } = self;
        let verdict = if *ok { "ok  " } else { "FAIL" };
        write!(
            f,
            "{verdict} {file:<16} {case:<28} {quantity:<36} {largest_error:>9.1e} <= {tolerance:.0e}"
        )
    }
}

/// The rows of one verification, in the order in which they were checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One row a quantity.
    pub rows: Vec<Row>,
}

impl Report {
    /// Adds a row; an error that is NaN fails.
    pub fn record(
        &mut self,
        file: &str,
        case: &str,
        quantity: &str,
        largest_error: f64,
        tolerance: f64,
    ) {
        self.rows.push(Row {
            file: file.to_owned(),
            case: case.to_owned(),
            quantity: quantity.to_owned(),
            largest_error,
            tolerance,
            ok: largest_error <= tolerance,
        });
    }

    /// Adds the row of an array; the error is [`relative_error`].
    pub fn compare(
        &mut self,
        (file, case): (&str, &str),
        quantity: &str,
        found: &[f64],
        reference: &[f64],
        tolerance: f64,
    ) {
        self.record(
            file,
            case,
            quantity,
            relative_error(found, reference),
            tolerance,
        );
    }

    /// Rows outside their tolerance.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.ok)
    }

    /// One line: how many quantities agree.
    #[must_use]
    pub fn summary(&self) -> String {
        let failed = self.failed().count();
        let total = self.rows.len();
        match failed {
            0 => format!("{total} quantities, all within their tolerances"),
            _ => format!("{total} quantities, {failed} outside their tolerances"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        write!(f, "{}", self.summary())
    }
}

/// Largest absolute difference over the largest absolute reference value; 0 where both are equal or both NaN, infinite for
/// arrays of different lengths, NaN where only one is.
#[must_use]
pub fn relative_error(found: &[f64], reference: &[f64]) -> f64 {
    if found.len() != reference.len() {
        return f64::INFINITY;
    }
    let magnitude = |value: &f64| if value.is_finite() { value.abs() } else { 0.0 };
    let scale = reference.iter().map(magnitude).fold(0.0, f64::max);
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let mut largest = 0.0;
    for (a, b) in found.iter().zip(reference) {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let error = (a - b).abs() / scale;
        if error.is_nan() {
            return f64::NAN;
        }
        largest = f64::max(largest, error);
    }
    largest
}
