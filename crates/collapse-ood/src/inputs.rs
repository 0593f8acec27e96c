//! What a network says about samples, in the forms that several detectors share.

use std::ops::Range;
use std::sync::OnceLock;

use collapse_numeric::{Matrix, RowSource, RowsView, check_finite, check_labels};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use crate::error::{Error, Result};
use crate::head::Head;
use crate::neighbours::Bank;

/// What a network says about the samples to be scored.
///
/// Quantities that several detectors share are computed once, when first asked for. Features may be f32: a detector
/// [fits](TrainInputs) on [rows](Self::rows) that it reads in f64 one panel after the other, and
/// [`Fitted`](crate::Fitted) scores block by block, so that there is no whole copy in f64.
#[derive(Debug)]
pub struct Inputs<'a> {
    features: RowsView<'a>,
    /// Whose rows the features are, where they may be kept without a copy.
    owner: Option<&'a Matrix>,
    logits: Option<ArrayView2<'a, f64>>,
    /// Logits of other networks for the same samples.
    members: Vec<ArrayView2<'a, f64>>,
    l2: bool,
    /// Number of the first row, where these are a part of a larger set.
    first_row: usize,
    /// The features in f64, where they are not.
    wide: OnceLock<Array2<f64>>,
    normalized: OnceLock<Array2<f64>>,
}

impl<'a> Inputs<'a> {
    /// Raw features z `[N, D]` of f32 or f64 (`[N, 0]` where logits alone are known), logits `[N, C]`, and whether the head
    /// saw z / ‖z‖.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Numeric`], or [`Error::Undefined`] when there is nothing to score.
    pub fn new(
        features: impl Into<RowsView<'a>>,
        logits: ArrayView2<'a, f64>,
        l2: bool,
    ) -> Result<Self> {
        let features = features.into();
        let n = features.nrows();
        if n == 0 {
            return Err(Error::undefined(
                "a score",
                format!("the features are [0, {}]", features.ncols()),
            ));
        }
        if logits.ncols() == 0 {
            return Err(Error::undefined(
                "a score",
                format!("the logits are [{}, 0]", logits.nrows()),
            ));
        }
        if logits.nrows() != n {
            return Err(Error::Shape {
                what: "logits",
                found: format!("{} rows", logits.nrows()),
                expected: format!("{n}, one for each row of the features"),
            });
        }
        check_finite("logits", logits)?;
        features.check_finite("features")?;
        Ok(Self::of_checked(features, Some(logits), l2))
    }

    /// As [`new`](Self::new) and [`of_features`](Self::of_features) of what is known to have their shapes and finite numbers, which
    /// is not looked at again: scores of other numbers mean nothing.
    #[must_use]
    pub fn of_checked(
        features: impl Into<RowsView<'a>>,
        logits: Option<ArrayView2<'a, f64>>,
        l2: bool,
    ) -> Self {
        Self {
            features: features.into(),
            owner: None,
            logits,
            members: Vec::new(),
            l2,
            first_row: 0,
            wide: OnceLock::new(),
            normalized: OnceLock::new(),
        }
    }

    /// Features `[N, D]` alone, of anything that embeds samples; detectors that read logits refuse them with [`Error::NeedsLogits`].
    ///
    /// # Errors
    /// [`Error::Numeric`], or [`Error::Undefined`] when there is nothing to score.
    pub fn of_features(features: impl Into<RowsView<'a>>, l2: bool) -> Result<Self> {
        let features = features.into();
        let (n, d) = features.dim();
        if n == 0 || d == 0 {
            return Err(Error::undefined(
                "a score",
                format!("the features are [{n}, {d}]"),
            ));
        }
        features.check_finite("features")?;
        Ok(Self::of_checked(features, None, l2))
    }

    /// Whether there are features; detectors that read them refuse inputs without with [`Error::NeedsFeatures`].
    #[must_use]
    pub fn has_features(&self) -> bool {
        self.features.ncols() > 0
    }

    /// Says that the features are the rows of `owner`, so that a detector that keeps them shares them instead of a copy.
    #[must_use]
    pub fn owned_by(mut self, owner: &'a Matrix) -> Self {
        debug_assert_eq!(owner.dim(), self.features.dim());
        self.owner = Some(owner);
        self
    }

    /// Adds what other networks say of the same samples: logits `[N, C]` each, for the scores of an ensemble.
    ///
    /// # Errors
    /// [`Error::NeedsLogits`] without logits of the first network; [`Error::Shape`] or [`Error::Numeric`].
    pub fn with_members(mut self, members: Vec<ArrayView2<'a, f64>>) -> Result<Self> {
        let expected = self.logits_for()?.dim();
        for member in &members {
            if member.dim() != expected {
                return Err(Error::Shape {
                    what: "the logits of another network",
                    found: format!("{:?}", member.shape()),
                    expected: format!("[{}, {}], as those of the first", expected.0, expected.1),
                });
            }
            check_finite("logits of another network", *member)?;
        }
        self.members = members;
        Ok(self)
    }

