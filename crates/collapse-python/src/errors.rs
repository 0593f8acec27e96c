//! Errors of the crates as Python exceptions.

use std::error::Error;
use std::io;

use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyOSError, PyPermissionError, PyValueError,
};

/// An exception with the words of the error and of its causes: an `OSError` where the system refused a file, else a `ValueError`.
pub fn raise(error: impl Error + 'static) -> PyErr {
    let mut message = error.to_string();
    let mut refused = None;
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        let text = error.to_string();
        // Some messages repeat their cause already.
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        refused = refused.or_else(|| Some(error.downcast_ref::<io::Error>()?.kind()));
        cause = error.source();
    }
    match refused {
        None => PyValueError::new_err(message),
        Some(io::ErrorKind::NotFound) => PyFileNotFoundError::new_err(message),
        Some(io::ErrorKind::PermissionDenied) => PyPermissionError::new_err(message),
        Some(io::ErrorKind::AlreadyExists) => PyFileExistsError::new_err(message),
        Some(_) => PyOSError::new_err(message),
    }
}
