//! Class-wise Gaussians: the score of DDU, and one with priors.

use collapse_density::{Covariance, Jitter, LabelledGaussianMixture, TiedGaussian};
use collapse_numeric::{RowSource, covariance, log_sum_exp, mean, rows_by_class};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Inputs, TrainInputs};

/// Where the Gaussians live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GmmSpace {
    /// On what the head saw: ẑ with L2, else z.
    Features,
    /// On the logits.
    Logits,
}

impl GmmSpace {
    fn id(self) -> ScoreId {
        match self {
            Self::Features => ScoreId::GMM_FEATURES,
            Self::Logits => ScoreId::GMM_LOGITS,
        }
    }

    fn of<'a>(self, inputs: &'a Inputs) -> Result<ArrayView2<'a, f64>> {
        match self {
            Self::Features => Ok(inputs.head_features()),
            Self::Logits => inputs.logits_for(),
        }
    }
}

/// ln Σ_c N(z; μ_c, Σ_c): the density of DDU.
///
/// Source: Mukhoti et al., *Deep Deterministic Uncertainty* (2023), `utils/gmm_utils.py`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gmm {
    space: GmmSpace,
    mixture: LabelledGaussianMixture,
}

impl Gmm {
    /// Fits one Gaussian to every class that occurs among the labels.
    ///
    /// # Errors
    /// [`Error::Density`](crate::Error::Density) names class, samples, dimension and remedy;
    /// [`Error::NeedsLogits`](crate::Error::NeedsLogits).
    pub fn fit(
        train: &TrainInputs,
        space: GmmSpace,
        covariance: Covariance,
        jitter: Jitter,
    ) -> Result<Self> {
        let params = LabelledGaussianMixture::params(train.classes().len())
            .covariance(covariance)
            .jitter(jitter)
            .check()?;
        let (inputs, classes) = (train.inputs(), train.class_indices());
        let mixture = match space {
            GmmSpace::Features => params.fit_view(inputs.head_rows(), classes),
            GmmSpace::Logits => params.fit_view(inputs.logits_for()?, classes),
        };
        Ok(Self {
            space,
            mixture: mixture.map_err(|error| error.with_labels(train.classes()))?,
        })
    }

    /// The fitted mixture, with its chosen jitter.
    #[must_use]
    pub fn mixture(&self) -> &LabelledGaussianMixture {
        &self.mixture
    }
}

impl Detector for Gmm {
    fn id(&self) -> ScoreId {
        self.space.id()
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        Ok(self.mixture.score(self.space.of(inputs)?)?)
    }
}

/// ln Σ_c (n_c / N) N(z; μ_c, Σ_c + ridge · I) with maximum-likelihood covariances (divisor n_c).
///
/// Source: pytorch-ood 0.4.0, whose ridge is 1e-6.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GmmWithPriors {
    classes: Vec<TiedGaussian>,
    log_weights: Vec<f64>,
}

impl GmmWithPriors {
    /// Fits one Gaussian to every class that occurs among the labels, with `ridge` ≥ 0 on the diagonals.
    ///
    /// # Errors
    /// [`Error::Density`](crate::Error::Density).
    pub fn fit(train: &TrainInputs, ridge: f64) -> Result<Self> {
        let features = train.inputs().head_rows();
        let (n, d) = features.dim();
        let mut detector = Self {
            classes: Vec::new(),
            log_weights: Vec::new(),
        };
        for rows in rows_by_class(train.class_indices(), n, train.classes().len())? {
            let members = features.select(&rows);
            let mean = mean(members.view())?;
            let mut sigma = covariance(members.view(), mean.view(), rows.len() as f64)?;
            sigma.diag_mut().mapv_inplace(|variance| variance + ridge);
            let gaussian = TiedGaussian::new(mean.insert_axis(Axis(0)), sigma.view())?;
            let constant =
                d as f64 * std::f64::consts::TAU.ln() + gaussian.cholesky().log_determinant();
            detector
                .log_weights
                .push((rows.len() as f64 / n as f64).ln() - 0.5 * constant);
            detector.classes.push(gaussian);
        }
        Ok(detector)
    }
}

impl Detector for GmmWithPriors {
    fn id(&self) -> ScoreId {
        ScoreId::new("gmm_priors")
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = inputs.head_features();
        let mut terms = Array2::zeros((features.nrows(), self.classes.len()));
        for ((gaussian, weight), mut term) in self
            .classes
            .iter()
            .zip(&self.log_weights)
            .zip(terms.columns_mut())
        {
            let squared = gaussian.squared_distances(features)?;
            term.assign(&squared.column(0).mapv(|squared| weight - 0.5 * squared));
        }
        Ok(terms.rows().into_iter().map(log_sum_exp).collect())
    }
}
