use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ndarray::{Array1, Array2, ShapeBuilder};

use crate::error::{Error, Result};
use crate::number::{Number, Stream};
use crate::set::{FeatureSet, Head};
use crate::{numpy, tensors};

/// Reads a feature file: `.safetensors`, `.npz` (arrays of the same names, `head_weight` and
/// `head_bias` allowed for the head, optional boolean `l2`), a folder with one `.npy` file for every
/// such name, or one `.npy` file (features alone).
///
/// Floating tensors may be f16, bf16, f32 or f64 and become f64; labels may have any integer
/// type. Labels that are all −1, as some exporters mark out-of-distribution sets, count as absent.
///
/// # Errors
/// Names the file, the tensor, the offending value and the remedy: unreadable or truncated files,
/// missing tensors, wrong types and shapes, NaN or infinite values, negative labels.
pub fn read(path: impl AsRef<Path>) -> Result<FeatureSet> {
    let path = path.as_ref();
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .map(str::to_ascii_lowercase);
    if path.is_dir() {
        return numpy::load_folder(path)?.into_set(&path.display().to_string());
    }
    let tensors = match ending.as_deref() {
        Some("safetensors") => tensors::load(path)?,
        Some("npz") => numpy::load_archive(path)?,
        Some("npy") => numpy::load_array(path)?,
        _ => {
            return Err(Error::UnknownFormat {
                path: path.to_owned(),
            });
        }
    };
    tensors.into_set(&path.display().to_string())
}

pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let error = |source| Error::Io {
        path: path.to_owned(),
        verb: "read",
        source,
    };
    let file = File::open(path).map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    Ok((file, length))
}

/// Where a tensor goes in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Features,
    Logits,
    Labels,
    HeadWeight,
    HeadBias,
}

impl Role {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "features" => Some(Self::Features),
            "logits" => Some(Self::Logits),
            "labels" => Some(Self::Labels),
            "head.weight" | "head_weight" => Some(Self::HeadWeight),
            "head.bias" | "head_bias" => Some(Self::HeadBias),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Logits => "logits",
            Self::Labels => "labels",
            Self::HeadWeight => "head.weight",
            Self::HeadBias => "head.bias",
        }
    }

    fn dimensions(self) -> (usize, &'static str) {
        match self {
            Self::Features => (2, "[N, D]"),
            Self::Logits => (2, "[N, C]"),
            Self::Labels => (1, "[N]"),
            Self::HeadWeight => (2, "[C, D]"),
            Self::HeadBias => (1, "[C]"),
        }
    }
}

enum Values {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

struct Tensor {
    shape: Vec<usize>,
    column_major: bool,
    values: Values,
}

/// The tensors of a file that have a role, before they are fitted together.
#[derive(Default)]
pub(crate) struct Tensors {
    by_role: BTreeMap<Role, Tensor>,
    /// Every name in the file, for messages.
    pub(crate) names: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// How a tensor lies in its file.
pub(crate) struct Layout {
    pub(crate) shape: Vec<usize>,
    pub(crate) number: Number,
    pub(crate) column_major: bool,
    pub(crate) big_endian: bool,
}

impl Tensors {
    /// Checks type and number of dimensions, then reads the numbers.
    pub(crate) fn take(
        &mut self,
        path: &Path,
        role: Role,
        layout: Layout,
        reader: &mut dyn Read,
    ) -> Result<()> {
        let file = || path.display().to_string();
        let (dimensions, expected) = role.dimensions();
        if layout.shape.len() != dimensions {
            return Err(Error::WrongShape {
                file: file(),
                tensor: role.name().to_owned(),
                found: layout.shape,
                expected: expected.to_owned(),
            });
        }
        if (role == Role::Labels) == layout.number.is_float() {
            return Err(Error::WrongType {
                file: file(),
                tensor: role.name().to_owned(),
                found: format!("{:?}", layout.number).to_lowercase(),
                expected: if role == Role::Labels {
                    "an integer type"
                } else {
                    "f16, bf16, f32 or f64"
                },
            });
        }
        let count = layout
            .shape
            .iter()
            .try_fold(1usize, |a, &b| a.checked_mul(b))
            .unwrap_or(usize::MAX);
        let stream = Stream {
            reader,
            number: layout.number,
            count,
            big_endian: layout.big_endian,
        };
        let values = match role {
            Role::Labels => stream.integers().map(Values::Integers),
            _ => stream.floats().map(Values::Floats),
        };
        let values = values.map_err(|source| Error::Io {
            path: path.to_owned(),
            verb: "read",
            source,
        })?;
        self.by_role.insert(
            role,
            Tensor {
                shape: layout.shape,
                column_major: layout.column_major,
                values,
            },
        );
        Ok(())
    }

    fn into_set(mut self, file: &str) -> Result<FeatureSet> {
        let names = self.names.join(", ");
        let missing = |tensor, remedy| Error::MissingTensor {
            file: file.to_owned(),
            tensor,
            present: if names.is_empty() {
                "no tensors".to_owned()
            } else {
                names.clone()
            },
            remedy,
        };
        let features = self.matrix(Role::Features).ok_or_else(|| {
            missing(
                "features",
                "Export the input of the last linear layer as `features` [N, D].",
            )
        })?;
        let head = match (self.matrix(Role::HeadWeight), self.vector(Role::HeadBias)) {
            (Some(weight), Some(bias)) => Some(Head { weight, bias }),
            // A head without bias is a linear layer all the same.
            (Some(weight), None) => Some(Head {
                bias: Array1::zeros(weight.nrows()),
                weight,
            }),
            (None, Some(_)) => {
                return Err(missing(
                    "head.weight",
                    "Export it beside `head.bias`, or leave both out.",
                ));
            }
            (None, None) => None,
        };
        let set = FeatureSet {
            features,
            logits: self.matrix(Role::Logits),
            labels: self.labels(file)?,
            head,
            metadata: self.metadata,
        };
        set.check(file)?;
        Ok(set)
    }

    fn matrix(&mut self, role: Role) -> Option<Array2<f64>> {
        let tensor = self.by_role.remove(&role)?;
        let shape = (tensor.shape[0], tensor.shape[1]);
        let Values::Floats(values) = tensor.values else {
            return None;
        };
        if tensor.column_major {
            let columns = Array2::from_shape_vec(shape.f(), values).ok()?;
            return Some(columns.as_standard_layout().into_owned());
        }
        Array2::from_shape_vec(shape, values).ok()
    }

    fn vector(&mut self, role: Role) -> Option<Array1<f64>> {
        match self.by_role.remove(&role)?.values {
            Values::Floats(values) => Some(Array1::from_vec(values)),
            Values::Integers(_) => None,
        }
    }

    fn labels(&mut self, file: &str) -> Result<Option<Vec<usize>>> {
        let Some(Tensor {
            values: Values::Integers(values),
            ..
        }) = self.by_role.remove(&Role::Labels)
        else {
            return Ok(None);
        };
        if !values.is_empty() && values.iter().all(|&label| label == -1) {
            return Ok(None);
        }
        let to_class = |(row, label): (usize, i128)| {
            usize::try_from(label).map_err(|_| Error::NotAClass {
                file: file.to_owned(),
                row,
                label,
            })
        };
        values
            .into_iter()
            .enumerate()
            .map(to_class)
            .collect::<Result<_>>()
            .map(Some)
    }
}
