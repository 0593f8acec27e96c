//! Feature files larger than memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Axis;

use crate::error::{Error, Result};
use crate::set::Head;
use crate::write::{Precision, Writing};

/// What a [`FeatureWriter`] has to know before the first row.
#[derive(Debug, Clone, Copy)]
pub struct Outline<'a> {
    /// Rows N.
    pub rows: usize,
    /// Length D of a feature.
    pub dim: usize,
    /// Labels `[N]`, where there are any.
    pub labels: Option<&'a [usize]>,
    /// The last linear layer, [C, D] and `[C]`.
    pub head: &'a Head,
    /// Text in the header, e.g. `l2` and `dataset`.
    pub metadata: &'a BTreeMap<String, String>,
}

/// Writes a feature file row by row, so that a set of any size needs the memory of its logits only.
///
/// The file is the one that [`FeatureSet::write`](crate::FeatureSet::write) makes of the same
/// values, to the byte, and stands in its place when [`finish`](Self::finish) returns.
#[derive(Debug)]
pub struct FeatureWriter {
    file: Writing,
    rows: usize,
    dim: usize,
    classes: usize,
    written: usize,
    logits: Vec<f64>,
    head: Head,
}

impl FeatureWriter {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] unless it ends in `.safetensors`; [`Error::WrongShape`] when labels or
    /// head do not fit; [`Error::Unwritable`], [`Error::Io`].
    pub fn create(
        path: impl Into<PathBuf>,
        outline: &Outline<'_>,
        precision: Precision,
    ) -> Result<Self> {
        let path = path.into();
        let Outline {
            rows,
            dim,
            labels,
            head,
            metadata,
        } = *outline;
        let classes = head.bias.len();
        fits(&path, "labels", labels.map_or(rows, <[usize]>::len), rows)?;
        fits(&path, "head.weight", head.weight.nrows(), classes)?;
        fits(&path, "head.weight", head.weight.ncols(), dim)?;
        let shapes = [
            ("features", vec![rows, dim]),
            ("logits", vec![rows, classes]),
            ("head.weight", vec![classes, dim]),
            ("head.bias", vec![classes]),
        ];
        Ok(Self {
            file: Writing::begin(&path, metadata, labels, &shapes, precision)?,
            rows,
            dim,
            classes,
            written: 0,
            logits: Vec::with_capacity(rows * classes),
            head: head.clone(),
        })
    }

    /// Appends rows: `features` [n, D] and `logits` [n, C], row-major.
    ///
    /// # Errors
    /// [`Error::WrongShape`] when they are no whole rows or more than announced;
    /// [`Error::NotFinite`], [`Error::NotRepresentable`] when a value overflows the precision;
    /// [`Error::Io`].
    pub fn append(&mut self, features: &[f32], logits: &[f32]) -> Result<()> {
        let n = features.len() / self.dim.max(1);
        fits(self.file.path(), "features", features.len(), n * self.dim)?;
        fits(self.file.path(), "logits", logits.len(), n * self.classes)?;
        if self.written + n > self.rows {
            fits(self.file.path(), "features", self.written + n, self.rows)?;
        }
        let (first, dim) = (self.written, self.dim);
        for (i, &value) in features.iter().enumerate() {
            self.file
                .put("features", (first + i / dim, i % dim), f64::from(value))?;
        }
        self.logits.extend(logits.iter().map(|&x| f64::from(x)));
        self.written += n;
        Ok(())
    }

    /// Writes logits and head and puts the file in its place.
    ///
    /// # Errors
    /// [`Error::WrongShape`] when rows are missing; those of [`append`](Self::append).
    pub fn finish(mut self) -> Result<()> {
        fits(self.file.path(), "features", self.written, self.rows)?;
        let classes = self.classes.max(1);
        for (i, value) in std::mem::take(&mut self.logits).into_iter().enumerate() {
            self.file.put("logits", (i / classes, i % classes), value)?;
        }
        self.file.put_all("head.weight", self.head.weight.view())?;
        let bias = self.head.bias.view().insert_axis(Axis(0));
        self.file.put_all("head.bias", bias)?;
        self.file.finish()
    }
}

fn fits(path: &Path, tensor: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::WrongShape {
        file: path.display().to_string(),
        tensor: tensor.to_owned(),
        found: vec![found],
        expected: format!("{expected}, as announced before the first row"),
    })
}
