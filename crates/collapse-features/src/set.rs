//! The values of a feature set, and the checks on them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use collapse_numeric::{Matrix, PANEL_ROWS, RowSource, RowsView, check_finite};
use ndarray::{Array1, Array2, ArrayView2, Axis, NdFloat};

use crate::error::{Error, Result};

/// The last linear layer: `logits = features · weightᵀ + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Weight, [C, D].
    pub weight: Array2<f64>,
    /// Bias, `[C]`.
    pub bias: Array1<f64>,
}

impl Head {
    /// The logits [N, C] of what the head sees, [N, D], in f64.
    #[must_use]
    pub fn logits<R: RowSource>(&self, head_features: R) -> Array2<f64> {
        let mut logits = Array2::zeros((head_features.nrows(), self.bias.len()));
        let panels = head_features.panels().into_iter();
        for (rows, mut out) in panels.zip(logits.axis_chunks_iter_mut(Axis(0), PANEL_ROWS)) {
            out.assign(&(head_features.panel(rows).dot(&self.weight.t()) + &self.bias));
        }
        logits
    }
}

/// Everything a network says about one split of one data set.
///
/// The fields are plain values; [`FeatureSet::check`] tells whether they fit together, and
/// [`read`](crate::read) and [`FeatureSet::write`] call it.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSet {
    /// Raw features z (before any normalisation), [N, D], in f32 where they came in f32 or less; [N, 0] where logits
    /// alone are known.
    pub features: Matrix,
    /// Logits, [N, C].
    pub logits: Option<Array2<f64>>,
    /// Class of each row, `[N]`; may be absent for out-of-distribution sets, whose labels may also
    /// lie outside the classes of the network.
    pub labels: Option<Vec<usize>>,
    /// The last linear layer.
    pub head: Option<Head>,
    /// Free text by key: `l2`, `dataset`, `split`, `net`, `epoch`, `seed`.
    pub metadata: BTreeMap<String, String>,
}

impl FeatureSet {
    /// A set of bare features [N, D], an array of f32 or of f64.
    #[must_use]
    pub fn new(features: impl Into<Matrix>) -> Self {
        Self {
            features: features.into(),
            logits: None,
            labels: None,
            head: None,
            metadata: BTreeMap::new(),
        }
    }

    /// Adds logits [N, C].
    #[must_use]
    pub fn with_logits(mut self, logits: Array2<f64>) -> Self {
        self.logits = Some(logits);
        self
    }

