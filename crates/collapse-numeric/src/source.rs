//! Rows of f32 or f64 that are read in f64, so that no whole copy of them is needed.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{ArcArray2, Array1, Array2, ArrayView2, Axis, NdFloat, concatenate, s};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::rows::{NORM_FLOOR, check_finite, norm};

/// Rows that are converted at a time.
pub const PANEL_ROWS: usize = 512;

/// Rows `[N, D]` that are read in f64, one by one or panel by panel, in whatever precision they are kept.
pub trait RowSource: Sync {
    /// N and D.
    fn dim(&self) -> (usize, usize);

    /// Writes the first columns of a row to `out`, as many as it holds.
    fn read(&self, row: usize, out: &mut [f64]);

    /// As [`read`](Self::read) to an array.
    fn read_to(&self, row: usize, out: &mut Array1<f64>) {
        if let Some(out) = out.as_slice_mut() {
            self.read(row, out);
        }
    }

    /// Names the first NaN or infinity in row-major order; `what` is the name of the rows in the message.
    ///
    /// # Errors
    /// [`Error::NotFinite`](crate::Error::NotFinite).
    fn check_finite(&self, what: &'static str) -> Result<()>;

    /// N.
    fn nrows(&self) -> usize {
        self.dim().0
    }

    /// D.
    fn ncols(&self) -> usize {
        self.dim().1
    }

    /// Rows one after the other in f64, row-major.
    fn panel(&self, rows: Range<usize>) -> Array2<f64> {
        gathered(self, rows)
    }

    /// The rows of these numbers in f64, row-major.
    fn select(&self, rows: &[usize]) -> Array2<f64> {
        gathered(self, rows.iter().copied())
    }

    /// The numbers of the rows of each panel of at most [`PANEL_ROWS`].
    fn panels(&self) -> Vec<Range<usize>> {
        let n = self.nrows();
        let starts = (0..n).step_by(PANEL_ROWS);
        starts
            .map(|start| start..n.min(start + PANEL_ROWS))
            .collect()
    }
}

/// What writes rows in f64 by their numbers, from any thread. A method that is `#[inline(always)]` is compiled for the vectors of the loop
/// that calls it.
pub trait ReadRow: Sync {
    /// Writes a row to `out`.
    fn read_row(&self, row: usize, out: &mut [f64]);
}

impl<R: RowSource> ReadRow for R {
    #[inline(always)]
    fn read_row(&self, row: usize, out: &mut [f64]) {
        self.read(row, out);
    }
}

/// Rows `[N, D]` less a centre `[D]`.
#[derive(Clone, Copy, Debug)]
pub struct About<'a, R> {
    /// The rows.
    pub rows: R,
    /// What is taken from each.
    pub center: &'a [f64],
}

impl<R: RowSource> ReadRow for About<'_, R> {
    #[inline(always)]
    fn read_row(&self, row: usize, out: &mut [f64]) {
        self.rows.read(row, out);
        let pairs = out.iter_mut().zip(self.center);
        pairs.for_each(|(value, center)| *value -= center);
    }
}

fn gathered<R: RowSource + ?Sized>(
    source: &R,
    rows: impl ExactSizeIterator<Item = usize>,
) -> Array2<f64> {
    let mut gathered = Array2::zeros((rows.len(), source.ncols()));
    for (row, mut out) in rows.zip(gathered.rows_mut()) {
        if let Some(out) = out.as_slice_mut() {
            source.read(row, out);
        }
    }
    gathered
}

impl<R: RowSource + ?Sized> RowSource for &R {
    fn dim(&self) -> (usize, usize) {
        (**self).dim()
    }

    #[inline(always)]
    fn read(&self, row: usize, out: &mut [f64]) {
        (**self).read(row, out);
    }

    fn check_finite(&self, what: &'static str) -> Result<()> {
        (**self).check_finite(what)
    }
}

