//! Settings of the detectors and densities as Python names them.

use collapse_density::{Covariance, Jitter, Shrinkage};
use collapse_ood::Settings;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pythonize::Depythonizer;

/// Ridge of the low-rank form where none is given.
const RIDGE: f64 = 1e-6;

/// The form of class covariances, by the names of the command line.
pub fn covariance(name: &str, jitter: Option<f64>) -> PyResult<Covariance> {
    Ok(match name {
        "full" => Covariance::Full,
        "tied" => Covariance::Tied,
        "diagonal" => Covariance::Diagonal,
        "ledoit-wolf" => Covariance::Shrinkage(Shrinkage::LedoitWolf),
        "oas" => Covariance::Shrinkage(Shrinkage::Oas),
        "low-rank" => Covariance::LowRank {
            rank: None,
            ridge: jitter.unwrap_or(RIDGE),
        },
        _ => {
            return Err(PyValueError::new_err(format!(
                "no covariance {name:?}: choose among full, tied, diagonal, ledoit-wolf, oas, low-rank"
            )));
        }
    })
}

/// DDU's ladder, or the number given.
pub fn jitter(jitter: Option<f64>) -> Jitter {
    jitter.map_or(Jitter::Ladder, Jitter::Fixed)
}

/// Keys of the settings that have an argument of their own.
const ARGUMENTS: [(&str, &str); 2] = [("gmm_covariance", "covariance"), ("gmm_jitter", "jitter")];

/// The defaults, with what `settings` says otherwise.
pub fn detectors(
    covariance: &str,
    jitter: Option<f64>,
    settings: Option<&Bound<'_, PyAny>>,
) -> PyResult<Settings> {
    for (key, argument) in ARGUMENTS {
        if settings.is_some_and(|settings| settings.contains(key).unwrap_or(false)) {
            return Err(PyValueError::new_err(format!(
                "settings: {key:?} is not read; give the argument {argument} instead"
            )));
        }
    }
    let given = settings.map(|settings| {
        let mut given = Depythonizer::from_object(settings);
        serde_path_to_error::deserialize(&mut given).map_err(|error| {
            let key = match error.path().iter().next() {
                Some(_) => format!(", {}", error.path()),
                None => String::new(),
            };
            PyValueError::new_err(format!("settings{key}: {}", error.into_inner()))
        })
    });
    Ok(Settings {
        gmm_covariance: self::covariance(covariance, jitter)?,
        gmm_jitter: self::jitter(jitter),
        ..given.transpose()?.unwrap_or_default()
    })
}
