//! Settings of the detectors.

use collapse_density::{Covariance, Jitter};
use serde::{Deserialize, Serialize};

use crate::detectors::{AshVariant, NecoComponents, VraVariant};

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
    /// Percentile of the contributions up to which DICE leaves weights out.
    pub dice_percentile: f64,
    /// Distances in the tail of each class of OpenMax (20 in its paper, 25 in pytorch-ood).
    pub openmax_tail: usize,
    /// Classes that OpenMax revises; at most all of them.
    pub openmax_revised: usize,
    /// Form of VRA.
    pub vra_variant: VraVariant,
    /// Percentile below which VRA suppresses activations.
    pub vra_lower_percentile: f64,
    /// Percentile at which VRA clips them.
    pub vra_upper_percentile: f64,
    /// Share of the activations whose sum LTS compares with that of all.
    pub lts_share: f64,
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
            dice_percentile: 90.0,
            openmax_tail: 25,
            openmax_revised: 10,
            vra_variant: VraVariant::Suppress,
            vra_lower_percentile: 50.0,
            vra_upper_percentile: 95.0,
            lts_share: 0.05,
        }
    }
}
