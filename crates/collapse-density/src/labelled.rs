//! The labelled Gaussian mixture: one Gaussian per class, score = log-sum-exp of the log-densities.

use collapse_numeric::{Cholesky, RowSource, argmax, matmul_nt};
use linfa::dataset::AsSingleTargets;
use linfa::traits::{Fit, PredictInplace};
use linfa::{DatasetBase, Float};
use ndarray::{Array1, Array2, ArrayBase, ArrayView1, ArrayView2, Axis, Data, Ix2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::factor::Factor;
use crate::fit::per_class;
use crate::params::{Covariance, Jitter, Params, ValidParams};
use crate::statistics::{PartialStatistics, stack_means};
use crate::tied::{Divisor, TiedGaussian};

/// A fitted labelled mixture of `C` Gaussians over `D` features.
///
/// It goes through serde; a file whose parts do not fit together is refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct LabelledGaussianMixture {
    pub(crate) params: ValidParams,
    pub(crate) counts: Vec<usize>,
    pub(crate) class_means: Array2<f64>,
    pub(crate) form: Form,
    pub(crate) log_determinants: Vec<f64>,
    jitter: f64,
    shrinkage: Option<Vec<f64>>,
}

/// What a file says about a mixture; it may say anything.
#[derive(Deserialize)]
struct Stored {
    params: ValidParams,
    counts: Vec<usize>,
    class_means: Array2<f64>,
    form: Form,
    log_determinants: Vec<f64>,
    jitter: f64,
    shrinkage: Option<Vec<f64>>,
}

impl TryFrom<Stored> for LabelledGaussianMixture {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        let (n_classes, d) = stored.class_means.dim();
        let dimensions: Vec<usize> = match &stored.form {
            Form::PerClass(factors) => factors.iter().map(Factor::dimension).collect(),
            Form::Shared(tied) => vec![tied.class_means().ncols(); tied.class_means().nrows()],
        };
        let fits = dimensions.len() == n_classes
            && dimensions.iter().all(|dimension| *dimension == d)
            && stored.counts.len() == n_classes
            && stored.log_determinants.len() == n_classes
            && stored.params.n_classes() == n_classes;
        if !fits {
            return Err(Error::Stored {
                n_classes,
                n_features: d,
            });
        }
        Ok(Self {
            params: stored.params,
            counts: stored.counts,
            class_means: stored.class_means,
            form: stored.form,
            log_determinants: stored.log_determinants,
            jitter: stored.jitter,
            shrinkage: stored.shrinkage,
        })
    }
}

/// Where the covariances live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Form {
    PerClass(Vec<Factor>),
    Shared(TiedGaussian),
}

impl ValidParams {
    /// Fits features `[N, D]` with one label per row.
    ///
    /// # Errors
    /// Wrong shapes, labels out of range, NaN or infinite features, classes with fewer than two samples (none, when the
    /// covariance is tied), singular covariances.
    pub fn fit_view<R: RowSource>(
        &self,
        features: R,
        labels: &[usize],
    ) -> Result<LabelledGaussianMixture> {
        if features.nrows() == 0 {
            return Err(Error::Empty);
        }
        let gather = || -> Result<PartialStatistics> {
            let mut statistics = self.streaming(features.ncols())?;
            statistics.update(&features, labels)?;
            Ok(statistics)
        };
        let statistics = gather()?;
        // The ladder needs the covariances until the last class has passed. Where none of them is expected to fail they become
        // their factors in place, which saves their memory; should one fail after all, they are computed again.
        if self.jitter() == Jitter::Ladder && statistics.looks_regular() {
            return match statistics.finish_at(Jitter::Fixed(0.0)) {
                Err(Error::Singular { .. }) => gather()?.finish(),
                outcome => outcome,
            };
        }
        statistics.finish()
    }

    /// Empty partial statistics for rows of `n_features` columns.
    ///
    /// # Errors
    /// [`Error::NoFeatures`] for zero columns.
    pub fn streaming(&self, n_features: usize) -> Result<PartialStatistics> {
        PartialStatistics::new(*self, n_features)
    }
}

impl<F, D, T> Fit<ArrayBase<D, Ix2>, T, Error> for ValidParams
where
    F: Float,
    D: Data<Elem = F>,
    T: AsSingleTargets<Elem = usize>,
{
    type Object = LabelledGaussianMixture;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Self::Object> {
        let labels = dataset.as_single_targets().to_vec();
        self.fit_view(dataset.records().view(), &labels)
    }
}

impl PartialStatistics {
    /// Turns the statistics into a model.
    ///
    /// # Errors
    /// Classes with fewer than two samples (none, when the covariance is tied), singular covariances, squares beyond
    /// the range of f64.
    pub fn finish(self) -> Result<LabelledGaussianMixture> {
        let jitter = self.params().jitter();
        self.finish_at(jitter)
    }

    fn finish_at(self, jitter: Jitter) -> Result<LabelledGaussianMixture> {
        let (params, counts) = (*self.params(), self.counts());
        if counts.iter().all(|count| *count == 0) {
            return Err(Error::Empty);
        }
        let n_classes = counts.len();
        if params.covariance() == Covariance::Tied {
            let tied = TiedGaussian::from_statistics(self, Divisor::Unbiased, jitter)?;
            return Ok(LabelledGaussianMixture {
                params,
                counts,
                class_means: tied.class_means().to_owned(),
                log_determinants: vec![tied.cholesky().log_determinant(); n_classes],
                jitter: tied.jitter(),
                shrinkage: None,
                form: Form::Shared(tied),
            });
        }
        if let Some(class) = counts.iter().position(|count| *count < 2) {
            return Err(Error::TooFewSamples {
                class,
                samples: counts[class],
                needed: 2,
            });
        }
        let n_features = self.n_features();
        let (classes, _) = self.into_parts();
        let class_means = stack_means(&classes, n_features);
        let fitted = per_class(classes, params.covariance(), jitter)?;
        Ok(LabelledGaussianMixture {
            params,
            counts,
            class_means,
            log_determinants: fitted.factors.iter().map(Factor::log_determinant).collect(),
            form: Form::PerClass(fitted.factors),
            jitter: fitted.jitter,
            shrinkage: fitted.shrinkage,
        })
    }
}

