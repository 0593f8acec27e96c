//! Writing the safetensors container.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use collapse_files::SealedReplacement;
use collapse_numeric::RowSource;
use half::{bf16, f16};
use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::seal::with_blank_seal;
use crate::set::FeatureSet;

/// The floating point type in which features, logits and head are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// IEEE half precision: 11 significant bits, largest value 65,504.
    F16,
    /// bfloat16: 8 significant bits, the range of f32.
    Bf16,
    /// Single precision, what networks compute in.
    #[default]
    F32,
    /// Double precision, which stores every set exactly.
    F64,
}

impl Precision {
    /// The name of the type in safetensors headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Writes one value; `false` when a finite value would become infinite.
    fn put(self, value: f64, out: &mut impl Write) -> std::io::Result<bool> {
        match self {
            Self::F16 => {
                let stored = f16::from_f64(value);
                out.write_all(&stored.to_le_bytes())
                    .map(|()| stored.is_finite())
            }
            Self::Bf16 => {
                let stored = bf16::from_f64(value);
                out.write_all(&stored.to_le_bytes())
                    .map(|()| stored.is_finite())
            }
            Self::F32 => {
                let stored = value as f32;
                out.write_all(&stored.to_le_bytes())
                    .map(|()| stored.is_finite())
            }
            Self::F64 => out.write_all(&value.to_le_bytes()).map(|()| true),
        }
    }
}

#[derive(Serialize)]
struct Entry {
    dtype: &'static str,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

#[derive(Serialize)]
#[serde(untagged)]
enum HeaderValue<'a> {
    Metadata(&'a BTreeMap<String, String>),
    Tensor(Entry),
}

/// Everything before the values: labels stand first, since the widest type first keeps every
/// tensor aligned to its element; then `tensors`, by name and shape.
fn header(
    metadata: &BTreeMap<String, String>,
    labels: Option<usize>,
    tensors: &[(&'static str, Vec<usize>)],
    precision: Precision,
) -> std::io::Result<Vec<u8>> {
    let mut header: BTreeMap<&str, HeaderValue> = BTreeMap::new();
    header.insert("__metadata__", HeaderValue::Metadata(metadata));
    let mut offset = 0;
    let labels = labels.map(|n| ("labels", "I64", vec![n], 8));
    let values = tensors
        .iter()
        .map(|(name, shape)| (*name, precision.name(), shape.clone(), precision.bytes()));
    for (name, dtype, shape, bytes) in labels.into_iter().chain(values) {
        let end = offset + shape.iter().product::<usize>() * bytes;
        let entry = Entry {
            dtype,
            shape,
            data_offsets: [offset, end],
        };
        header.insert(name, HeaderValue::Tensor(entry));
        offset = end;
    }
    let mut text = serde_json::to_vec(&header).map_err(std::io::Error::from)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

/// A feature file on its way: the header stands, the values follow in its order.
#[derive(Debug)]
pub(crate) struct Writing {
    path: PathBuf,
    out: BufWriter<SealedReplacement>,
    precision: Precision,
}

impl Writing {
    /// Begins the file `path`, which must end in `.safetensors`, with its header and its labels.
    pub(crate) fn begin(
        path: &Path,
        metadata: &BTreeMap<String, String>,
        labels: Option<&[usize]>,
        tensors: &[(&'static str, Vec<usize>)],
        precision: Precision,
    ) -> Result<Self> {
        let ending = path.extension();
        if ending.is_none_or(|ending| ending != "safetensors") {
            return Err(Error::UnknownFormat {
                path: path.to_owned(),
            });
        }
        let unwritten = |source| Error::unwritten(path, source);
        let metadata = with_blank_seal(metadata);
        let start = header(&metadata, labels.map(<[usize]>::len), tensors, precision);
        let start = start.map_err(unwritten)?;
        let mut out = BufWriter::with_capacity(1 << 16, SealedReplacement::begin(path)?);
        out.write_all(&start).map_err(unwritten)?;
        for &label in labels.unwrap_or_default() {
            out.write_all(&(label as i64).to_le_bytes())
                .map_err(unwritten)?;
        }
        Ok(Self {
            path: path.to_owned(),
            out,
            precision,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the value at [`row`, `column`] of `tensor`.
    pub(crate) fn put(
        &mut self,
        tensor: &str,
        (row, column): (usize, usize),
        value: f64,
    ) -> Result<()> {
        match self.precision.put(value, &mut self.out) {
            Ok(true) if value.is_finite() => Ok(()),
            Ok(_) if !value.is_finite() => Err(Error::NotFinite {
                file: self.path.display().to_string(),
                tensor: tensor.to_owned(),
                row,
                column,
                value,
            }),
            Ok(_) => Err(Error::NotRepresentable {
                file: self.path.display().to_string(),
                tensor: tensor.to_owned(),
                row,
                column,
                value,
                precision: self.precision.name(),
            }),
            Err(source) => Err(Error::unwritten(&self.path, source)),
        }
    }

    /// Appends all values of `tensor`, row by row.
    pub(crate) fn put_all(&mut self, tensor: &str, values: ArrayView2<f64>) -> Result<()> {
        for (at, &value) in values.indexed_iter() {
            self.put(tensor, at, value)?;
        }
        Ok(())
    }

    /// Seals the file and puts it in its place.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { path, out, .. } = self;
        let sealed = out.into_inner();
        let sealed = sealed.map_err(|error| Error::unwritten(&path, error.into_error()))?;
        Ok(sealed.finish()?)
    }
}

impl FeatureSet {
    /// Writes a `.safetensors` file: first beside its place, flushed to the disk, then renamed, so
    /// that a reader meets the old file or the whole new one; its seal tells later damage. Equal sets give equal bytes.
    ///
    /// # Errors
    /// Those of [`check`](FeatureSet::check); [`Error::UnknownFormat`] for another file ending;
    /// [`Error::NotRepresentable`] when a value overflows `precision`; [`Error::Unwritable`], [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>, precision: Precision) -> Result<()> {
        let path = path.as_ref();
        self.check(&path.display().to_string())?;
        let mut tensors = vec![("features", vec![self.n_samples(), self.n_features()])];
        if let Some(logits) = &self.logits {
            tensors.push(("logits", logits.shape().to_vec()));
        }
        if let Some(head) = &self.head {
            tensors.push(("head.weight", head.weight.shape().to_vec()));
            tensors.push(("head.bias", head.bias.shape().to_vec()));
        }
        let labels = self.labels.as_deref();
        let mut file = Writing::begin(path, &self.metadata, labels, &tensors, precision)?;
        let mut values = vec![0.0; self.n_features()];
        for row in 0..self.n_samples() {
            self.features.view().read(row, &mut values);
            for (column, &value) in values.iter().enumerate() {
                file.put("features", (row, column), value)?;
            }
        }
        if let Some(logits) = &self.logits {
            file.put_all("logits", logits.view())?;
        }
        if let Some(head) = &self.head {
            file.put_all("head.weight", head.weight.view())?;
            file.put_all("head.bias", head.bias.view().insert_axis(Axis(0)))?;
        }
        file.finish()
    }
}
