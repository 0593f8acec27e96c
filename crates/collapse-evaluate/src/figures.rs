//! The figures of an evaluation as they are written.

use std::collections::BTreeMap;

use collapse_density::Agreement;
use collapse_ood::{Comparison, RiskCoverage, Skipped};
use serde::Serialize;

use crate::calibrated::Calibrated;
use crate::evaluation::Evaluation;
use crate::geometry::Geometry;

/// The figures of an [`Evaluation`] under the names of `scores.json`, for whoever serialises them.
#[derive(Debug, Serialize)]
pub struct Figures<'a> {
    #[serde(flatten)]
    calibrated: Option<&'a Calibrated>,
    ood: &'a [Comparison],
    risk_coverage: BTreeMap<&'a str, f64>,
    generalised_risk_coverage: BTreeMap<&'a str, f64>,
    geometry: Option<&'a Geometry>,
    density_agreement: Option<&'a Agreement>,
    skipped: Vec<Skipped>,
}

impl Evaluation {
    /// What is written of the evaluation, wherever it is.
    #[must_use]
    pub fn figures(&self) -> Figures<'_> {
        let areas = |pick: fn(&RiskCoverage) -> f64| {
            let found = self.risk_coverage.iter();
            found
                .map(|found| (found.score.as_str(), pick(found)))
                .collect()
        };
        Figures {
            calibrated: self.calibrated.as_ref(),
            ood: &self.comparisons,
            risk_coverage: areas(|found| found.aurc),
            generalised_risk_coverage: areas(|found| found.augrc),
            geometry: self.geometry.as_ref(),
            density_agreement: self.agreement.as_ref(),
            skipped: self.skipped(),
        }
    }
}