    /// Adds labels `[N]`.
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<usize>) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Adds the last linear layer.
    #[must_use]
    pub fn with_head(mut self, weight: Array2<f64>, bias: Array1<f64>) -> Self {
        self.head = Some(Head { weight, bias });
        self
    }

    /// Adds one metadata entry.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Says whether the head saw L2-normalised features.
    #[must_use]
    pub fn with_l2(self, l2: bool) -> Self {
        self.with_metadata("l2", l2)
    }

    /// Number of rows N.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.features.nrows()
    }

    /// Number of feature dimensions D.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.features.ncols()
    }

    /// Number of classes C of the network, when logits or head tell.
    #[must_use]
    pub fn n_classes(&self) -> Option<usize> {
        let from_head = self.head.as_ref().map(|head| head.weight.nrows());
        from_head.or_else(|| self.logits.as_ref().map(Array2::ncols))
    }

    /// Whether the head saw L2-normalised features; `false` when the metadata says nothing.
    #[must_use]
    pub fn l2(&self) -> bool {
        self.metadata
            .get("l2")
            .and_then(|value| parse_bool(value))
            .unwrap_or(false)
    }

    /// ẑ = z / max(‖z‖₂, 1e-12), [N, D], computed as it is read.
    #[must_use]
    pub fn normalized_features(&self) -> RowsView<'_> {
        self.features.view().normalized()
    }

    /// What the head sees: ẑ when [`l2`](Self::l2), else z; [N, D].
    #[must_use]
    pub fn head_features(&self) -> RowsView<'_> {
        match self.l2() {
            true => self.normalized_features(),
            false => self.features.view(),
        }
    }

    /// The logits [N, C]: those of the file, or the head applied to
    /// [`head_features`](Self::head_features).
    ///
    /// # Errors
    /// [`Error::MissingTensor`] when there are neither logits nor a head.
    pub fn logits(&self) -> Result<Cow<'_, Array2<f64>>> {
        match (&self.logits, &self.head) {
            (Some(logits), _) => Ok(Cow::Borrowed(logits)),
            (None, Some(head)) => Ok(Cow::Owned(head.logits(self.head_features()))),
            (None, None) => Err(Error::MissingTensor {
                file: self.name(),
                tensor: "logits",
                present: self.present(),
                remedy: "Export `logits` [N, C], or `head.weight` [C, D] and `head.bias` [C], from which they follow.",
            }),
        }
    }

    /// The labels, each below `n_classes`.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] without labels, [`Error::LabelOutOfRange`] naming the row.
    pub fn labels_below(&self, n_classes: usize) -> Result<&[usize]> {
        let labels = self.labels.as_deref().ok_or_else(|| Error::MissingTensor {
            file: self.name(),
            tensor: "labels",
            present: self.present(),
            remedy: "Export `labels` [N] as integers that count from 0.",
        })?;
        match labels.iter().position(|&label| label >= n_classes) {
            None => Ok(labels),
            Some(row) => Err(Error::LabelOutOfRange {
                file: self.name(),
                row,
                label: labels[row],
                n_classes,
            }),
        }
    }

    /// Checks that the tensors fit together and hold only finite numbers. `name` stands for the
    /// set in messages.
    ///
    /// # Errors
    /// [`Error::WrongShape`], [`Error::NotFinite`] or [`Error::Metadata`].
    pub fn check(&self, name: &str) -> Result<()> {
        let (n, d) = self.features.dim();
        let shape = |tensor: &str, found: &[usize], expected: String| Error::WrongShape {
            file: name.to_owned(),
            tensor: tensor.to_owned(),
            found: found.to_vec(),
            expected,
        };
        if n == 0 || (d == 0 && self.logits.is_none()) {
            return Err(shape(
                "features",
                &[n, d],
                "at least one row and one column".to_owned(),
            ));
        }
        if let Some(logits) = &self.logits
            && (logits.nrows() != n || logits.ncols() == 0)
        {
            return Err(shape(
                "logits",
                logits.shape(),
                format!("[{n}, C], one row for each row of `features`"),
            ));
        }
        if let Some(labels) = &self.labels
            && labels.len() != n
        {
            return Err(shape(
                "labels",
                &[labels.len()],
                format!("[{n}], one for each row of `features`"),
            ));
        }
        if let Some(head) = &self.head {
            let (c, width) = head.weight.dim();
            if width != d || c == 0 {
                return Err(shape(
                    "head.weight",
                    &[c, width],
                    format!("[C, {d}] to fit `features` [{n}, {d}]"),
                ));
            }
            if head.bias.len() != c {
                return Err(shape(
                    "head.bias",
                    &[head.bias.len()],
                    format!("[{c}] to fit `head.weight` [{c}, {d}]"),
                ));
            }
            if let Some(logits) = &self.logits
                && logits.ncols() != c
            {
                return Err(shape(
                    "logits",
                    logits.shape(),
                    format!("[{n}, {c}] to fit `head.weight` [{c}, {d}]"),
                ));
            }
            finite(name, "head.weight", head.weight.view())?;
            finite(name, "head.bias", head.bias.view().insert_axis(Axis(0)))?;
        }
        match &self.features {
            Matrix::Single(values) => finite(name, "features", values.view())?,
            Matrix::Double(values) => finite(name, "features", values.view())?,
        }
        if let Some(logits) = &self.logits {
            finite(name, "logits", logits.view())?;
        }
        match self.metadata.get("l2") {
            Some(value) if parse_bool(value).is_none() => Err(Error::Metadata {
                file: name.to_owned(),
                key: "l2".to_owned(),
                value: value.clone(),
                expected: "true or false",
            }),
            _ => Ok(()),
        }
    }

    /// What messages call this set: its path when it was read, else data set and split.
    pub(crate) fn name(&self) -> String {
        let part = |key: &str| self.metadata.get(key).map(String::as_str);
        match (part("dataset"), part("split")) {
            (Some(dataset), Some(split)) => format!("{dataset} {split}"),
            (Some(dataset), None) => dataset.to_owned(),
            _ => "feature set".to_owned(),
        }
    }

    fn present(&self) -> String {
        let mut names = vec!["features"];
        names.extend(self.logits.as_ref().map(|_| "logits"));
        names.extend(self.labels.as_ref().map(|_| "labels"));
        names.extend(self.head.as_ref().map(|_| "head.weight, head.bias"));
        names.join(", ")
    }
}

/// Checks that sets agree in feature dimension and in the number of classes, as train, test and
/// out-of-distribution files of one network must.
///
/// # Errors
/// [`Error::Disagree`] naming the two sets and both numbers.
///
/// ```
/// use collapse_features::{FeatureSet, check_agreement};
/// use ndarray::Array2;
///
/// let train = FeatureSet::new(Array2::<f32>::ones((4, 3)));
/// let test = FeatureSet::new(Array2::<f32>::ones((2, 5)));
/// let error = check_agreement(&[("train", &train), ("test", &test)]).unwrap_err();
/// assert!(error.to_string().starts_with("train and test disagree: the feature dimension is 3 and 5"));
/// ```
pub fn check_agreement(sets: &[(&str, &FeatureSet)]) -> Result<()> {
    let disagree = |first: &str, second: &str, what, left, right| Error::Disagree {
        first: first.to_owned(),
        second: second.to_owned(),
        what,
        left,
        right,
    };
    if let Some(((first, reference), others)) = sets.split_first() {
        let d = reference.n_features();
        if let Some((name, set)) = others.iter().find(|(_, set)| set.n_features() != d) {
            return Err(disagree(
                first,
                name,
                "the feature dimension",
                d,
                set.n_features(),
            ));
        }
    }
    let mut known = sets
        .iter()
        .filter_map(|(name, set)| set.n_classes().map(|c| (*name, c)));
    if let Some((first, c)) = known.next()
        && let Some((name, other)) = known.find(|&(_, other)| other != c)
    {
        return Err(disagree(first, name, "the number of classes", c, other));
    }
    Ok(())
}

fn finite<F: NdFloat + Into<f64>>(file: &str, tensor: &str, values: ArrayView2<F>) -> Result<()> {
    if check_finite("values", values).is_ok() {
        return Ok(());
    }
    let mut values = values.indexed_iter().map(|(at, &value)| (at, value.into()));
    match values.find(|(_, value): &(_, f64)| !value.is_finite()) {
        None => Ok(()),
        Some(((row, column), value)) => Err(Error::NotFinite {
            file: file.to_owned(),
            tensor: tensor.to_owned(),
            row,
            column,
            value,
        }),
    }
}

pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}
