//! Errors of the crates as Python exceptions.

use std::error::Error;
use std::io;

use collapse_evaluate::Error as Evaluate;
use pyo3::PyErr;
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyOSError, PyPermissionError, PyValueError,
};

/// An exception with the words of the error and of its causes: an `OSError` where the system refused a file, else a `ValueError`.
pub fn raise(error: impl Error + 'static) -> PyErr {
    let mut message = words(&error).unwrap_or_else(|| error.to_string());
    let kind = |error: &(dyn Error + 'static)| Some(error.downcast_ref::<io::Error>()?.kind());
    let mut refused = kind(&error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some messages repeat their cause already.
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        refused = refused.or_else(|| kind(error));
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

/// The words of an error whose own name options of the command line as the remedy.
fn words(error: &(dyn Error + 'static)) -> Option<String> {
    Some(match error.downcast_ref()? {
        Evaluate::L2 { first, second } => format!(
            "{first} and {second} disagree on whether the head saw normalised features (l2); take both from one network, or give \
             the argument l2"
        ),
        Evaluate::NoTraining => {
            "no training features; give train, or fitted Detectors as detectors".to_owned()
        }
        Evaluate::Damaged { path } => format!(
            "{} was damaged or edited since it was written: its seal does not fit its content; make it again with Detectors.save",
            path.display()
        ),
        Evaluate::NoDetectors { path, reason } => format!(
            "{} holds no detectors that this version reads ({reason}); make it with Detectors.save",
            path.display()
        ),
        Evaluate::NoThreshold { score, known } => format!(
            "no threshold for {score}: there are held-out confidences of {known}; give validation to Detectors.fit, or name one of \
             these as detector"
        ),
        _ => return None,
    })
}