impl<F: NdFloat> RowSource for ArrayView2<'_, F> {
    fn dim(&self) -> (usize, usize) {
        ArrayView2::dim(self)
    }

    #[inline(always)]
    fn read(&self, row: usize, out: &mut [f64]) {
        let values = self.index_axis(Axis(0), row);
        let to_f64 = |value: F| value.to_f64().unwrap_or(f64::NAN);
        match values.as_slice() {
            Some(values) => {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = to_f64(*value);
                }
            }
            None => {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = to_f64(*value);
                }
            }
        }
    }

    fn check_finite(&self, what: &'static str) -> Result<()> {
        check_finite(what, *self)
    }
}

/// Rows `[N, D]` in the precision in which they came, f32 or f64; clones share the numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Matrix {
    /// In f32, as features of networks are as a rule.
    Single(ArcArray2<f32>),
    /// In f64.
    Double(ArcArray2<f64>),
}

impl Matrix {
    /// N and D.
    #[must_use]
    pub fn dim(&self) -> (usize, usize) {
        self.view().dim()
    }

    /// Number of rows N.
    #[must_use]
    pub fn nrows(&self) -> usize {
        self.dim().0
    }

    /// Number of columns D.
    #[must_use]
    pub fn ncols(&self) -> usize {
        self.dim().1
    }

    /// The rows.
    #[must_use]
    pub fn view(&self) -> RowsView<'_> {
        match self {
            Self::Single(values) => values.view().into(),
            Self::Double(values) => values.view().into(),
        }
    }

    /// All numbers in f64, which copies those that are f32.
    #[must_use]
    pub fn to_f64(&self) -> ArcArray2<f64> {
        match self {
            Self::Single(_) => self.view().to_f64().into_shared(),
            Self::Double(values) => values.clone(),
        }
    }

    /// The rows of all parts, one below the other, in f32 where all parts are; `None` of no parts or other widths.
    #[must_use]
    pub fn stacked(parts: &[&Self]) -> Option<Self> {
        let singles: Option<Vec<_>> = parts.iter().map(|part| part.as_single()).collect();
        if let Some(parts) = singles {
            return concatenate(Axis(0), &parts).ok().map(Self::from);
        }
        let parts: Vec<_> = parts.iter().map(|part| part.to_f64()).collect();
        let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
        concatenate(Axis(0), &parts).ok().map(Self::from)
    }

    fn as_single(&self) -> Option<ArrayView2<'_, f32>> {
        match self {
            Self::Single(values) => Some(values.view()),
            Self::Double(_) => None,
        }
    }

    /// In f32 where that loses nothing.
    #[must_use]
    pub fn narrowed(self) -> Self {
        let exact = |value: &f64| f64::from(*value as f32) == *value;
        match self {
            Self::Double(values) if values.iter().all(exact) => {
                Self::from(values.mapv(|value| value as f32))
            }
            other => other,
        }
    }
}

/// No rows.
impl Default for Matrix {
    fn default() -> Self {
        Self::from(Array2::<f32>::zeros((0, 0)))
    }
}

/// Equal numbers are equal, whatever the precision in which they are kept.
impl PartialEq for Matrix {
    fn eq(&self, other: &Self) -> bool {
        let (mut left, mut right) = (vec![0.0; self.ncols()], vec![0.0; self.ncols()]);
        let mut equal = |row: usize| {
            self.view().read(row, &mut left);
            other.view().read(row, &mut right);
            left == right
        };
        self.dim() == other.dim() && (0..self.nrows()).all(&mut equal)
    }
}

impl PartialEq<Array2<f64>> for Matrix {
    fn eq(&self, other: &Array2<f64>) -> bool {
        self.to_f64() == *other
    }
}

impl From<Array2<f32>> for Matrix {
    fn from(values: Array2<f32>) -> Self {
        Self::Single(values.into_shared())
    }
}

impl From<Array2<f64>> for Matrix {
    fn from(values: Array2<f64>) -> Self {
        Self::Double(values.into_shared())
    }
}

