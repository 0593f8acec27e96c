//! A call as Python writes it, for what a page says of its making.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

/// A function with the arguments that were given.
pub struct Call {
    function: &'static str,
    arguments: Vec<String>,
}

impl Call {
    pub fn new(function: &'static str) -> Self {
        Self {
            function,
            arguments: Vec::new(),
        }
    }

    /// A set in its place: a path as it is, arrays by the argument's name.
    pub fn set(mut self, name: &str, set: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        self.arguments.push(match set {
            None => "None".to_owned(),
            Some(set) => path(set)?.unwrap_or_else(|| name.to_owned()),
        });
        Ok(self)
    }

    /// Sets by name; arrays have no text.
    pub fn sets(mut self, sets: &Bound<'_, PyMapping>) -> PyResult<Self> {
        let mut items = Vec::new();
        for item in sets.items()? {
            let (name, set): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            let set = path(&set)?.unwrap_or_else(|| "...".to_owned());
            items.push(format!("{}: {set}", name.repr()?));
        }
        self.arguments.push(format!("{{{}}}", items.join(", ")));
        Ok(self)
    }

    /// A keyword with its value, where one was given.
    pub fn keyword<'py>(
        mut self,
        py: Python<'py>,
        name: &str,
        value: Option<impl IntoPyObject<'py>>,
    ) -> PyResult<Self> {
        if let Some(value) = value {
            let value = value.into_bound_py_any(py)?;
            self.arguments.push(format!("{name}={}", value.repr()?));
        }
        Ok(self)
    }

    /// A keyword whose value has no text but the argument's name, or a path.
    pub fn named(mut self, name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        if let Some(value) = value {
            let text = path(value)?.unwrap_or_else(|| name.to_owned());
            self.arguments.push(format!("{name}={text}"));
        }
        Ok(self)
    }

    pub fn text(&self) -> String {
        format!("{}({})", self.function, self.arguments.join(", "))
    }
}

/// The text of a path; `None` for anything else.
fn path(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    match object.extract::<std::path::PathBuf>() {
        Ok(path) => Ok(Some(
            path.into_pyobject(object.py())?.str()?.repr()?.to_string(),
        )),
        Err(_) => Ok(None),
    }
}
