//! The rows of a bank in the precision in which they came.

use collapse_numeric::{Matrix, NORM_FLOOR, RowSource, norm};
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

/// Rows `[N, D]`, divided by their norms when they are read. Features of networks are f32 as a rule, and normalised they
/// would not be: as they came they take half the memory and half the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rows {
    values: Matrix,
    /// What each row is divided by, `[N]`.
    lengths: Vec<f64>,
}

impl Rows {
    /// Features `[N, D]`, to be read as ẑ = z / max(‖z‖, 1e-12).
    pub(super) fn normalized(values: Matrix) -> Self {
        let (n, d) = values.dim();
        let mut buffer = vec![0.0; d];
        let length = |row: usize| {
            values.view().read(row, &mut buffer);
            norm(ArrayView1::from(&buffer)).max(NORM_FLOOR)
        };
        Self {
            lengths: (0..n).map(length).collect(),
            values,
        }
    }

    /// Rows `[N, D]` as they are.
    #[cfg(test)]
    pub(super) fn plain(values: Matrix) -> Self {
        Self {
            lengths: vec![1.0; values.nrows()],
            values,
        }
    }

    /// N and D.
    pub(super) fn dim(&self) -> (usize, usize) {
        self.values.dim()
    }

    /// Whether the parts of a bank from a file fit together.
    pub(super) fn fit(&self) -> bool {
        self.lengths.len() == self.dim().0
    }

    /// One row `[D]`, into a buffer.
    pub(super) fn read(&self, row: usize, out: &mut Vec<f64>) {
        out.resize(self.dim().1, 0.0);
        self.values.view().read(row, out);
        let length = self.lengths[row];
        out.iter_mut().for_each(|value| *value /= length);
    }

    /// One row `[D]`.
    pub(super) fn row(&self, row: usize) -> Array1<f64> {
        let mut values = Vec::new();
        self.read(row, &mut values);
        Array1::from_vec(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collapse_numeric::normalize_rows;
    use collapse_random::Stream;
    use ndarray::{Array2, Axis};

    #[test]
    fn rows_are_those_of_the_features_to_the_last_bit() {
        let mut stream = Stream::new(5, "rows", 0);
        let mut features = Array2::from_shape_simple_fn((20, 7), || stream.normal());
        features.row_mut(3).fill(0.0);
        let single = features.mapv(|value| value as f32);
        for matrix in [Matrix::from(features), Matrix::from(single)] {
            let expected = normalize_rows(matrix.to_f64().view());
            let rows = Rows::normalized(matrix);
            for (row, expected) in expected.axis_iter(Axis(0)).enumerate() {
                assert_eq!(rows.row(row), expected);
            }
            let text = serde_json::to_string(&rows).unwrap();
            let again: Rows = serde_json::from_str(&text).unwrap();
            assert_eq!(again.row(11), rows.row(11));
        }
    }
}
