use ndarray::Array1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use collapse_density::{Covariance, Jitter};

use crate::detectors::{
    Ash, AshVariant, Em, Energy, Fdbd, FdbdScale, FeatureNorm, Gen, Gmm, GmmSpace, Knn,
    Mahalanobis, MahalanobisOptions, MaxLogit, MaxSoftmax, Nci, Neco, NecoComponents, NnGuide,
    React, Residual, She, SoftmaxEntropy, Vim,
};
use crate::error::{Error, Result};
use crate::inputs::{Inputs, TrainInputs};

/// Rows that all detectors score before the next are read.
const BLOCK_ROWS: usize = 2048;

/// A fitted score of how much a sample looks in-distribution.
pub trait Detector {
    /// The name in tables and files.
    fn name(&self) -> &'static str;

    /// One number per sample, `[N]`; what a detector has to say. Callers want [`score`](Self::score).
    ///
    /// # Errors
    /// As [`score`](Self::score), but for NaN.
    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>>;

    /// One confidence per sample, `[N]`, larger = more in-distribution; ±∞ where it leaves the range of f64, never NaN.
    ///
    /// # Errors
    /// Features of other dimensions than in training; samples for which the score is undefined, by the number of their row.
    fn score(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let scores = self.compute(inputs)?;
        match scores.iter().position(|score| score.is_nan()) {
            None => Ok(scores),
            Some(row) => Err(Error::undefined(
                self.name(),
                format!(
                    "row {} leaves the range of f64 on the way; scale the features or leave the row out",
                    inputs.row_number(row)
                ),
            )),
        }
    }
}

/// Settings of the detectors; the defaults are those of the papers or of OpenOOD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Form of the class covariances of the Gaussian mixtures.
    pub gmm_covariance: Covariance,
    /// Jitter of the Gaussian mixtures.
    pub gmm_jitter: Jitter,
    /// Principal components of the EM mixture; fewer where the features span fewer.
    pub em_components: usize,
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
            em_components: 32,
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

/// What a detector computes with beside features.
enum Needs {
    Features,
    Logits,
    Head,
    HeadAndLogits,
}

