//! What is measured along the way of training.

use collapse_ood::Settings;
use collapse_ood::metrics::auroc;
use collapse_results::{Geometry, SetId};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::evaluation::{Evaluation, MAIN_SCORE};
use crate::record;
use crate::splits::CompleteSplits;

/// The figures of an epoch on the way: a projection of [`Evaluation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// NC measures on the training split; `None` where they are undefined.
    pub geometry: Option<Geometry>,
    /// Why they are undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry_undefined: Option<String>,
    /// NC measures of the form of the features that the head does not see; `None` where they are undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry_counterpart: Option<Geometry>,
    /// Accuracy on the validation split, 0..=1.
    pub validation_accuracy: Option<f64>,
    /// AUROC of the feature density per out-of-distribution set, 0..=1: (set, AUROC).
    pub auroc: Vec<(SetId, f64)>,
}

impl CompleteSplits {
    /// Geometry, validation accuracy and the feature density's AUROC alone: cheap enough for many epochs, and equal to
    /// [`Evaluation::measurement`].
    ///
    /// # Errors
    /// As [`fit_named`](Self::fit_named) and [`evaluate`](Self::evaluate).
    pub fn measure(&self) -> Result<Measurement> {
        let fitted = self.fit_named(&Settings::default(), [MAIN_SCORE.as_str()])?;
        let (test, ood) = self.scores(&fitted)?;
        let mut found = Vec::new();
        for set in &ood {
            if let (Some(id), Some(ood)) = (test.get(&MAIN_SCORE), set.get(&MAIN_SCORE)) {
                let auroc = auroc(&id.to_vec(), &ood.to_vec())?;
                found.push((SetId::from(set.set.as_str()), auroc));
            }
        }
        let (geometry, geometry_undefined) =
            record::geometry(self.geometry().as_ref()).into_fields();
        Ok(Measurement {
            geometry,
            geometry_undefined,
            geometry_counterpart: defined(self.geometry_counterpart().as_ref()),
            validation_accuracy: self.validation_accuracy()?,
            auroc: found,
        })
    }
}

impl Evaluation {
    /// The part of the evaluation that is also measured along the way.
    #[must_use]
    pub fn measurement(&self) -> Measurement {
        let (geometry, geometry_undefined) = record::geometry(self.geometry.as_ref()).into_fields();
        let main = self.comparisons.iter();
        let main = main.filter(|found| found.score == MAIN_SCORE);
        Measurement {
            geometry,
            geometry_undefined,
            geometry_counterpart: defined(self.geometry_counterpart.as_ref()),
            validation_accuracy: self.validation_accuracy,
            auroc: main
                .map(|found| (SetId::from(found.set.as_str()), found.detection.auroc))
                .collect(),
        }
    }
}

fn defined(found: Option<&crate::geometry::Geometry>) -> Option<Geometry> {
    record::geometry(found).into_fields().0
}
