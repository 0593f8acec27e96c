//! A fitted detector of any kind.

use std::sync::Arc;

use collapse_results::ScoreId;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::detectors::{
    Ash, Dice, Em, Energy, Ensemble, Fdbd, FeatureNorm, Gen, Gmm, GradNorm, KlMatching, Knn, Lts,
    Mahalanobis, MaxLogit, MaxSoftmax, Nci, Neco, NnGuide, OpenMax, React, Residual, She,
    SoftmaxEntropy, Vim, Vra,
};
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::table::detectors;

macro_rules! any_detector {
    ($($variant:ident),* $(,)?) => {
        /// A fitted detector of any kind, to be stored and loaded with serde.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum AnyDetector {
            $(
                #[doc = concat!("[`", stringify!($variant), "`](crate::detectors::", stringify!($variant), ").")]
                $variant($variant),
            )*
            /// A detector of one's own, which serde refuses to store: only its author knows how to load it.
            #[serde(skip)]
            Own(Arc<dyn Detector>),
        }

        $(
            impl From<$variant> for AnyDetector {
                fn from(detector: $variant) -> Self {
                    Self::$variant(detector)
                }
            }
        )*

        impl Detector for AnyDetector {
            fn id(&self) -> ScoreId {
                match self {
                    $(Self::$variant(detector) => detector.id(),)*
                    Self::Own(detector) => detector.id(),
                }
            }

            fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
                if !inputs.has_features() && self.needs_features() {
                    return Err(Error::NeedsFeatures);
                }
                match self {
                    $(Self::$variant(detector) => detector.compute(inputs),)*
                    Self::Own(detector) => detector.compute(inputs),
                }
            }
        }
    };
}

any_detector!(
    MaxSoftmax,
    SoftmaxEntropy,
    Energy,
    MaxLogit,
    FeatureNorm,
    Gmm,
    Em,
    Mahalanobis,
    Knn,
    Vim,
    Residual,
    Neco,
    Nci,
    Fdbd,
    Gen,
    React,
    Ash,
    She,
    NnGuide,
    Dice,
    KlMatching,
    GradNorm,
    OpenMax,
    Vra,
    Lts,
    Ensemble,
);

impl AnyDetector {
    /// Whether the table says that features are read; one's own detectors are not in it and see what there is.
    fn needs_features(&self) -> bool {
        let id = self.id();
        let mut entries = detectors().iter();
        entries.any(|entry| entry.id() == id && entry.needs_features())
    }
}