impl From<ArcArray2<f32>> for Matrix {
    fn from(values: ArcArray2<f32>) -> Self {
        Self::Single(values)
    }
}

impl From<ArcArray2<f64>> for Matrix {
    fn from(values: ArcArray2<f64>) -> Self {
        Self::Double(values)
    }
}

/// The largest absolute value of finite `values` `[N, D]`; 0 for none.
#[must_use]
pub fn largest_magnitude<R: RowSource>(values: R) -> f64 {
    let largest = |rows: Range<usize>| {
        let mut buffer = vec![0.0; values.ncols()];
        rows.fold(0.0f64, |max, row| {
            values.read(row, &mut buffer);
            buffer.iter().fold(max, |max, v| max.max(v.abs()))
        })
    };
    let panels = values.panels().into_par_iter();
    panels.map(largest).reduce(|| 0.0, f64::max)
}

/// A view of rows `[N, D]` of f32 or f64, read as they are or divided by their norms.
#[derive(Clone, Copy, Debug)]
pub struct RowsView<'a> {
    values: Values<'a>,
    unit: bool,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Single(ArrayView2<'a, f32>),
    Double(ArrayView2<'a, f64>),
}

impl<'a> RowsView<'a> {
    /// N and D.
    #[must_use]
    pub fn dim(&self) -> (usize, usize) {
        match &self.values {
            Values::Single(values) => values.dim(),
            Values::Double(values) => values.dim(),
        }
    }

    /// Number of rows N.
    #[must_use]
    pub fn nrows(&self) -> usize {
        self.dim().0
    }

    /// Number of columns D.
    #[must_use]
    pub fn ncols(&self) -> usize {
        self.dim().1
    }

    /// The same rows, read as ẑ = z / max(‖z‖, [`NORM_FLOOR`]): the numbers of
    /// [`normalize_rows`](crate::normalize_rows), to the last bit.
    #[must_use]
    pub fn normalized(self) -> Self {
        Self { unit: true, ..self }
    }

    /// Some of the rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> RowsView<'_> {
        let slice = s![rows, ..];
        RowsView {
            values: match &self.values {
                Values::Single(values) => Values::Single(values.slice(slice)),
                Values::Double(values) => Values::Double(values.slice(slice)),
            },
            unit: self.unit,
        }
    }

    /// The same view for as long as this one is borrowed.
    #[must_use]
    pub fn reborrow(&self) -> RowsView<'_> {
        self.slice(0..self.nrows())
    }

    /// The array itself where it is what is read: row-major f64 that are not normalised.
    #[must_use]
    pub fn as_f64(&self) -> Option<ArrayView2<'_, f64>> {
        match &self.values {
            Values::Double(values) if !self.unit && values.is_standard_layout() => {
                Some(values.view())
            }
            _ => None,
        }
    }

    #[inline(always)]
    fn read_as_kept(&self, row: usize, out: &mut [f64]) {
        match &self.values {
            Values::Single(values) => values.read(row, out),
            Values::Double(values) => values.read(row, out),
        }
    }

    fn read_normalized(&self, row: usize, out: &mut [f64]) {
        let d = self.dim().1;
        if out.len() < d {
            let mut whole = vec![0.0; d];
            self.read_normalized(row, &mut whole);
            out.copy_from_slice(&whole[..out.len()]);
            return;
        }
        self.read_as_kept(row, out);
        let length = norm(ndarray::ArrayView1::from(&*out)).max(NORM_FLOOR);
        out.iter_mut().for_each(|value| *value /= length);
    }

    /// All that is read, as a copy.
    #[must_use]
    pub fn to_f64(&self) -> Array2<f64> {
        let mut out = Array2::zeros(self.dim());
        let rows = out.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
        rows.for_each(|(row, mut out)| {
            if let Some(out) = out.as_slice_mut() {
                self.read(row, out);
            }
        });
        out
    }

    /// A copy of the numbers as they are kept, without normalisation.
    #[must_use]
    pub fn to_matrix(&self) -> Matrix {
        match self.values {
            Values::Single(values) => Matrix::from(values.as_standard_layout().into_owned()),
            Values::Double(values) => Matrix::from(values.as_standard_layout().into_owned()),
        }
    }
}

