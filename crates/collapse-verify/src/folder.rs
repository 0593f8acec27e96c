//! Reading the JSON and tensors of one reference file.

use std::path::Path;

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result};

/// One `<name>.json` with its `<name>.safetensors`, if there is one.
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) json: Value,
    tensors: Vec<u8>,
}

impl File {
    /// `None` when the folder does not have the file.
    pub(crate) fn load(folder: &Path, name: &'static str) -> Result<Option<Self>> {
        let path = folder.join(format!("{name}.json"));
        if !path.exists() {
            return Ok(None);
        }
        let broken = |path: &Path, reason: String| Error::File {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read(&path).map_err(|error| broken(&path, error.to_string()))?;
        let json =
            serde_json::from_slice(&text).map_err(|error| broken(&path, error.to_string()))?;
        let path = folder.join(format!("{name}.safetensors"));
        let tensors = match path.exists() {
            true => std::fs::read(&path).map_err(|error| broken(&path, error.to_string()))?,
            false => Vec::new(),
        };
        Ok(Some(Self {
            name,
            json,
            tensors,
        }))
    }

    /// The list of cases at `key`, empty when absent.
    pub(crate) fn cases(&self, key: &str) -> &[Value] {
        self.json
            .get(key)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// Shape and numbers of a tensor.
    pub(crate) fn tensor(&self, key: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        let missing = || self.missing("tensor", key);
        let tensors = SafeTensors::deserialize(&self.tensors).map_err(|_| missing())?;
        let view = tensors.tensor(key).map_err(|_| missing())?;
        let data = view.data();
        let words = || data.as_chunks::<8>().0.iter();
        let numbers = match view.dtype() {
            Dtype::F64 => words().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            Dtype::I64 => words()
                .map(|bytes| i64::from_le_bytes(*bytes) as f64)
                .collect(),
            Dtype::F32 => data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
                .collect(),
            _ => return Err(missing()),
        };
        Ok((view.shape().to_vec(), numbers))
    }

    pub(crate) fn vector(&self, key: &str) -> Result<Vec<f64>> {
        Ok(self.tensor(key)?.1)
    }

    pub(crate) fn matrix(&self, key: &str) -> Result<Array2<f64>> {
        let (shape, numbers) = self.tensor(key)?;
        match shape[..] {
            [rows, columns] => Array2::from_shape_vec((rows, columns), numbers)
                .map_err(|_| self.missing("matrix", key)),
            _ => Err(self.missing("matrix", key)),
        }
    }

    pub(crate) fn labels(&self, key: &str) -> Result<Vec<usize>> {
        Ok(self
            .vector(key)?
            .into_iter()
            .map(|label| label as usize)
            .collect())
    }

    /// Names of all tensors, sorted.
    pub(crate) fn tensor_names(&self) -> Vec<String> {
        let tensors = SafeTensors::deserialize(&self.tensors);
        let names = tensors.map(|tensors| tensors.names().into_iter().map(str::to_owned).collect());
        let mut names: Vec<String> = names.unwrap_or_default();
        names.sort();
        names
    }

    pub(crate) fn missing(&self, kind: &'static str, key: &str) -> Error {
        Error::Entry {
            file: self.name.to_owned(),
            kind,
            key: key.to_owned(),
        }
    }

    pub(crate) fn refused(&self, case: &str) -> impl Fn(&dyn std::fmt::Display) -> Error {
        let (file, case) = (self.name.to_owned(), case.to_owned());
        move |reason| Error::Refused {
            file: file.clone(),
            case: case.clone(),
            reason: reason.to_string(),
        }
    }

    /// The list at `key` below `value`.
    pub(crate) fn cases_of<'v>(&self, value: &'v Value, key: &str) -> Result<&'v [Value]> {
        value
            .get(key)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .ok_or_else(|| self.missing("list", key))
    }

    /// The number at a path of keys below `value`.
    pub(crate) fn number(&self, value: &Value, path: &[&str]) -> Result<f64> {
        at(value, path)
            .and_then(number)
            .ok_or_else(|| self.missing("number", &path.join("/")))
    }

    /// The list of numbers at a path of keys below `value`.
    pub(crate) fn numbers(&self, value: &Value, path: &[&str]) -> Result<Vec<f64>> {
        at(value, path)
            .and_then(numbers)
            .ok_or_else(|| self.missing("list of numbers", &path.join("/")))
    }

    pub(crate) fn text<'v>(&self, value: &'v Value, key: &str) -> Result<&'v str> {
        value
            .get(key)
            .and_then(Value::as_str)
            .ok_or_else(|| self.missing("text", key))
    }
}

pub(crate) fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// A number; JSON has no special floats, so they are strings.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("nan") => Some(f64::NAN),
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some(text) => text.parse().ok(),
        None => value.as_f64(),
    }
}

pub(crate) fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(number).collect()
}
