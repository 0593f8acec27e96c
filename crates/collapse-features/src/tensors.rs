//! The tensors of a file that have a meaning, and how they become a set.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use collapse_numeric::Matrix;
use ndarray::{Array1, Array2, ShapeBuilder};

use crate::error::{Error, Result};
use crate::file::Reading;
use crate::number::{Integers, Number, Stream};
use crate::set::{FeatureSet, Head, parse_bool};

/// Name of the flag that says whether the head saw normalised features: metadata or a tensor.
pub(crate) const FLAG: &str = "l2";

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

    /// The shape without dimensions of one element beyond those that the role has: hooks give `[N, D, 1, 1]`.
    fn squeeze(self, shape: &[usize]) -> Option<Vec<usize>> {
        let (dimensions, _) = self.dimensions();
        if shape.len() < dimensions {
            return None;
        }
        let (kept, rest) = shape.split_at(dimensions - 1);
        let mut long = rest.iter().copied().filter(|&size| size != 1);
        let last = long.next().unwrap_or(1);
        let squeezed = long.next().is_none();
        squeezed.then(|| [kept, &[last]].concat())
    }
}

enum Values {
    Singles(Vec<f32>),
    Floats(Vec<f64>),
    Integers(Integers),
}

struct Tensor {
    shape: Vec<usize>,
    column_major: bool,
    values: Values,
}

/// The tensors of a file that have a role, before they are fitted together.
pub(crate) struct Tensors {
    by_role: BTreeMap<Role, Tensor>,
    /// Every name in the file, for messages.
    pub(crate) names: Vec<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    reading: Reading,
    /// Bytes of memory that the tensors so far have taken.
    taken: u64,
}

/// How a tensor lies in its file.
pub(crate) struct Layout {
    pub(crate) shape: Vec<usize>,
    pub(crate) number: Number,
    pub(crate) column_major: bool,
    pub(crate) big_endian: bool,
}

impl Layout {
    /// Bytes in the file; `None` beyond any address.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let bytes = |product: usize, &size: &usize| product.checked_mul(size);
        let count = self.shape.iter().try_fold(self.number.bytes(), bytes)?;
        u64::try_from(count).ok()
    }

    fn count(&self) -> Option<usize> {
        let count = |product: usize, &size: &usize| product.checked_mul(size);
        self.shape.iter().try_fold(1, count)
    }
}

