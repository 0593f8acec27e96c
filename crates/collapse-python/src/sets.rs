//! Feature sets as Python gives them: an array, a mapping of arrays, or the path of a feature file.

use std::path::PathBuf;

use collapse_evaluate::Split;
use collapse_features::{FeatureSet, Head, RowsView, read, read_unlabelled};
use ndarray::{Array2, CowArray, Ix2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use crate::arrays::{Matrix, Vector, integers, to_labels};
use crate::errors::raise;

/// What a network says about one split.
pub enum Set<'py> {
    /// Arrays of Python.
    Arrays(Arrays<'py>),
    /// A feature file.
    File {
        /// Where it was read.
        path: PathBuf,
        /// What it holds.
        set: FeatureSet,
    },
}

/// Arrays of one split, in their own precision.
pub struct Arrays<'py> {
    features: Matrix<'py>,
    logits: Option<Matrix<'py>>,
    labels: Option<Vec<usize>>,
    head: Option<Head>,
    l2: Option<bool>,
}

/// What detectors read.
pub struct Scorable<'a> {
    /// Features, `[N, D]`, in their own precision.
    pub features: RowsView<'a>,
    /// Logits, `[N, C]`.
    pub logits: Option<CowArray<'a, f64, Ix2>>,
    /// The set's own head.
    pub head: Option<&'a Head>,
    /// Whether the head sees normalised features.
    pub l2: bool,
    /// What messages call the set.
    pub origin: String,
}

const KEYS: &str = "features, labels, logits, weight (or head.weight), bias (or head.bias), l2";

impl<'py> Set<'py> {
    /// The set in an object, called `what` in messages.
    pub fn new(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::given(what, object, true)
    }

    /// The same without its labels, which need not be classes of the network.
    pub fn unlabelled(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::given(what, object, false)
    }

    fn given(what: &str, object: &Bound<'py, PyAny>, labelled: bool) -> PyResult<Self> {
        if let Ok(path) = object.extract::<PathBuf>() {
            let read = || match labelled {
                true => read(&path),
                false => read_unlabelled(&path),
            };
            let set = object.py().detach(read).map_err(raise)?;
            return Ok(Self::File { path, set });
        }
        match object.cast::<PyMapping>() {
            Ok(mapping) => Ok(Self::Arrays(Arrays::new(what, mapping, labelled)?)),
            Err(_) => Ok(Self::Arrays(Arrays {
                features: Matrix::new(what, object)?,
                logits: None,
                labels: None,
                head: None,
                l2: None,
            })),
        }
    }

    /// The set with arrays of its own, for fitting and evaluation.
    pub fn into_split(self, name: &str) -> PyResult<Split> {
        let arrays = match self {
            Self::File { path, set } => {
                return Ok(Split::new(name, set).from_origin(path.display()));
            }
            Self::Arrays(arrays) => arrays,
        };
        let mut set = FeatureSet::new(arrays.features.rows().to_matrix());
        set.logits = arrays.logits.map(|logits| logits.to_f64().into_owned());
        set.labels = arrays.labels;
        set.head = arrays.head;
        if let Some(l2) = arrays.l2 {
            set = set.with_l2(l2);
        }
        set.check(name).map_err(raise)?;
        Ok(Split::new(name, set))
    }

    /// Whether the set says that its head sees normalised features.
    fn l2(&self) -> Option<bool> {
        match self {
            Self::Arrays(arrays) => arrays.l2,
            Self::File { set, .. } => set.metadata.contains_key("l2").then(|| set.l2()),
        }
    }