impl LabelledGaussianMixture {
    /// Parameters with DDU's defaults for `n_classes` classes.
    #[must_use]
    pub fn params(n_classes: usize) -> Params {
        Params::new(n_classes)
    }

    /// Empty partial statistics with DDU's defaults; other parameters: [`ValidParams::streaming`].
    ///
    /// # Errors
    /// Zero classes or zero features.
    pub fn streaming(n_classes: usize, n_features: usize) -> Result<PartialStatistics> {
        Params::new(n_classes).check()?.streaming(n_features)
    }

    /// Number of classes.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.counts.len()
    }

    /// Number of features.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.class_means.ncols()
    }

    /// Parameters of the fit.
    #[must_use]
    pub fn parameters(&self) -> &ValidParams {
        &self.params
    }

    /// Training samples per class.
    #[must_use]
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Class means, `[C, D]`.
    #[must_use]
    pub fn class_means(&self) -> ArrayView2<'_, f64> {
        self.class_means.view()
    }

    /// Log-determinants of the class covariances, jitter included, `[C]`.
    #[must_use]
    pub fn log_determinants(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.log_determinants[..])
    }

    /// Cholesky factor of the covariance of `class_idx`, jitter included; `None` outside `0..C` and for the diagonal
    /// and low-rank forms.
    #[must_use]
    pub fn cholesky(&self, class_idx: usize) -> Option<&Cholesky> {
        match &self.form {
            Form::Shared(tied) => (class_idx < self.n_classes()).then(|| tied.cholesky()),
            Form::PerClass(factors) => match factors.get(class_idx)? {
                Factor::Full(cholesky) => Some(cholesky),
                Factor::Diagonal(_) | Factor::LowRank(_) => None,
            },
        }
    }

    /// Covariance of `class_idx` with its jitter, `[D, D]`; `None` outside `0..C`.
    #[must_use]
    pub fn covariance(&self, class_idx: usize) -> Option<Array2<f64>> {
        let root = self.square_root(class_idx)?;
        matmul_nt(root.view(), root.view()).ok()
    }

    /// What was added to every diagonal (the ridge for the low-rank form).
    #[must_use]
    pub fn jitter(&self) -> f64 {
        self.jitter
    }

    /// Shrinkage weights per class, where the covariance is shrunk.
    #[must_use]
    pub fn shrinkage(&self) -> Option<&[f64]> {
        self.shrinkage.as_deref()
    }

    /// Logarithms of the class frequencies, `[C]`.
    #[must_use]
    pub fn log_priors(&self) -> Array1<f64> {
        let total: usize = self.counts.iter().sum();
        self.counts
            .iter()
            .map(|n| (*n as f64 / total as f64).ln())
            .collect()
    }

    /// Class of the largest log-density per row, `[N]`; the lowest index among equals.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn predict<R: RowSource>(&self, features: R) -> Result<Array1<usize>> {
        let densities = self.log_density(features)?;
        Ok(densities.rows().into_iter().map(argmax).collect())
    }

    /// Rows of class `class_idx` from rows of independent standard normal numbers, `[N, D]`.
    ///
    /// # Errors
    /// A class outside `0..C`, or another number of columns.
    pub fn sample(&self, class_idx: usize, normals: ArrayView2<f64>) -> Result<Array2<f64>> {
        let Some(root) = self.square_root(class_idx) else {
            return Err(Error::Parameter {
                name: "class_idx",
                value: class_idx.to_string(),
                expected: "an index below the number of classes",
            });
        };
        Ok(matmul_nt(normals, root.view())? + self.class_means.row(class_idx))
    }

    fn square_root(&self, class_idx: usize) -> Option<Array2<f64>> {
        match &self.form {
            Form::Shared(tied) => {
                (class_idx < self.n_classes()).then(|| tied.cholesky().to_dense())
            }
            Form::PerClass(factors) => factors.get(class_idx).map(Factor::square_root),
        }
    }
}

/// `predict` on linfa's data sets: the class of the largest log-density. A row that cannot be evaluated (NaN, infinite)
/// gets the index `n_classes`; use [`LabelledGaussianMixture::predict`] for a typed error.
impl<F: Float, D: Data<Elem = F>> PredictInplace<ArrayBase<D, Ix2>, Array1<usize>>
    for LabelledGaussianMixture
{
    fn predict_inplace(&self, features: &ArrayBase<D, Ix2>, target: &mut Array1<usize>) {
        if let Ok(classes) = LabelledGaussianMixture::predict(self, features.view()) {
            target.assign(&classes);
            return;
        }
        for (row, target) in features.axis_chunks_iter(Axis(0), 1).zip(target) {
            *target = LabelledGaussianMixture::predict(self, row)
                .ok()
                .and_then(|classes| classes.first().copied())
                .unwrap_or(self.n_classes());
        }
    }

    fn default_target(&self, features: &ArrayBase<D, Ix2>) -> Array1<usize> {
        Array1::zeros(features.nrows())
    }
}
