//! Gaussian densities over features.

use collapse_density as density;
use numpy::{IntoPyArray, PyArray1, PyArray2, ToPyArray};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::arrays::{Matrix, labels as label_vector, on_view};
use crate::counts::count;
use crate::errors::raise;
use crate::settings;

/// One Gaussian per class (DDU); the score of a sample is the log of the sum of its densities.
#[pyclass(frozen, module = "collapse.density")]
pub struct LabelledGaussianMixture {
    model: density::LabelledGaussianMixture,
}

#[pymethods]
impl LabelledGaussianMixture {
    /// Fits features ``[N, D]``, float32 or float64 in place, with labels ``[N]``.
    ///
    /// Parameters
    /// ----------
    /// features : array [N, D]
    /// labels : array [N]
    ///     Integers 0..C.
    /// covariance : str
    ///     full, tied, diagonal, ledoit-wolf, oas or low-rank.
    /// jitter : float, optional
    ///     Variance added to the diagonals; by default the first of DDU's ladder at which every class has a density.
    /// n_classes : int, optional
    ///     C; by default one more than the largest label.
    #[staticmethod]
    #[pyo3(signature = (features, labels, *, covariance="full", jitter=None, n_classes=None))]
    fn fit(
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        labels: &Bound<'_, PyAny>,
        covariance: &str,
        jitter: Option<f64>,
        n_classes: Option<i128>,
    ) -> PyResult<Self> {
        let features = Matrix::new("features", features)?;
        let labels = label_vector("labels", labels)?;
        let n_classes = n_classes.map(|n| count("n_classes", n)).transpose()?;
        let largest = labels.iter().max();
        let n_classes = n_classes.unwrap_or_else(|| largest.map_or(0, |label| label + 1));
        let params = density::LabelledGaussianMixture::params(n_classes)
            .covariance(settings::covariance(covariance, jitter)?)
            .jitter(settings::jitter(jitter));
        let fit = || params.check();
        let valid = fit().map_err(raise)?;
        let model = on_view!(features, |view| py.detach(|| valid.fit_view(view, &labels)))
            .map_err(raise)?;
        Ok(Self { model })
    }

    /// Log-densities of the mixture, float64 ``[N]``: larger = more in-distribution.
    fn score<'py>(
        &self,
        py: Python<'py>,
        features: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let features = Matrix::new("features", features)?;
        let scores = on_view!(features, |view| py.detach(|| self.model.score(view)));
        Ok(scores.map_err(raise)?.into_pyarray(py))
    }

    /// Log-densities of every class, float64 ``[N, C]``.
    fn log_density<'py>(
        &self,
        py: Python<'py>,
        features: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let features = Matrix::new("features", features)?;
        let found = on_view!(features, |view| py.detach(|| self.model.log_density(view)));
        Ok(found.map_err(raise)?.into_pyarray(py))
    }

    /// The class of the greatest posterior, int64 ``[N]``.
    fn predict<'py>(
        &self,
        py: Python<'py>,
        features: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let features = Matrix::new("features", features)?;
        let found = on_view!(features, |view| py.detach(|| self.model.predict(view)));
        let classes = found.map_err(raise)?;
        Ok(classes.mapv(|class| class as i64).into_pyarray(py))
    }

    /// The covariance of a class, float64 ``[D, D]``; None where the form keeps no matrix.
    ///
    /// Raises
    /// ------
    /// IndexError
    ///     For a class that is not there.
    fn covariance<'py>(
        &self,
        py: Python<'py>,
        class_index: isize,
    ) -> PyResult<Option<Bound<'py, PyArray2<f64>>>> {
        let n_classes = self.model.n_classes();
        let class = usize::try_from(class_index).ok();
        let class = class.filter(|class| *class < n_classes).ok_or_else(|| {
            PyIndexError::new_err(format!(
                "no class {class_index}: there are {n_classes}, give 0 to {}",
                n_classes - 1
            ))
        })?;
        let covariance = self.model.covariance(class);
        Ok(covariance.map(|covariance| covariance.into_pyarray(py)))
    }

    /// Class means, float64 ``[C, D]``.
    #[getter]
    fn means<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.model.class_means().to_pyarray(py)
    }

    /// Samples of every class.
    #[getter]
    fn counts(&self) -> Vec<usize> {
        self.model.counts().to_vec()
    }

    /// The variance that was added to the diagonals.
    #[getter]
    fn jitter(&self) -> f64 {
        self.model.jitter()
    }

    fn __repr__(&self) -> String {
        let (c, d) = (self.model.n_classes(), self.model.n_features());
        format!("LabelledGaussianMixture({c} classes, {d} features)")
    }
}

/// A mixture of Gaussians without labels, fitted by EM in whitened principal components.
#[pyclass(frozen, module = "collapse.density")]
pub struct EmMixture {
    model: density::EmMixture,
}

#[pymethods]
impl EmMixture {
    /// Fits features ``[N, D]``, float32 or float64 in place; equal features give equal models.
    ///
    /// Parameters
    /// ----------
    /// features : array [N, D]
    /// n_clusters : int
    ///     Number of Gaussians.
    /// n_components : int
    ///     Principal components kept.
    /// reg_covariance, tolerance, max_iterations
    ///     Variance added to the whitened covariances; change of the mean log-likelihood at which EM stops; its limit.
    #[staticmethod]
    #[pyo3(signature = (features, n_clusters, *, n_components=32, reg_covariance=1e-6, tolerance=1e-3, max_iterations=200))]
    fn fit(
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        n_clusters: i128,
        n_components: i128,
        reg_covariance: f64,
        tolerance: f64,
        max_iterations: i128,
    ) -> PyResult<Self> {
        let features = Matrix::new("features", features)?;
        let params = density::EmParams {
            n_clusters: count("n_clusters", n_clusters)?,
            n_components: count("n_components", n_components)?,
            reg_covariance,
            tolerance,
            max_iterations: count("max_iterations", max_iterations)?,
        };
        let model = on_view!(features, |view| py.detach(|| params.fit(view)));
        Ok(Self {
            model: model.map_err(raise)?,
        })
    }

    /// Log-densities, float64 ``[N]``: larger = more in-distribution.
    fn score<'py>(
        &self,
        py: Python<'py>,
        features: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let features = Matrix::new("features", features)?;
        let scores = on_view!(features, |view| py.detach(|| self.model.score(view)));
        Ok(scores.map_err(raise)?.into_pyarray(py))
    }

    /// Weights of the Gaussians, float64 ``[K]``.
    #[getter]
    fn weights<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.model.weights().into_pyarray(py)
    }

    fn __repr__(&self) -> String {
        format!("EmMixture({} clusters)", self.model.n_clusters())
    }
}
