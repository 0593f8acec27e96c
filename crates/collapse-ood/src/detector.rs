use ndarray::Array1;
use serde::{Deserialize, Serialize};

use collapse_density::{Covariance, Jitter};

use crate::detectors::{
    Ash, AshVariant, Energy, Fdbd, FdbdScale, FeatureNorm, Gen, Gmm, GmmSpace, Knn, Mahalanobis,
    MahalanobisOptions, MaxLogit, MaxSoftmax, Nci, Neco, NecoComponents, NnGuide, React, Residual,
    She, SoftmaxEntropy, Vim,
};
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs};

/// A fitted score of how much a sample looks in-distribution.
pub trait Detector {
    /// The name in tables and files.
    fn name(&self) -> &'static str;

    /// One confidence per sample, `[N]`, larger = more in-distribution.
    ///
    /// # Errors
    /// Features of other dimensions than in training; samples for which the score is undefined.
    fn score(&self, inputs: &Inputs) -> Result<Array1<f64>>;
}

/// Settings of the detectors; the defaults are those of the papers or of OpenOOD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Form of the class covariances of the Gaussian mixtures.
    pub gmm_covariance: Covariance,
    /// Jitter of the Gaussian mixtures.
    pub gmm_jitter: Jitter,
    /// Neighbours k of kNN (50 in its paper); at most the training samples are used.
    pub knn_neighbours: usize,
    /// Neighbours k of NNGuide (10 in its paper).
    pub nnguide_neighbours: usize,
    /// Dimension of ViM's principal subspace; `None` follows OpenOOD's rule.
    pub vim_dimension: Option<usize>,
    /// Components of NECO.
    pub neco_components: NecoComponents,
    /// Weight of the norm in NCI.
    pub nci_alpha: f64,
    /// Exponent of GEN.
    pub gen_gamma: f64,
    /// Probabilities that GEN sums.
    pub gen_largest: usize,
    /// Percentile at which ReAct clips.
    pub react_percentile: f64,
    /// Form of ASH.
    pub ash_variant: AshVariant,
    /// Percentile that ASH prunes.
    pub ash_percentile: f64,
    /// Percentile of SCALE.
    pub scale_percentile: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gmm_covariance: Covariance::Full,
            gmm_jitter: Jitter::Ladder,
            knn_neighbours: 50,
            nnguide_neighbours: 10,
            vim_dimension: None,
            neco_components: NecoComponents::Variance(0.9),
            nci_alpha: 1e-4,
            gen_gamma: 0.1,
            gen_largest: 100,
            react_percentile: 90.0,
            ash_variant: AshVariant::Binarize,
            ash_percentile: 90.0,
            scale_percentile: 85.0,
        }
    }
}

/// One line of the table of detectors.
pub struct Entry {
    /// The name in tables and files.
    pub name: &'static str,
    /// Whether the last linear layer is needed.
    pub needs_head: bool,
    fit: fn(&TrainInputs, &Settings) -> Result<AnyDetector>,
}

impl Entry {
    /// Fits the detector.
    ///
    /// # Errors
    /// [`Error::NeedsHead`] and whatever the detector's own `fit` says.
    pub fn fit(&self, train: &TrainInputs, settings: &Settings) -> Result<AnyDetector> {
        (self.fit)(train, settings)
    }
}

fn mahalanobis(train: &TrainInputs, relative: bool, normalize: bool) -> Result<AnyDetector> {
    let options = MahalanobisOptions {
        relative,
        normalize,
        ..MahalanobisOptions::default()
    };
    Mahalanobis::fit(train, options).map(AnyDetector::Mahalanobis)
}

fn gmm(train: &TrainInputs, space: GmmSpace, settings: &Settings) -> Result<AnyDetector> {
    Gmm::fit(train, space, settings.gmm_covariance, settings.gmm_jitter).map(AnyDetector::Gmm)
}

