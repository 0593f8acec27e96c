//! Settings of the detectors.

use collapse_density::{Covariance, Jitter};
use serde::{Deserialize, Serialize};

use crate::detectors::{AshVariant, NecoComponents};

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