impl RowSource for RowsView<'_> {
    fn dim(&self) -> (usize, usize) {
        Self::dim(self)
    }

    #[inline(always)]
    fn read(&self, row: usize, out: &mut [f64]) {
        match self.unit {
            false => self.read_as_kept(row, out),
            true => self.read_normalized(row, out),
        }
    }

    fn check_finite(&self, what: &'static str) -> Result<()> {
        match &self.values {
            Values::Single(values) => values.check_finite(what),
            Values::Double(values) => values.check_finite(what),
        }
    }
}

impl<'a> From<ArrayView2<'a, f32>> for RowsView<'a> {
    fn from(values: ArrayView2<'a, f32>) -> Self {
        Self {
            values: Values::Single(values),
            unit: false,
        }
    }
}

impl<'a> From<ArrayView2<'a, f64>> for RowsView<'a> {
    fn from(values: ArrayView2<'a, f64>) -> Self {
        Self {
            values: Values::Double(values),
            unit: false,
        }
    }
}

impl<'a> From<&'a Matrix> for RowsView<'a> {
    fn from(matrix: &'a Matrix) -> Self {
        matrix.view()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::normalize_rows;
    use ndarray::array;

    fn numbers() -> Array2<f32> {
        let mut numbers = Array2::from_shape_fn((9, 7), |(i, j)| ((i * 7 + j * 5) as f32).sin());
        numbers.row_mut(3).fill(0.0);
        numbers
    }

    #[test]
    fn rows_are_read_to_the_last_bit() {
        let single = numbers();
        let double = single.mapv(f64::from);
        let unit = normalize_rows(double.view());
        // Columns first, too.
        let turned = single.t().as_standard_layout().into_owned();
        let views: [RowsView; 3] = [
            single.view().into(),
            turned.t().into(),
            double.view().into(),
        ];
        for view in views {
            assert_eq!(view.to_f64(), double);
            assert_eq!(view.normalized().to_f64(), unit);
            assert_eq!(view.slice(2..5).panel(1..3), double.slice(s![3..5, ..]));
            assert_eq!(view.to_matrix().to_f64(), double);
            let mut first = [0.0; 2];
            view.normalized().read(4, &mut first);
            assert_eq!(first.to_vec(), unit.slice(s![4, ..2]).to_vec());
        }
        assert_eq!(views[2].as_f64().unwrap(), double);
        assert!(views[0].as_f64().is_none() && views[2].normalized().as_f64().is_none());
    }

    #[test]
    fn a_matrix_is_narrowed_only_where_nothing_is_lost() {
        let exact = Matrix::from(numbers().mapv(f64::from)).narrowed();
        assert!(matches!(exact, Matrix::Single(_)));
        assert_eq!(exact, Matrix::from(numbers()));
        let kept = Matrix::from(array![[0.1, 0.5]]).narrowed();
        assert!(matches!(kept, Matrix::Double(_)));
        assert_eq!(kept, array![[0.1, 0.5]]);
        assert_ne!(kept, Matrix::from(array![[0.1f32, 0.5]]));
    }

    #[test]
    fn what_is_not_finite_is_named_whatever_the_precision() {
        let mut bad = numbers();
        bad[[5, 2]] = f32::NAN;
        let expected = "features [5, 2] is NaN: leave the row out or repair its source";
        for view in [
            RowsView::from(bad.view()),
            RowsView::from(bad.view()).normalized(),
            RowsView::from(bad.mapv(f64::from).view()),
        ] {
            let error = view.check_finite("features").unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