impl Tensors {
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            by_role: BTreeMap::new(),
            names: Vec::new(),
            metadata: BTreeMap::new(),
            reading,
            taken: 0,
        }
    }

    /// Whether labels are left in the file, whatever they are.
    pub(crate) fn leaves_labels(&self) -> bool {
        self.reading.unlabelled
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.by_role.contains_key(&role)
    }

    /// Checks type, dimensions and size, then reads the numbers.
    pub(crate) fn take(
        &mut self,
        path: &Path,
        role: Role,
        layout: Layout,
        reader: &mut dyn Read,
    ) -> Result<()> {
        if role == Role::Labels && self.leaves_labels() {
            return Ok(());
        }
        let file = || path.display().to_string();
        let (_, expected) = role.dimensions();
        let Some(shape) = role.squeeze(&layout.shape) else {
            let remedy = match role {
                Role::Features if layout.shape.len() > 2 => {
                    "; take the mean over the maps, or flatten them, before saving"
                }
                _ => "",
            };
            return Err(Error::WrongShape {
                file: file(),
                tensor: role.name().to_owned(),
                found: layout.shape,
                expected: format!("{expected}{remedy}"),
            });
        };
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
        if self.reading.logits_alone {
            match role {
                // Their number of rows is all that is kept of them.
                Role::Features => {
                    let rows = Tensor {
                        shape: vec![shape[0], 0],
                        column_major: false,
                        values: Values::Singles(Vec::new()),
                    };
                    self.by_role.insert(role, rows);
                    return Ok(());
                }
                Role::HeadWeight | Role::HeadBias => return Ok(()),
                Role::Logits | Role::Labels => {}
            }
        }
        let count = layout.count().unwrap_or(usize::MAX);
        // Features are most of a file, so they alone are kept as narrow as they came.
        let single = role == Role::Features && layout.number.is_single();
        let width = if single { 4 } else { 8 };
        let bytes = (count as u64).saturating_mul(width);
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.reading.limits.set_bytes {
            return Err(Error::TooLarge {
                file: file(),
                tensor: role.name().to_owned(),
                bytes: self.taken,
                limit: self.reading.limits.set_bytes,
            });
        }
        let stream = Stream {
            reader,
            number: layout.number,
            count,
            big_endian: layout.big_endian,
        };
        let values = match role {
            Role::Labels => stream.integers().map(Values::Integers),
            _ if single => stream.singles().map(Values::Singles),
            _ => stream.floats().map(Values::Floats),
        };
        let tensor = Tensor {
            shape,
            column_major: layout.column_major,
            values: values.map_err(|source| Error::unread(path, source))?,
        };
        match self.by_role.insert(role, tensor) {
            None => Ok(()),
            Some(_) => Err(Error::Twice {
                file: file(),
                tensor: role.name(),
            }),
        }
    }

    /// Reads the flag `l2` from a tensor of one number.
    pub(crate) fn take_flag(
        &mut self,
        path: &Path,
        layout: &Layout,
        reader: &mut dyn Read,
    ) -> Result<()> {
        if layout.count() != Some(1) {
            return Err(Error::WrongShape {
                file: path.display().to_string(),
                tensor: FLAG.to_owned(),
                found: layout.shape.clone(),
                expected: "one value, true or false".to_owned(),
            });
        }
        let stream = Stream {
            reader,
            number: layout.number,
            count: 1,
            big_endian: layout.big_endian,
        };
        let value = stream
            .floats()
            .map_err(|source| Error::unread(path, source))?;
        self.set_flag(path, &value[0].to_string())
    }

    /// Takes the flag `l2` from text, which must not contradict what the file said before.
    pub(crate) fn set_flag(&mut self, path: &Path, text: &str) -> Result<()> {
        let unknown = |value: &str, expected| Error::Metadata {
            file: path.display().to_string(),
            key: FLAG.to_owned(),
            value: value.to_owned(),
            expected,
        };
        let flag = parse_bool(text).ok_or_else(|| unknown(text, "true or false"))?;
        let before = self.metadata.insert(FLAG.to_owned(), flag.to_string());
        match before {
            Some(before) if parse_bool(&before) != Some(flag) => Err(unknown(
                &before,
                "what the tensor l2 of the file says, or left out",
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn into_set(mut self, file: &str) -> Result<FeatureSet> {
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
        let features = self.features().ok_or_else(|| {
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

    fn features(&mut self) -> Option<Matrix> {
        let tensor = self.by_role.remove(&Role::Features)?;
        match tensor.values {
            Values::Singles(values) => {
                row_major(&tensor.shape, tensor.column_major, values).map(Matrix::from)
            }
            Values::Floats(values) => {
                row_major(&tensor.shape, tensor.column_major, values).map(Matrix::from)
            }
            Values::Integers(_) => None,
        }
    }

    fn matrix(&mut self, role: Role) -> Option<Array2<f64>> {
        let tensor = self.by_role.remove(&role)?;
        let Values::Floats(values) = tensor.values else {
            return None;
        };
        row_major(&tensor.shape, tensor.column_major, values)
    }

    fn vector(&mut self, role: Role) -> Option<Array1<f64>> {
        match self.by_role.remove(&role)?.values {
            Values::Floats(values) => Some(Array1::from_vec(values)),
            Values::Singles(_) | Values::Integers(_) => None,
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
        if values.len() > 0 && values.iter().all(|label| label == -1) {
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
            .iter()
            .enumerate()
            .map(to_class)
            .collect::<Result<_>>()
            .map(Some)
    }
}

/// The array of two dimensions with these values.
fn row_major<T: Clone>(shape: &[usize], column_major: bool, values: Vec<T>) -> Option<Array2<T>> {
    let shape = (shape[0], shape[1]);
    if column_major {
        let columns = Array2::from_shape_vec(shape.f(), values).ok()?;
        return Some(columns.as_standard_layout().into_owned());
    }
    Array2::from_shape_vec(shape, values).ok()
}
