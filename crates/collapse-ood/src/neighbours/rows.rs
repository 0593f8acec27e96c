//! The rows of a bank in the precision in which they came.

use collapse_numeric::{NORM_FLOOR, norm};
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// Rows `[N, D]`, divided by their norms when they are read. Features of networks are f32 as a rule, and normalised they
/// would not be: as they came they take half the memory and half the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rows {
    values: Values,
    /// What each row is divided by, `[N]`.
    lengths: Vec<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Values {
    Single(Array2<f32>),
    Double(Array2<f64>),
}

impl Rows {
    /// Features `[N, D]`, to be read as ẑ = z / max(‖z‖, 1e-12).
    pub(crate) fn normalized(features: ArrayView2<f64>) -> Self {
        let length = |row: ndarray::ArrayView1<f64>| norm(row).max(NORM_FLOOR);
        Self {
            values: Values::of(features),
            lengths: features.rows().into_iter().map(length).collect(),
        }
    }

    /// Rows `[N, D]` as they are.
    #[cfg(test)]
    pub(super) fn plain(rows: ArrayView2<f64>) -> Self {
        Self {
            values: Values::of(rows),
            lengths: vec![1.0; rows.nrows()],
        }
    }

    /// N and D.
    pub(super) fn dim(&self) -> (usize, usize) {
        match &self.values {
            Values::Single(rows) => rows.dim(),
            Values::Double(rows) => rows.dim(),
        }
    }

    /// Whether the parts of a bank from a file fit together.
    pub(super) fn fit(&self) -> bool {
        self.lengths.len() == self.dim().0
    }

    /// One row `[D]`, into a buffer.
    pub(super) fn read(&self, row: usize, out: &mut Vec<f64>) {
        let length = self.lengths[row];
        out.clear();
        match &self.values {
            Values::Single(rows) => {
                out.extend(rows.row(row).iter().map(|value| f64::from(*value) / length));
            }
            Values::Double(rows) => out.extend(rows.row(row).iter().map(|value| value / length)),
        }
    }

    /// One row `[D]`.
    pub(super) fn row(&self, row: usize) -> Array1<f64> {
        let mut values = Vec::with_capacity(self.dim().1);
        self.read(row, &mut values);
        Array1::from_vec(values)
    }
}

impl Values {
    /// In f32 where that loses nothing.
    fn of(rows: ArrayView2<f64>) -> Self {
        let single = |value: &f64| f64::from(*value as f32) == *value;
        match rows.iter().all(single) {
            true => Self::Single(rows.mapv(|value| value as f32)),
            false => Self::Double(rows.as_standard_layout().into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_numeric::normalize_rows;
    use collapse_random::Stream;
    use ndarray::Axis;

    #[test]
    fn rows_are_those_of_the_features_to_the_last_bit() {
        let mut stream = Stream::new(5, "rows", 0);
        let mut features = Array2::from_shape_simple_fn((20, 7), || stream.normal());
        features.row_mut(3).fill(0.0);
        let single = features.mapv(|value| f64::from(value as f32));
        for (features, narrow) in [(&features, false), (&single, true)] {
            // Columns first, too.
            let turned = features.t().as_standard_layout().into_owned();
            for view in [features.view(), turned.t()] {
                let rows = Rows::normalized(view);
                assert_eq!(matches!(rows.values, Values::Single(_)), narrow);
                let expected = normalize_rows(features.view());
                for (row, expected) in expected.axis_iter(Axis(0)).enumerate() {
                    assert_eq!(rows.row(row), expected);
                }
                let text = serde_json::to_string(&rows).unwrap();
                let again: Rows = serde_json::from_str(&text).unwrap();
                assert_eq!(again.row(11), rows.row(11));
            }
        }
    }
}
