//! Accuracy and calibration, before and after temperature scaling.

use collapse_ood::metrics::{Calibration, accuracy, calibration, correct, temperature_optimum};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::splits::{CompleteSplits, Split};

/// Accuracy and calibration of the test logits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// The figures of the logits as they are.
    #[serde(flatten)]
    pub plain: Calibration,
    /// The temperature of least NLL on the validation split.
    pub temperature: Option<f64>,
    /// Why there is none, although there is a validation split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_undefined: Option<String>,
    /// The figures at that temperature.
    pub scaled: Option<Calibration>,
    /// Whether each test sample is classified correctly, `[N]`.
    #[serde(skip)]
    pub correct: Vec<bool>,
}

impl CompleteSplits {
    /// `None` for a test split without logits or without labels.
    pub(crate) fn calibrated(&self) -> Result<Option<Calibrated>> {
        let test = self.test();
        let (Some(logits), Some(labels)) = (&test.features.logits, &test.features.labels) else {
            return Ok(None);
        };
        let within = || Error::within(&test.origin);
        let at = |temperature| calibration(logits.view(), labels, temperature).map_err(within());
        let (temperature, temperature_undefined) = match self.validation() {
            Some(validation) => best_temperature(validation)?,
            None => (None, None),
        };
        Ok(Some(Calibrated {
            plain: at(1.0)?,
            temperature,
            temperature_undefined,
            scaled: temperature.map(at).transpose()?,
            correct: correct(logits.view(), labels).map_err(within())?,
        }))
    }

    /// Accuracy on the validation split; `None` where there is none, or where it lacks logits or labels.
    pub(crate) fn validation_accuracy(&self) -> Result<Option<f64>> {
        let Some(validation) = self.validation() else {
            return Ok(None);
        };
        let set = &validation.features;
        let (Some(logits), Some(labels)) = (&set.logits, &set.labels) else {
            return Ok(None);
        };
        let found = accuracy(logits.view(), labels);
        found.map(Some).map_err(Error::within(&validation.origin))
    }
}

/// The temperature of least NLL, or why there is none.
fn best_temperature(validation: &Split) -> Result<(Option<f64>, Option<String>)> {
    let set = &validation.features;
    let (Some(logits), Some(labels)) = (&set.logits, &set.labels) else {
        let lacking = if set.logits.is_none() {
            "logits"
        } else {
            "labels"
        };
        let reason = format!("it has no {lacking}, so no temperature is chosen");
        return Ok((None, Some(reason)));
    };
    match temperature_optimum(logits.view(), labels) {
        Ok(temperature) => Ok((Some(temperature), None)),
        Err(undefined @ collapse_ood::Error::Undefined { .. }) => {
            Ok((None, Some(undefined.to_string())))
        }
        Err(error) => Err(Error::within(&validation.origin)(error)),
    }
}
