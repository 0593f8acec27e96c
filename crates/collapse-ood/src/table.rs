//! The table of detectors: name, needs and how each is fitted.

use collapse_results::ScoreId;

use crate::any::AnyDetector;
use crate::detectors::{
    Ash, AshVariant, Dice, Em, Energy, Ensemble, EnsembleMeasure, Fdbd, FdbdScale, FeatureNorm,
    Gen, Gmm, GmmSpace, GradNorm, KlMatching, Knn, Lts, Mahalanobis, MahalanobisOptions, MaxLogit,
    MaxSoftmax, Nci, Neco, NnGuide, OpenMax, React, Residual, She, SoftmaxEntropy, Vim, Vra,
};
use crate::error::{Error, Result};
use crate::inputs::TrainInputs;
use crate::settings::Settings;

/// What a detector computes with: features, but for those that say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Features,
    /// Features and logits.
    Logits,
    LogitsAlone,
    Head,
    HeadAndLogits,
    /// Logits, also those of other networks.
    Members,
}

/// One line of the table of detectors.
#[derive(Debug)]
pub struct Entry {
    name: &'static str,
    needs: Needs,
    fit: fn(&TrainInputs, &Settings) -> Result<AnyDetector>,
}

impl Entry {
    /// The name in tables and files.
    #[must_use]
    pub fn id(&self) -> ScoreId {
        ScoreId::new(self.name)
    }

    /// Whether the last linear layer is needed.
    #[must_use]
    pub fn needs_head(&self) -> bool {
        matches!(self.needs, Needs::Head | Needs::HeadAndLogits)
    }

    /// Whether logits are needed.
    #[must_use]
    pub fn needs_logits(&self) -> bool {
        matches!(
            self.needs,
            Needs::Logits | Needs::LogitsAlone | Needs::HeadAndLogits | Needs::Members
        )
    }

    /// Whether features are needed; some detectors read logits alone.
    #[must_use]
    pub fn needs_features(&self) -> bool {
        !matches!(self.needs, Needs::LogitsAlone | Needs::Members)
    }

    /// Whether the logits of other networks are needed, see [`Inputs::with_members`](crate::Inputs::with_members).
    #[must_use]
    pub fn needs_members(&self) -> bool {
        self.needs == Needs::Members
    }

    /// Fits the detector.
    ///
    /// # Errors
    /// [`Error::NeedsHead`], [`Error::NeedsFeatures`], [`Error::NeedsLogits`] and whatever the detector's own `fit` says.
    pub fn fit(&self, train: &TrainInputs, settings: &Settings) -> Result<AnyDetector> {
        // Also those that keep nothing of the training set: a detector that cannot score is not made.
        if self.needs_head() {
            train.head()?;
        }
        if self.needs_features() && !train.inputs().has_features() {
            return Err(Error::NeedsFeatures);
        }
        if self.needs_logits() {
            train.inputs().logits_for()?;
        }
        (self.fit)(train, settings)
    }
}

/// Every detector, in the order of the tables.
#[must_use]
pub fn detectors() -> &'static [Entry] {
    ALL
}

macro_rules! table {
    ($($name:literal, $needs:ident, |$train:pat_param, $settings:pat_param| $fit:expr;)*) => {
        &[$(Entry {
            name: $name,
            needs: Needs::$needs,
            fit: |$train, $settings| Ok(AnyDetector::from($fit)),
        }),*]
    };
}

const ALL: &[Entry] = table! {
    "max_softmax", LogitsAlone, |_, _| MaxSoftmax;
    "softmax_entropy", LogitsAlone, |_, _| SoftmaxEntropy;
    "energy", LogitsAlone, |_, _| Energy;
    "max_logit", LogitsAlone, |_, _| MaxLogit;
    "feature_norm", Features, |_, _| FeatureNorm;
    "gmm_features", Features, |train, settings| gmm(train, GmmSpace::Features, settings)?;
    "gmm_logits", LogitsAlone, |train, settings| gmm(train, GmmSpace::Logits, settings)?;
    "gmm_em", Features, |train, settings| Em::fit(train, settings.em_components)?;
    "mahalanobis", Features, |train, _| mahalanobis(train, false, false)?;
    "relative_mahalanobis", Features, |train, _| mahalanobis(train, true, false)?;
    "mahalanobis_pp", Features, |train, _| mahalanobis(train, false, true)?;
    "relative_mahalanobis_pp", Features, |train, _| mahalanobis(train, true, true)?;
    "knn", Features, |train, settings| Knn::fit(train, at_most(settings.knn_neighbours, train))?;
    "vim", HeadAndLogits, |train, settings| Vim::fit(train, settings.vim_dimension)?;
    "residual", Head, |train, settings| Residual::fit(train, settings.vim_dimension)?;
    "neco", Features, |train, settings| Neco::fit(train, settings.neco_components)?;
    "nci", HeadAndLogits, |train, settings| Nci::fit(train, settings.nci_alpha)?;
    "fdbd", HeadAndLogits, |train, _| Fdbd::fit(train, FdbdScale::DistanceToMean)?;
    "gen", LogitsAlone, |_, settings| Gen::new(settings.gen_gamma, settings.gen_largest)?;
    "react", Head, |train, settings| React::fit(train, settings.react_percentile)?;
    "ash", Head, |train, settings| Ash::fit(train, settings.ash_variant, settings.ash_percentile)?;
    "scale", Head, |train, settings| Ash::fit(train, AshVariant::ScaleAll, settings.scale_percentile)?;
    "she", Logits, |train, _| She::fit(train)?;
    "nnguide", Logits, |train, settings| NnGuide::fit(train, at_most(settings.nnguide_neighbours, train))?;
    "dice", Head, |train, settings| Dice::fit(train, settings.dice_percentile)?;
    "kl_matching", LogitsAlone, |train, _| KlMatching::fit(train)?;
    "grad_norm", Logits, |_, _| GradNorm;
    "openmax", LogitsAlone, |train, settings| OpenMax::fit(train, settings.openmax_tail, settings.openmax_revised)?;
    "vra", Head, |train, settings| {
        Vra::fit(train, settings.vra_variant, settings.vra_lower_percentile, settings.vra_upper_percentile)?
    };
    "lts", Logits, |_, settings| Lts::new(settings.lts_share)?;
    "ensemble_entropy", Members, |_, _| Ensemble(EnsembleMeasure::Entropy);
    "ensemble_mutual_information", Members, |_, _| Ensemble(EnsembleMeasure::MutualInformation);
};

fn mahalanobis(train: &TrainInputs, relative: bool, normalize: bool) -> Result<Mahalanobis> {
    let options = MahalanobisOptions {
        relative,
        normalize,
        ..MahalanobisOptions::default()
    };
    Mahalanobis::fit(train, options)
}

fn gmm(train: &TrainInputs, space: GmmSpace, settings: &Settings) -> Result<Gmm> {
    Gmm::fit(train, space, settings.gmm_covariance, settings.gmm_jitter)
}

/// No more neighbours than training samples.
fn at_most(neighbours: usize, train: &TrainInputs) -> usize {
    neighbours.min(train.labels().len())
}
