//! Arrays of Python as views, without a copy where type and layout allow.

use std::borrow::Cow;

use collapse_features::RowsView;
use ndarray::{Array1, ArrayView2, CowArray, Ix2};
use numpy::{
    PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// A matrix of floating-point numbers, `[rows, columns]`.
pub enum Matrix<'py> {
    /// Double precision.
    F64(PyReadonlyArray2<'py, f64>),
    /// Single precision.
    F32(PyReadonlyArray2<'py, f32>),
}

/// Evaluates an expression on the view of a [`Matrix`], whatever its precision.
macro_rules! on_view {
    ($matrix:expr, |$view:ident| $body:expr) => {
        match &$matrix {
            $crate::arrays::Matrix::F64(array) => {
                let $view = array.as_array();
                $body
            }
            $crate::arrays::Matrix::F32(array) => {
                let $view = array.as_array();
                $body
            }
        }
    };
}
pub(crate) use on_view;

impl<'py> Matrix<'py> {
    /// The matrix in an array, tensor or nested list, called `what` in messages; other numbers become f64.
    pub fn new(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = numbers(what, object, b"fiu", "floating-point numbers")?;
        check_dimensions(what, &array, 2)?;
        if let Ok(array) = array.cast::<PyArray2<f32>>() {
            return Ok(Self::F32(array.try_readonly()?));
        }
        let array = as_type(&array, "float64")?;
        Ok(Self::F64(array.cast::<PyArray2<f64>>()?.try_readonly()?))
    }

    /// The rows in their own precision, to be read in f64 without a copy.
    pub fn rows(&self) -> RowsView<'_> {
        on_view!(*self, |view| view.into())
    }

    /// The numbers in f64, row after row: a view of an f64 array in C order, else a copy.
    pub fn to_f64(&self) -> CowArray<'_, f64, Ix2> {
        match self {
            Self::F64(array) => in_rows(array.as_array()),
            Self::F32(array) => array.as_array().mapv(f64::from).into(),
        }
    }
}

/// The layout that files have, so that sums run in the same order.
fn in_rows(view: ArrayView2<'_, f64>) -> CowArray<'_, f64, Ix2> {
    match view.is_standard_layout() {
        true => view.into(),
        false => view.as_standard_layout().into_owned().into(),
    }
}

/// A vector of floating-point numbers.
pub struct Vector<'py>(PyReadonlyArray1<'py, f64>);

impl<'py> Vector<'py> {
    /// The vector in an array, tensor or list, called `what` in messages; other numbers become f64.
    pub fn new(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let array = numbers(what, object, b"fiu", "floating-point numbers")?;
        check_dimensions(what, &array, 1)?;
        let array = as_type(&array, "float64")?;
        Ok(Self(array.cast::<PyArray1<f64>>()?.try_readonly()?))
    }

    /// The numbers, a copy only of those that do not lie side by side.
    pub fn as_slice(&self) -> Cow<'_, [f64]> {
        match self.0.as_slice() {
            Ok(slice) => Cow::Borrowed(slice),
            Err(_) => Cow::Owned(self.0.as_array().to_vec()),
        }
    }

    /// The numbers as an array of their own.
    pub fn to_array(&self) -> Array1<f64> {
        self.0.as_array().to_owned()
    }
}

/// Class labels, `[N]`, as they stand: also negative ones.
pub fn integers(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let array = numbers(what, object, b"iu", "integers")?;
    check_dimensions(what, &array, 1)?;
    let array = as_type(&array, "int64")?;
    Ok(array
        .cast::<PyArray1<i64>>()?
        .readonly()
        .as_array()
        .to_vec())
}

/// Class labels, `[N]`, which count from 0.
pub fn labels(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    to_labels(what, &integers(what, object)?)
}

/// The integers as labels.
pub fn to_labels(what: &str, integers: &[i64]) -> PyResult<Vec<usize>> {
    let label = |(row, &label): (usize, &i64)| {
        usize::try_from(label).map_err(|_| {
            PyValueError::new_err(format!(
                "{what}: label {label} at row {row} cannot be a class, which count from 0; a set without classes leaves `labels` out"
            ))
        })
    };
    integers.iter().enumerate().map(label).collect()
}

/// Truth values, `[N]`.
pub fn booleans(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<bool>> {
    let array = numbers(what, object, b"b", "booleans")?;
    check_dimensions(what, &array, 1)?;
    Ok(array
        .cast::<PyArray1<bool>>()?
        .readonly()
        .as_array()
        .to_vec())
}

/// The numpy array in an object; tensors on the CPU share their memory with it.
fn numbers<'py>(
    what: &str,
    object: &Bound<'py, PyAny>,
    kinds: &[u8],
    expected: &str,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let array = as_numpy(what, object)?;
    if !kinds.contains(&array.dtype().kind()) {
        let message = format!(
            "{what} has dtype {}: give an array of {expected}",
            array.dtype()
        );
        return Err(PyTypeError::new_err(message));
    }
    Ok(array)
}

fn as_numpy<'py>(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if let Ok(array) = object.cast::<PyUntypedArray>() {
        return Ok(array.clone());
    }
    if is_bfloat16(object)? {
        return Err(PyValueError::new_err(format!(
            "{what} is bfloat16, which numpy lacks: give it as float32, e.g. tensor.float()"
        )));
    }
    let numpy = object.py().import("numpy")?;
    // A tensor that takes part in a gradient refuses to be read.
    let object = match object.hasattr("detach")? {
        true => object.call_method0("detach")?,
        false => object.clone(),
    };
    let by_dlpack = object.hasattr("__dlpack__")? && !object.hasattr("__array__")?;
    let convert = if by_dlpack { "from_dlpack" } else { "asarray" };
    Ok(numpy.call_method1(convert, (object,))?.cast_into()?)
}

fn is_bfloat16(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let Some(dtype) = object.getattr_opt("dtype")? else {
        return Ok(false);
    };
    // `torch.bfloat16`, `bfloat16` of others.
    Ok(dtype.str()?.to_cow()?.ends_with("bfloat16"))
}

/// The array in a type, the bytes in their places and in the machine's order; the same array where it is so already.
fn as_type<'py>(
    array: &Bound<'py, PyUntypedArray>,
    name: &str,
) -> PyResult<Bound<'py, PyUntypedArray>> {
    let numpy = array.py().import("numpy")?;
    let array = numpy.call_method1("require", (array, name, "A"))?;
    Ok(array.cast_into()?)
}

fn check_dimensions(
    what: &str,
    array: &Bound<'_, PyUntypedArray>,
    n_dimensions: usize,
) -> PyResult<()> {
    if array.ndim() == n_dimensions {
        return Ok(());
    }
    let message = format!(
        "{what} has shape {:?}: give {}",
        array.shape(),
        if n_dimensions == 1 {
            "one number a row, [N]"
        } else {
            "a matrix, one row a sample"
        }
    );
    Err(PyValueError::new_err(message))
}