    /// Logits of other networks for the same samples, `[N, C]` each.
    #[must_use]
    pub fn members(&self) -> &[ArrayView2<'a, f64>] {
        &self.members
    }

    /// The same inputs, whose first row has this number in messages: they are a part of a larger set.
    #[must_use]
    pub fn from_row(mut self, first_row: usize) -> Self {
        self.first_row = first_row;
        self
    }

    /// Some of the rows, which keep their numbers in messages.
    pub(crate) fn part(&self, rows: Range<usize>) -> Inputs<'_> {
        let slice = s![rows.start..rows.end, ..];
        Inputs {
            features: self.features.slice(rows.clone()),
            owner: None,
            logits: self.logits.as_ref().map(|logits| logits.slice(slice)),
            members: self
                .members
                .iter()
                .map(|member| member.slice(slice))
                .collect(),
            l2: self.l2,
            first_row: self.first_row + rows.start,
            wide: OnceLock::new(),
            normalized: OnceLock::new(),
        }
    }

    /// Raw features z, `[N, D]`; of f32 a copy in f64.
    #[must_use]
    pub fn features(&self) -> ArrayView2<'_, f64> {
        match self.features.as_f64() {
            Some(features) => features,
            None => {
                let copy = || self.features.panel(0..self.features.nrows());
                self.wide.get_or_init(copy).view()
            }
        }
    }

    /// Raw features z, `[N, D]`, to be read in f64 without a copy.
    #[must_use]
    pub fn rows(&self) -> RowsView<'a> {
        self.features
    }

    /// What the head saw, ẑ with L2, else z, `[N, D]`, to be read in f64 without a copy.
    #[must_use]
    pub fn head_rows(&self) -> RowsView<'a> {
        match self.l2 {
            true => self.features.normalized(),
            false => self.features,
        }
    }

    /// The features to keep, in f32 where that loses nothing.
    pub(crate) fn kept(&self) -> Matrix {
        match self.owner {
            Some(owner @ Matrix::Single(_)) => owner.clone(),
            _ => self.features.to_matrix().narrowed(),
        }
    }

    /// Logits, `[N, C]`, where they were given.
    #[must_use]
    pub fn logits(&self) -> Option<ArrayView2<'_, f64>> {
        self.logits.as_ref().map(|logits| logits.view())
    }

    /// The logits for a detector that cannot do without.
    pub(crate) fn logits_for(&self) -> Result<ArrayView2<'_, f64>> {
        self.logits().ok_or(Error::NeedsLogits)
    }

    /// The logits for a detector that knows each of `n_classes`.
    pub(crate) fn logits_of(&self, n_classes: usize) -> Result<ArrayView2<'_, f64>> {
        let logits = self.logits_for()?;
        match logits.ncols() == n_classes {
            true => Ok(logits),
            false => Err(Error::Shape {
                what: "logits",
                found: format!("{} columns", logits.ncols()),
                expected: format!("{n_classes}, as in the training logits"),
            }),
        }
    }

    /// The number of row `row` of these inputs in the set that they are part of.
    pub(crate) fn row_number(&self, row: usize) -> usize {
        self.first_row + row
    }

    /// Whether the head saw L2-normalised features.
    #[must_use]
    pub fn l2(&self) -> bool {
        self.l2
    }

    /// ẑ = z / max(‖z‖, 1e-12), `[N, D]`.
    #[must_use]
    pub fn normalized(&self) -> ArrayView2<'_, f64> {
        self.normalized
            .get_or_init(|| self.features.normalized().panel(0..self.features.nrows()))
            .view()
    }

    /// What the head saw: ẑ with L2, else z; `[N, D]`.
    #[must_use]
    pub fn head_features(&self) -> ArrayView2<'_, f64> {
        if self.l2 {
            self.normalized()
        } else {
            self.features()
        }
    }
}

/// In-distribution training samples with what a detector may fit on.
#[derive(Debug)]
pub struct TrainInputs<'a> {
    inputs: Inputs<'a>,
    labels: &'a [usize],
    n_classes: usize,
    numbered: OnceLock<Numbered>,
    head: Option<Head>,
    bank: OnceLock<Bank>,
}

impl<'a> TrainInputs<'a> {
    /// Training features with one label per row, `[N]`. The logits tell the number of classes of the network; without logits it is
    /// one more than the largest label. Not every class need occur: class statistics are those of the [`classes`](Self::classes)
    /// that do.
    ///
    /// # Errors
    /// [`Error::Numeric`] for another number of labels, [`Error::LabelsFromOne`] and [`Error::Numeric`] for labels that are no column of
    /// the logits.
    pub fn new(inputs: Inputs<'a>, labels: &'a [usize]) -> Result<Self> {
        let n = inputs.features.nrows();
        let largest = labels.iter().copied().max().unwrap_or(0);
        let n_classes = match &inputs.logits {
            Some(logits) => logits.ncols(),
            None => largest.saturating_add(1),
        };
        if largest == n_classes && !labels.contains(&0) {
            return Err(Error::LabelsFromOne { n_classes });
        }
        check_labels(labels, n, n_classes)?;
        Ok(Self {
            inputs,
            labels,
            n_classes,
            numbered: OnceLock::new(),
            head: None,
            bank: OnceLock::new(),
        })
    }

