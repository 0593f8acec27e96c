use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use ndarray::{ArrayView2, Axis};
use serde::Serialize;

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

impl FeatureSet {
    /// Writes a `.safetensors` file: first beside its place, flushed to the disk, then renamed, so
    /// that a reader meets the old file or the whole new one. Equal sets give equal bytes.
    ///
    /// # Errors
    /// Those of [`check`](FeatureSet::check); [`Error::UnknownFormat`] for another file ending;
    /// [`Error::NotRepresentable`] when a value overflows `precision`; [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>, precision: Precision) -> Result<()> {
        let path = path.as_ref();
        if path
            .extension()
            .is_none_or(|ending| ending != "safetensors")
        {
            return Err(Error::UnknownFormat {
                path: path.to_owned(),
            });
        }
        let file = path.display().to_string();
        self.check(&file)?;

        let io = |source| Error::Io {
            path: path.to_owned(),
            verb: "written",
            source,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".features-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The process's umask takes its share, as for any file created directly.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut temporary = builder.tempfile_in(folder).map_err(io)?;
        {
            let mut out = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
            self.write_to(&mut out, precision, &file)
                .map_err(|error| match error {
                    WriteError::Io(source) => io(source),
                    WriteError::Value(error) => *error,
                })?;
            out.flush().map_err(io)?;
        }
        temporary.as_file().sync_all().map_err(io)?;
        temporary.persist(path).map_err(|error| io(error.error))?;
        // The rename itself is durable only once the folder is; not every system can open one.
        if let Ok(folder) = File::open(folder) {
            folder.sync_all().ok();
        }
        Ok(())
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

        let mut header: BTreeMap<&str, HeaderValue> = BTreeMap::new();
        if !self.metadata.is_empty() {
            header.insert("__metadata__", HeaderValue::Metadata(&self.metadata));
        }
        let mut offset = 0;
        // The widest type first keeps every tensor aligned to its element.
        if let Some(labels) = &self.labels {
            let end = offset + labels.len() * 8;
            let entry = Entry {
                dtype: "I64",
                shape: vec![labels.len()],
                data_offsets: [offset, end],
            };
            header.insert("labels", HeaderValue::Tensor(entry));
            offset = end;
        }
        for (name, values, is_vector) in &tensors {
            let end = offset + values.len() * precision.bytes();
            let shape = if *is_vector {
                vec![values.ncols()]
            } else {
                values.shape().to_vec()
            };
            let entry = Entry {
                dtype: precision.name(),
                shape,
                data_offsets: [offset, end],
            };
            header.insert(name, HeaderValue::Tensor(entry));
            offset = end;
        }
        let mut text = serde_json::to_vec(&header).map_err(std::io::Error::from)?;
        text.resize(text.len().next_multiple_of(8), b' ');

        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(&text)?;
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
