//! The Mahalanobis family: one covariance for all classes.

use collapse_density::{Divisor, TiedGaussian};
use collapse_numeric::{RowSource, RowsView, covariance, mean, rows_by_class};
use collapse_results::ScoreId;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::error::Result;
use crate::inputs::{Inputs, TrainInputs};

/// What the distances are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum PooledCovariance {
    /// Pooled scatter / N, with a jitter only where it is singular.
    #[default]
    MaximumLikelihood,
    /// Pooled scatter, not divided, + `ridge` · I, and the nearest distance halved in the form that is not relative.
    /// Source: pytorch-ood 0.4.0, whose ridge is 1e-6.
    Scatter {
        /// Added to the diagonal, > 0.
        ridge: f64,
    },
}

/// Which member of the family.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MahalanobisOptions {
    /// Subtract the distance to a single Gaussian of all samples.
    pub relative: bool,
    /// Normalise the features first, in fitting and in scoring.
    pub normalize: bool,
    /// What the distances are measured in.
    pub covariance: PooledCovariance,
}

impl MahalanobisOptions {
    fn rows<'a>(self, inputs: &Inputs<'a>) -> RowsView<'a> {
        match self.normalize {
            true => inputs.rows().normalized(),
            false => inputs.head_rows(),
        }
    }

    fn id(self) -> ScoreId {
        ScoreId::new(match (self.relative, self.normalize) {
            (false, false) => "mahalanobis",
            (true, false) => "relative_mahalanobis",
            (false, true) => "mahalanobis_pp",
            (true, true) => "relative_mahalanobis_pp",
        })
    }

    fn features<'a>(self, inputs: &'a Inputs) -> ArrayView2<'a, f64> {
        if self.normalize {
            inputs.normalized()
        } else {
            inputs.head_features()
        }
    }
}

/// −min_c (z − μ_c)ᵀ Σ⁻¹ (z − μ_c), with one covariance for all classes; the relative form adds the squared distance to
/// the Gaussian of all samples, the `++` forms normalise z.
///
/// Source: Lee et al. (2018); Ren et al., *A Simple Fix to Mahalanobis Distance* (2021); Mueller and Hein,
/// *Mahalanobis++* (arXiv 2505.18032).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mahalanobis {
    options: MahalanobisOptions,
    classes: TiedGaussian,
    background: Option<TiedGaussian>,
}

impl Mahalanobis {
    /// Fits the means of the classes that occur among the labels, and the covariance.
    ///
    /// # Errors
    /// [`Error::Density`](crate::Error::Density).
    pub fn fit(train: &TrainInputs, options: MahalanobisOptions) -> Result<Self> {
        let features = options.rows(train.inputs());
        let everything = vec![0; features.nrows()];
        let gaussian = |labels: &[usize], n_classes| match options.covariance {
            PooledCovariance::MaximumLikelihood => Ok(TiedGaussian::fit(
                features,
                labels,
                n_classes,
                Divisor::Samples,
            )?),
            PooledCovariance::Scatter { ridge } => {
                scatter_gaussian(features, labels, n_classes, ridge)
            }
        };
        let classes = gaussian(train.class_indices(), train.classes().len())?;
        let background = if options.relative {
            Some(gaussian(&everything, 1)?)
        } else {
            None
        };
        Ok(Self {
            options,
            classes,
            background,
        })
    }

    /// The jitter without which a covariance would be singular; 0 where none is.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        let background = self.background.as_ref().map_or(0.0, TiedGaussian::jitter);
        self.classes.jitter().max(background)
    }
}

fn scatter_gaussian(
    features: RowsView,
    labels: &[usize],
    n_classes: usize,
    ridge: f64,
) -> Result<TiedGaussian> {
    let d = features.ncols();
    let mut means = Array2::zeros((n_classes, d));
    let mut scatter = Array2::zeros((d, d));
    for (class, rows) in rows_by_class(labels, labels.len(), n_classes)?
        .iter()
        .enumerate()
    {
        let members = features.select(rows);
        let center = mean(members.view())?;
        scatter += &covariance(members.view(), center.view(), 1.0)?;
        means.row_mut(class).assign(&center);
    }
    scatter.diag_mut().mapv_inplace(|value| value + ridge);
    Ok(TiedGaussian::new(means, scatter.view())?)
}

impl Detector for Mahalanobis {
    fn id(&self) -> ScoreId {
        self.options.id()
    }

    fn compute(&self, inputs: &Inputs) -> Result<Array1<f64>> {
        let features = self.options.features(inputs);
        let nearest = |row: ArrayView1<f64>| row.iter().copied().fold(f64::INFINITY, f64::min);
        let mut score: Array1<f64> = {
            let squared = self.classes.squared_distances(features)?;
            squared
                .rows()
                .into_iter()
                .map(|row| -nearest(row))
                .collect()
        };
        match &self.background {
            Some(background) => score += &background.squared_distances(features)?.column(0),
            None if self.options.covariance != PooledCovariance::MaximumLikelihood => score *= 0.5,
            None => {}
        }
        Ok(score)
    }
}
