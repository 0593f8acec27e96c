use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use ndarray::{ArrayView2, Axis};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
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

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Writes one value; `false` when a finite value would become infinite.
    pub(crate) fn put(self, value: f64, out: &mut impl Write) -> std::io::Result<bool> {
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
pub(crate) fn header(
    metadata: &BTreeMap<String, String>,
    labels: Option<usize>,
    tensors: &[(&'static str, Vec<usize>)],
    precision: Precision,
) -> std::io::Result<Vec<u8>> {
    let mut header: BTreeMap<&str, HeaderValue> = BTreeMap::new();
    if !metadata.is_empty() {
        header.insert("__metadata__", HeaderValue::Metadata(metadata));
    }
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

/// A temporary file beside `path`, which must end in `.safetensors`.
pub(crate) fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    if path
        .extension()
        .is_none_or(|ending| ending != "safetensors")
    {
        return Err(Error::UnknownFormat {
            path: path.to_owned(),
        });
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".features-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The process's umask takes its share, as for any file created directly.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder_of(path))
        .map_err(|source| unwritten(path, source))
}

/// Flushes to the disk and renames, so that a reader meets the old file or the whole new one.
pub(crate) fn put_in_place(temporary: NamedTempFile, path: &Path) -> Result<()> {
    let io = |source| unwritten(path, source);
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|error| io(error.error))?;
    // The rename itself is durable only once the folder is; not every system can open one.
    if let Ok(folder) = File::open(folder_of(path)) {
        folder.sync_all().ok();
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

pub(crate) fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        verb: "written",
        source,
    }
}

impl FeatureSet {
    /// Writes a `.safetensors` file: first beside its place, flushed to the disk, then renamed, so
    /// that a reader meets the old file or the whole new one. Equal sets give equal bytes.
    ///
    /// # Errors
    /// Those of [`check`](FeatureSet::check); [`Error::UnknownFormat`] for another file ending;
    /// [`Error::NotRepresentable`] when a value overflows `precision`; [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>, precision: Precision) -> Result<()> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let mut temporary = temporary_beside(path)?;
        self.check(&file)?;
        let mut out = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
        self.write_to(&mut out, precision, &file)
            .and_then(|()| Ok(out.flush()?))
            .map_err(|error| match error {
                WriteError::Io(source) => unwritten(path, source),
                WriteError::Value(error) => *error,
            })?;
        drop(out);
        put_in_place(temporary, path)
    }

    fn write_to(
        &self,
        out: &mut impl Write,
        precision: Precision,
        file: &str,
    ) -> Result<(), WriteError> {
        let mut tensors: Vec<(&'static str, ArrayView2<f64>, bool)> =
            vec![("features", self.features.view(), false)];
        if let Some(logits) = &self.logits {
            tensors.push(("logits", logits.view(), false));
        }
        if let Some(head) = &self.head {
            tensors.push(("head.weight", head.weight.view(), false));
            tensors.push(("head.bias", head.bias.view().insert_axis(Axis(0)), true));
        }

        let shapes: Vec<(&'static str, Vec<usize>)> = tensors
            .iter()
            .map(|(name, values, is_vector)| {
                let shape = match is_vector {
                    true => vec![values.ncols()],
                    false => values.shape().to_vec(),
                };
                (*name, shape)
            })
            .collect();
        let labels = self.labels.as_ref().map(Vec::len);
        out.write_all(&header(&self.metadata, labels, &shapes, precision)?)?;
        for &label in self.labels.iter().flatten() {
            out.write_all(&(label as i64).to_le_bytes())?;
        }
        for (name, values, _) in tensors {
            for ((row, column), &value) in values.indexed_iter() {
                if !precision.put(value, out)? {
                    return Err(WriteError::Value(Box::new(Error::NotRepresentable {
                        file: file.to_owned(),
                        tensor: name.to_owned(),
                        row,
                        column,
                        value,
                        precision: precision.name(),
                    })));
                }
            }
        }
        Ok(())
    }
}

enum WriteError {
    Io(std::io::Error),
    Value(Box<Error>),
}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}