/// Every detector, in the order of the tables.
#[must_use]
pub fn detectors() -> &'static [Entry] {
    macro_rules! entry {
        ($name:literal, $needs_head:literal, |$train:pat_param, $settings:pat_param| $fit:expr) => {
            Entry {
                name: $name,
                needs_head: $needs_head,
                fit: |$train, $settings| $fit,
            }
        };
    }
    const ALL: &[Entry] = &[
        entry!("max_softmax", false, |_, _| Ok(AnyDetector::MaxSoftmax(
            MaxSoftmax
        ))),
        entry!("softmax_entropy", false, |_, _| Ok(
            AnyDetector::SoftmaxEntropy(SoftmaxEntropy)
        )),
        entry!("energy", false, |_, _| Ok(AnyDetector::Energy(Energy))),
        entry!("max_logit", false, |_, _| Ok(AnyDetector::MaxLogit(
            MaxLogit
        ))),
        entry!("feature_norm", false, |_, _| Ok(AnyDetector::FeatureNorm(
            FeatureNorm
        ))),
        entry!("gmm_features", false, |train, settings| gmm(
            train,
            GmmSpace::Features,
            settings
        )),
        entry!("gmm_logits", false, |train, settings| gmm(
            train,
            GmmSpace::Logits,
            settings
        )),
        entry!("mahalanobis", false, |train, _| mahalanobis(
            train, false, false
        )),
        entry!("relative_mahalanobis", false, |train, _| mahalanobis(
            train, true, false
        )),
        entry!("mahalanobis_pp", false, |train, _| mahalanobis(
            train, false, true
        )),
        entry!("relative_mahalanobis_pp", false, |train, _| mahalanobis(
            train, true, true
        )),
        entry!("knn", false, |train, settings| {
            let neighbours = settings.knn_neighbours.min(train.labels().len());
            Knn::fit(train, neighbours).map(AnyDetector::Knn)
        }),
        entry!("vim", true, |train, settings| Vim::fit(
            train,
            settings.vim_dimension
        )
        .map(AnyDetector::Vim)),
        entry!("residual", true, |train, settings| {
            Residual::fit(train, settings.vim_dimension).map(AnyDetector::Residual)
        }),
        entry!("neco", false, |train, settings| Neco::fit(
            train,
            settings.neco_components
        )
        .map(AnyDetector::Neco)),
        entry!("nci", true, |train, settings| Nci::fit(
            train,
            settings.nci_alpha
        )
        .map(AnyDetector::Nci)),
        entry!("fdbd", true, |train, _| Fdbd::fit(
            train,
            FdbdScale::DistanceToMean
        )
        .map(AnyDetector::Fdbd)),
        entry!("gen", false, |_, settings| {
            Gen::new(settings.gen_gamma, settings.gen_largest).map(AnyDetector::Gen)
        }),
        entry!("react", true, |train, settings| {
            React::fit(train, settings.react_percentile).map(AnyDetector::React)
        }),
        entry!("ash", true, |train, settings| {
            Ash::fit(train, settings.ash_variant, settings.ash_percentile).map(AnyDetector::Ash)
        }),
        entry!("scale", true, |train, settings| {
            Ash::fit(train, AshVariant::ScaleAll, settings.scale_percentile).map(AnyDetector::Ash)
        }),
        entry!("she", false, |train, _| She::fit(train)
            .map(AnyDetector::She)),
        entry!("nnguide", false, |train, settings| {
            let neighbours = settings.nnguide_neighbours.min(train.labels().len());
            NnGuide::fit(train, neighbours).map(AnyDetector::NnGuide)
        }),
    ];
    ALL
}

macro_rules! any_detector {
    ($($variant:ident),* $(,)?) => {
        /// A fitted detector of any kind, to be stored and loaded with serde.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub enum AnyDetector {
            $(
                #[doc = concat!("[`", stringify!($variant), "`](crate::detectors::", stringify!($variant), ").")]
                $variant($variant),
            )*
        }

        impl Detector for AnyDetector {
            fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(detector) => detector.name(),)*
                }
            }

            fn score(&self, inputs: &Inputs) -> Result<Array1<f64>> {
                match self {
                    $(Self::$variant(detector) => detector.score(inputs),)*
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
);

/// Detectors fitted on one training set, scored together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fitted {
    /// The detectors, in the order of [`detectors`].
    pub detectors: Vec<AnyDetector>,
    /// Detectors that could not be fitted, with the reason.
    pub skipped: Vec<Skipped>,
}

/// A detector that could not be fitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Why, and what would help.
    pub reason: String,
}

/// Fits every detector; those that the inputs do not allow (no head, a singular class) are listed in
/// [`Fitted::skipped`] with the reason.
#[must_use]
pub fn fit_all(train: &TrainInputs, settings: &Settings) -> Fitted {
    let mut fitted = Fitted {
        detectors: Vec::new(),
        skipped: Vec::new(),
    };
    for entry in detectors() {
        match entry.fit(train, settings) {
            Ok(detector) => fitted.detectors.push(detector),
            Err(error) => fitted.skipped.push(Skipped {
                name: entry.name.to_owned(),
                reason: error.to_string(),
            }),
        }
    }
    fitted
}

/// Fits the named detectors, in the order of the names.
///
/// # Errors
/// [`Error::UnknownDetector`], or the first failure of a detector.
pub fn fit_named<'n>(
    train: &TrainInputs,
    settings: &Settings,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Fitted> {
    let fit = |name: &str| match detectors().iter().find(|entry| entry.name == name) {
        Some(entry) => entry.fit(train, settings),
        None => Err(Error::UnknownDetector {
            name: name.to_owned(),
            known: detectors()
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    };
    let fitted: Result<Vec<AnyDetector>> = names.into_iter().map(fit).collect();
    Ok(Fitted {
        detectors: fitted?,
        skipped: Vec::new(),
    })
}

impl Fitted {
    /// The scores of every detector from one pass over the inputs, by name.
    pub fn score_all(&self, inputs: &Inputs) -> Vec<(&'static str, Result<Array1<f64>>)> {
        self.detectors
            .iter()
            .map(|detector| (detector.name(), detector.score(inputs)))
            .collect()
    }

    /// The detector of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AnyDetector> {
        self.detectors
            .iter()
            .find(|detector| detector.name() == name)
    }
}