/// One line of the table of detectors.
pub struct Entry {
    /// The name in tables and files.
    pub name: &'static str,
    /// Whether the last linear layer is needed.
    pub needs_head: bool,
    /// Whether logits are needed.
    pub needs_logits: bool,
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
        ($name:literal, $needs:ident, |$train:pat_param, $settings:pat_param| $fit:expr) => {
            Entry {
                name: $name,
                needs_head: matches!(Needs::$needs, Needs::Head | Needs::HeadAndLogits),
                needs_logits: matches!(Needs::$needs, Needs::Logits | Needs::HeadAndLogits),
                fit: |$train, $settings| $fit,
            }
        };
    }
    const ALL: &[Entry] = &[
        entry!("max_softmax", Logits, |_, _| Ok(AnyDetector::MaxSoftmax(
            MaxSoftmax
        ))),
        entry!("softmax_entropy", Logits, |_, _| Ok(
            AnyDetector::SoftmaxEntropy(SoftmaxEntropy)
        )),
        entry!("energy", Logits, |_, _| Ok(AnyDetector::Energy(Energy))),
        entry!("max_logit", Logits, |_, _| Ok(AnyDetector::MaxLogit(
            MaxLogit
        ))),
        entry!("feature_norm", Features, |_, _| Ok(
            AnyDetector::FeatureNorm(FeatureNorm)
        )),
        entry!("gmm_features", Features, |train, settings| gmm(
            train,
            GmmSpace::Features,
            settings
        )),
        entry!("gmm_logits", Logits, |train, settings| gmm(
            train,
            GmmSpace::Logits,
            settings
        )),
        entry!("gmm_em", Features, |train, settings| {
            Em::fit(train, settings.em_components).map(AnyDetector::Em)
        }),
        entry!("mahalanobis", Features, |train, _| mahalanobis(
            train, false, false
        )),
        entry!("relative_mahalanobis", Features, |train, _| mahalanobis(
            train, true, false
        )),
        entry!("mahalanobis_pp", Features, |train, _| mahalanobis(
            train, false, true
        )),
        entry!("relative_mahalanobis_pp", Features, |train, _| mahalanobis(
            train, true, true
        )),
        entry!("knn", Features, |train, settings| {
            let neighbours = settings.knn_neighbours.min(train.labels().len());
            Knn::fit(train, neighbours).map(AnyDetector::Knn)
        }),
        entry!("vim", HeadAndLogits, |train, settings| Vim::fit(
            train,
            settings.vim_dimension
        )
        .map(AnyDetector::Vim)),
        entry!("residual", Head, |train, settings| {
            Residual::fit(train, settings.vim_dimension).map(AnyDetector::Residual)
        }),
        entry!("neco", Features, |train, settings| Neco::fit(
            train,
            settings.neco_components
        )
        .map(AnyDetector::Neco)),
        entry!("nci", HeadAndLogits, |train, settings| Nci::fit(
            train,
            settings.nci_alpha
        )
        .map(AnyDetector::Nci)),
        entry!("fdbd", HeadAndLogits, |train, _| Fdbd::fit(
            train,
            FdbdScale::DistanceToMean
        )
        .map(AnyDetector::Fdbd)),
        entry!("gen", Logits, |_, settings| {
            Gen::new(settings.gen_gamma, settings.gen_largest).map(AnyDetector::Gen)
        }),
        entry!("react", Head, |train, settings| {
            React::fit(train, settings.react_percentile).map(AnyDetector::React)
        }),
        entry!("ash", Head, |train, settings| {
            Ash::fit(train, settings.ash_variant, settings.ash_percentile).map(AnyDetector::Ash)
        }),
        entry!("scale", Head, |train, settings| {
            Ash::fit(train, AshVariant::ScaleAll, settings.scale_percentile).map(AnyDetector::Ash)
        }),
        entry!("she", Logits, |train, _| She::fit(train)
            .map(AnyDetector::She)),
        entry!("nnguide", Logits, |train, settings| {
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

            fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
                match self {
                    $(Self::$variant(detector) => detector.compute(inputs),)*
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
    let fit = |entry: &Entry| entry.fit(train, settings);
    let outcomes: Vec<Result<AnyDetector>> = detectors().par_iter().map(fit).collect();
    let mut fitted = Fitted {
        detectors: Vec::new(),
        skipped: Vec::new(),
    };
    for (entry, outcome) in detectors().iter().zip(outcomes) {
        match outcome {
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
    /// The scores of every detector from one pass over the inputs, by name, in the order of the detectors.
    ///
    /// Every detector scores a block of rows before the next block is read; the blocks run in parallel and depend on the
    /// number of rows alone, so the bytes are the same for any number of threads.
    pub fn score_all(&self, inputs: &Inputs) -> Vec<(&'static str, Result<Array1<f64>>)> {
        let n = inputs.features().nrows();
        let starts: Vec<usize> = (0..n).step_by(BLOCK_ROWS).collect();
        let blocks: Vec<Vec<Result<Array1<f64>>>> = starts
            .into_par_iter()
            .map(|start| {
                let part = inputs.part(start..n.min(start + BLOCK_ROWS));
                let scores = self.detectors.iter().map(|detector| detector.score(&part));
                scores.collect()
            })
            .collect();
        let mut together: Vec<Result<Vec<f64>>> = (0..self.detectors.len())
            .map(|_| Ok(Vec::with_capacity(n)))
            .collect();
        for block in blocks {
            for (all, part) in together.iter_mut().zip(block) {
                match (&mut *all, part) {
                    (Ok(all), Ok(part)) => all.extend(part),
                    // The first block in order that failed has the first row that failed.
                    (Ok(_), Err(error)) => *all = Err(error),
                    (Err(_), _) => {}
                }
            }
        }
        let named = self.detectors.iter().zip(together);
        named
            .map(|(detector, scores)| (detector.name(), scores.map(Array1::from)))
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