    /// What detectors read of the set; where it does not speak of normalisation, `l2` counts, and where it has neither logits
    /// nor a head, logits follow from `known`.
    pub fn scorable(&self, what: &str, l2: bool, known: Option<Head>) -> PyResult<Scorable<'_>> {
        let l2 = self.l2().unwrap_or(l2);
        let (features, logits, head, origin) = match self {
            Self::Arrays(arrays) => (
                arrays.features.rows(),
                arrays.logits.as_ref().map(Matrix::to_f64),
                &arrays.head,
                what.to_owned(),
            ),
            Self::File { path, set } => (
                set.features.view(),
                set.logits.as_ref().map(|logits| logits.view().into()),
                &set.head,
                path.display().to_string(),
            ),
        };
        let follow = |head: &Head| -> CowArray<'_, f64, Ix2> {
            let logits: Array2<f64> = match l2 {
                true => head.logits(features.normalized()),
                false => head.logits(features),
            };
            logits.into()
        };
        let logits = match (logits, head.as_ref(), known) {
            (None, Some(head), _) => {
                check_head(&origin, head, features.ncols())?;
                Some(follow(head))
            }
            // Features of another network are told by whoever knows the detectors.
            (None, None, Some(known)) if known.weight.ncols() == features.ncols() => {
                Some(follow(&known))
            }
            (logits, ..) => logits,
        };
        Ok(Scorable {
            features,
            logits,
            head: head.as_ref(),
            l2,
            origin,
        })
    }
}

/// Fails unless the head fits the features.
fn check_head(set: &str, head: &Head, n_features: usize) -> PyResult<()> {
    let (n_classes, width) = head.weight.dim();
    let wrong = |tensor: &str, found: &[usize], expected: String| {
        Err(raise(collapse_features::Error::WrongShape {
            file: set.to_owned(),
            tensor: tensor.to_owned(),
            found: found.to_vec(),
            expected,
        }))
    };
    if width != n_features {
        return wrong(
            "head.weight",
            head.weight.shape(),
            format!("[C, {n_features}] to fit `features` [N, {n_features}]"),
        );
    }
    if head.bias.len() != n_classes {
        return wrong(
            "head.bias",
            head.bias.shape(),
            format!("[{n_classes}] to fit `head.weight` [{n_classes}, {width}]"),
        );
    }
    Ok(())
}

impl<'py> Arrays<'py> {
    fn new(what: &str, mapping: &Bound<'py, PyMapping>, labelled: bool) -> PyResult<Self> {
        let (mut features, mut logits, mut labels, mut l2) = (None, None, None, None);
        let (mut weight, mut bias) = (None, None);
        for key in mapping.keys()? {
            let value = mapping.get_item(&key)?;
            let key: String = key.extract()?;
            let named = format!("{what} {key}");
            if value.is_none() {
                continue;
            }
            match key.as_str() {
                "features" => features = Some(Matrix::new(&named, &value)?),
                "logits" => logits = Some(Matrix::new(&named, &value)?),
                "labels" if !labelled => {}
                "labels" => labels = given_labels(what, &value)?,
                "weight" | "head.weight" | "head_weight" => {
                    weight = Some(Matrix::new(&named, &value)?.to_f64().into_owned());
                }
                "bias" | "head.bias" | "head_bias" => {
                    bias = Some(Vector::new(&named, &value)?.to_array());
                }
                "l2" => l2 = Some(flag(&named, &value)?),
                _ => {
                    return Err(PyValueError::new_err(format!(
                        "{what} has no role for {key:?}: a set holds {KEYS}"
                    )));
                }
            }
        }
        let missing =
            |key: &str| PyValueError::new_err(format!("{what} has no {key:?}: a set holds {KEYS}"));
        let head = match (weight, bias) {
            (Some(weight), Some(bias)) => Some(Head { weight, bias }),
            (None, None) => None,
            (Some(_), None) => return Err(missing("bias")),
            (None, Some(_)) => return Err(missing("weight")),
        };
        Ok(Self {
            features: features.ok_or_else(|| missing("features"))?,
            logits,
            labels,
            head,
            l2,
        })
    }
}

/// Labels that are all −1 mark a set without classes, as in a file.
fn given_labels(what: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<usize>>> {
    let integers = integers(&format!("{what} labels"), value)?;
    match integers.iter().all(|&label| label == -1) {
        true => Ok(None),
        false => to_labels(what, &integers).map(Some),
    }
}

/// A truth value: a boolean, a number, an array of one of them, or its name.
fn flag(what: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    match value.extract::<String>().as_deref() {
        Err(_) => value.is_truthy(),
        Ok("true" | "True") => Ok(true),
        Ok("false" | "False") => Ok(false),
        Ok(other) => Err(PyTypeError::new_err(format!(
            "{what} is {other:?}: give True or False"
        ))),
    }
}