    /// Adds the last linear layer, weight `[C, D]` and bias `[C]`.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Numeric`].
    pub fn with_head(mut self, weight: ArrayView2<f64>, bias: ArrayView1<f64>) -> Result<Self> {
        let expected = (self.n_classes, self.inputs.features.ncols());
        if weight.dim() != expected || bias.len() != expected.0 {
            return Err(Error::Shape {
                what: "head",
                found: format!("weight {:?}, bias [{}]", weight.shape(), bias.len()),
                expected: format!(
                    "weight [{}, {}], bias [{}]",
                    expected.0, expected.1, expected.0
                ),
            });
        }
        check_finite("head.weight", weight)?;
        check_finite("head.bias", bias.insert_axis(Axis(0)))?;
        self.head = Some(Head {
            weight: weight.to_owned(),
            bias: bias.to_owned(),
        });
        Ok(self)
    }

    /// Features and logits.
    #[must_use]
    pub fn inputs(&self) -> &Inputs<'a> {
        &self.inputs
    }

    /// Labels, `[N]`.
    #[must_use]
    pub fn labels(&self) -> &[usize] {
        self.labels
    }

    /// The labels that occur, ascending, `[K]`, K ≤ C.
    #[must_use]
    pub fn classes(&self) -> &[usize] {
        &self.numbered().classes
    }

    /// The index of every row's label among the [`classes`](Self::classes), `[N]`.
    #[must_use]
    pub fn class_indices(&self) -> &[usize] {
        &self.numbered().indices
    }

    fn numbered(&self) -> &Numbered {
        self.numbered.get_or_init(|| Numbered::of(self.labels))
    }

    /// Number of classes C of the network, also of those that no label names.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    /// The normalised features for nearest neighbours, made once for all detectors.
    pub(crate) fn bank(&self) -> Bank {
        let new = || Bank::normalized(self.inputs.kept(), self.class_indices());
        self.bank.get_or_init(new).clone()
    }

    /// The last linear layer.
    ///
    /// # Errors
    /// [`Error::NeedsHead`] when none was given.
    pub fn head(&self) -> Result<&Head> {
        self.head.as_ref().ok_or(Error::NeedsHead)
    }
}

/// Labels by the classes that occur.
#[derive(Debug, PartialEq)]
struct Numbered {
    /// The labels that occur, ascending.
    classes: Vec<usize>,
    /// Index into `classes` of every row.
    indices: Vec<usize>,
}

impl Numbered {
    fn of(labels: &[usize]) -> Self {
        let largest = labels.iter().copied().max().unwrap_or(0);
        // Without logits the largest label may be anything.
        if largest > 2 * labels.len() {
            let mut classes = labels.to_vec();
            classes.sort_unstable();
            classes.dedup();
            let index = |label: &usize| classes.partition_point(|class| class < label);
            let indices = labels.iter().map(index).collect();
            return Self { classes, indices };
        }
        let mut index = vec![usize::MAX; largest + 1];
        labels.iter().for_each(|label| index[*label] = 0);
        let classes: Vec<usize> = (0..=largest).filter(|label| index[*label] == 0).collect();
        for (i, label) in classes.iter().enumerate() {
            index[*label] = i;
        }
        let indices = labels.iter().map(|label| index[*label]).collect();
        Self { classes, indices }
    }
}

/// Fails unless `features` have the columns that the detector was fitted on.
pub(crate) fn check_columns(features: impl RowSource, expected: usize) -> Result<()> {
    if features.ncols() == expected {
        return Ok(());
    }
    Err(Error::Shape {
        what: "features",
        found: format!("{} columns", features.ncols()),
        expected: format!("{expected}, as in the training features"),
    })
}

/// `numerator / denominator`, or an error that names the row.
pub(crate) fn ratio(row: usize, numerator: f64, denominator: f64) -> Result<f64> {
    if denominator == 0.0 {
        let reason =
            format!("row {row} coincides with the centre of the training features; leave it out");
        return Err(Error::undefined("the score", reason));
    }
    Ok(numerator / denominator)
}

#[cfg(test)]
mod tests {
    use super::Numbered;

    #[test]
    fn classes_are_numbered_in_their_order_however_large_their_labels() {
        let far = usize::MAX - 1;
        for largest in [7, far] {
            let expected = Numbered {
                classes: vec![1, 4, largest],
                indices: vec![2, 0, 1, 0],
            };
            assert_eq!(Numbered::of(&[largest, 1, 4, 1]), expected);
        }
        let none = Numbered::of(&[]);
        assert!(none.classes.is_empty() && none.indices.is_empty());
    }
}
