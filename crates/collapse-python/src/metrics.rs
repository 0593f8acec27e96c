//! Detection, calibration and selective-prediction metrics.

use collapse_ood::metrics::{self, Bootstrap, Positive, Ranking};
use collapse_ood::{Error, Result};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pythonize::pythonize;
use serde::Serialize;

use crate::arrays::{Matrix, Vector, booleans, labels as label_vector};
use crate::counts::{count, resamples as resample_count};
use crate::errors::raise;

/// What a metric computes of scores of the two sets, ranked once.
fn of_ranking<T: Send>(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    metric: impl FnOnce(&Ranking) -> Result<T> + Send,
) -> PyResult<T> {
    let (id, ood) = (Vector::new("id", id)?, Vector::new("ood", ood)?);
    let (id, ood) = (id.as_slice(), ood.as_slice());
    let found = py.detach(|| metric(&Ranking::new(&id, &ood)?));
    found.map_err(raise)
}

/// What a metric computes of logits and labels.
fn of_logits<T: Send>(
    py: Python<'_>,
    logits: &Bound<'_, PyAny>,
    labels: &Bound<'_, PyAny>,
    metric: impl FnOnce(ndarray::ArrayView2<'_, f64>, &[usize]) -> Result<T> + Send,
) -> PyResult<T> {
    let logits = Matrix::new("logits", logits)?;
    let logits = logits.to_f64();
    let labels = label_vector("labels", labels)?;
    py.detach(|| metric(logits.view(), &labels)).map_err(raise)
}

fn positive(name: &str) -> PyResult<Positive> {
    match name {
        "id" => Ok(Positive::Id),
        "ood" => Ok(Positive::Ood),
        _ => Err(PyValueError::new_err(format!(
            "no positive class {name:?}: choose id or ood"
        ))),
    }
}

/// A level of an interval, between 0 and 1, and resamples of a bootstrap, which `name` gives.
fn bootstrap(name: &str, resamples: i128, level: f64, seed: i128) -> PyResult<Bootstrap> {
    Ok(Bootstrap {
        resamples: resample_count(name, resamples)?,
        level,
        seed: count("seed", seed)?,
    })
}

/// P(id > ood) + P(id = ood) / 2 of confidences ``id`` [N] and ``ood`` [M]: the AUROC, 0..1.
#[pyfunction]
pub fn auroc(py: Python<'_>, id: &Bound<'_, PyAny>, ood: &Bound<'_, PyAny>) -> PyResult<f64> {
    of_ranking(py, id, ood, |ranking| Ok(ranking.auroc()))
}

/// DeLong's interval (low, high) of the AUROC.
#[pyfunction]
#[pyo3(signature = (id, ood, *, level=0.95))]
pub fn auroc_interval(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    level: f64,
) -> PyResult<(f64, f64)> {
    let interval = of_ranking(py, id, ood, |ranking| ranking.delong_interval(level))?;
    Ok((interval.low, interval.high))
}

/// Average precision, 0..1, with ``positive`` "id" or "ood"; ``trapezoidal`` for the area by trapezoids, as OpenOOD has it.
#[pyfunction]
#[pyo3(signature = (id, ood, *, positive="id", trapezoidal=false))]
pub fn aupr(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    positive: &str,
    trapezoidal: bool,
) -> PyResult<f64> {
    let positive = self::positive(positive)?;
    of_ranking(py, id, ood, |ranking| {
        Ok(match trapezoidal {
            true => ranking.trapezoidal_aupr(positive),
            false => ranking.average_precision(positive),
        })
    })
}

/// False-positive rate, 0..1, at the threshold that accepts 95 % of the ``positive`` class, "id" or "ood". Papers use both.
#[pyfunction]
#[pyo3(signature = (id, ood, *, positive="id"))]
pub fn fpr95(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    positive: &str,
) -> PyResult<f64> {
    fpr_at_tpr(py, id, ood, 0.95, positive)
}

/// False-positive rate, 0..1, at the first threshold whose true-positive rate reaches ``tpr``.
#[pyfunction]
#[pyo3(signature = (id, ood, tpr, *, positive="id"))]
pub fn fpr_at_tpr(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    tpr: f64,
    positive: &str,
) -> PyResult<f64> {
    let positive = self::positive(positive)?;
    of_ranking(py, id, ood, |ranking| ranking.fpr_at_tpr(positive, tpr))
}

/// The least mean, 0..0.5, of the rejected share of ``id`` and the accepted share of ``ood`` over all thresholds.
#[pyfunction]
pub fn detection_error(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    of_ranking(py, id, ood, |ranking| Ok(ranking.detection_error()))
}

/// All detection figures from one sort.
#[derive(Serialize)]
struct Figures {
    #[serde(flatten)]
    detection: metrics::Detection,
    aupr_in_trapezoid: f64,
    aupr_out_trapezoid: f64,
    auroc_interval: Option<metrics::Interval>,
    bootstrap: Option<metrics::BootstrapIntervals>,
}

/// All detection figures of confidences ``id`` [N] and ``ood`` [M] from one sort, as a dict of shares, 0..1.
///
/// ``auroc_interval`` is DeLong's (None where a set has one sample); with ``bootstrap`` resamples, that key has an
/// interval of every figure.
#[pyfunction]
#[pyo3(signature = (id, ood, *, level=0.95, bootstrap=None, seed=0))]
pub fn detection<'py>(
    py: Python<'py>,
    id: &Bound<'py, PyAny>,
    ood: &Bound<'py, PyAny>,
    level: f64,
    bootstrap: Option<i128>,
    seed: i128,
) -> PyResult<Bound<'py, PyAny>> {
    let bootstrap = bootstrap
        .map(|resamples| self::bootstrap("bootstrap", resamples, level, seed))
        .transpose()?;
    let figures = of_ranking(py, id, ood, |ranking| {
        Ok(Figures {
            detection: ranking.detection(),
            aupr_in_trapezoid: ranking.trapezoidal_aupr(Positive::Id),
            aupr_out_trapezoid: ranking.trapezoidal_aupr(Positive::Ood),
            auroc_interval: match ranking.delong_interval(level) {
                Err(Error::Undefined { .. }) => None,
                interval => Some(interval?),
            },
            bootstrap: bootstrap
                .map(|bootstrap| bootstrap.intervals_of(ranking))
                .transpose()?,
        })
    })?;
    Ok(pythonize(py, &figures)?)
}

/// Bootstrap intervals of every detection figure, as a dict of dicts with ``low`` and ``high``; equal seeds give equal intervals.
#[pyfunction]
#[pyo3(signature = (id, ood, *, resamples=1000, level=0.95, seed=0))]
pub fn bootstrap_intervals<'py>(
    py: Python<'py>,
    id: &Bound<'py, PyAny>,
    ood: &Bound<'py, PyAny>,
    resamples: i128,
    level: f64,
    seed: i128,
) -> PyResult<Bound<'py, PyAny>> {
    let bootstrap = self::bootstrap("resamples", resamples, level, seed)?;
    let intervals = of_ranking(py, id, ood, |ranking| bootstrap.intervals_of(ranking))?;
    Ok(pythonize(py, &intervals)?)
}

/// Area under the risk–coverage curve, 0..1, smaller = better, of ``confidences`` [N] and whether each sample is ``correct`` [N].
#[pyfunction]
pub fn aurc(
    py: Python<'_>,
    confidences: &Bound<'_, PyAny>,
    correct: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    let confidences = Vector::new("confidences", confidences)?;
    let confidences = confidences.as_slice();
    let correct = booleans("correct", correct)?;
    py.detach(|| metrics::aurc(&confidences, &correct))
        .map_err(raise)
}

/// Share of rows of ``logits`` [N, C] whose greatest entry is the label, 0..1.
#[pyfunction]
pub fn accuracy(
    py: Python<'_>,
    logits: &Bound<'_, PyAny>,
    labels: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    of_logits(py, logits, labels, metrics::accuracy)
}

/// Mean negative log-likelihood in nats of ``logits`` [N, C] with ``labels`` [N].
#[pyfunction]
pub fn nll(py: Python<'_>, logits: &Bound<'_, PyAny>, labels: &Bound<'_, PyAny>) -> PyResult<f64> {
    of_logits(py, logits, labels, metrics::nll)
}

/// Expected calibration error, 0..1, of ``confidences`` [N] in 0..1 and whether each sample is ``correct`` [N], in equal bins.
#[pyfunction]
#[pyo3(signature = (confidences, correct, *, n_bins=15))]
pub fn ece(
    py: Python<'_>,
    confidences: &Bound<'_, PyAny>,
    correct: &Bound<'_, PyAny>,
    n_bins: i128,
) -> PyResult<f64> {
    let n_bins = count("n_bins", n_bins)?;
    let confidences = Vector::new("confidences", confidences)?;
    let confidences = confidences.as_slice();
    let correct = booleans("correct", correct)?;
    py.detach(|| metrics::expected_calibration_error(&confidences, &correct, n_bins))
        .map_err(raise)
}

/// ``accuracy``, ``mean_confidence``, ``ece`` (15 bins) and ``nll`` of ``logits`` [N, C] / ``temperature``, as a dict.
#[pyfunction]
#[pyo3(signature = (logits, labels, *, temperature=1.0))]
pub fn calibration<'py>(
    py: Python<'py>,
    logits: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    temperature: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let found = of_logits(py, logits, labels, |logits, labels| {
        metrics::calibration(logits, labels, temperature)
    })?;
    Ok(pythonize(py, &found)?)
}

/// The temperature of the least NLL of ``logits`` [N, C] with ``labels`` [N], to full precision.
#[pyfunction]
pub fn temperature(
    py: Python<'_>,
    logits: &Bound<'_, PyAny>,
    labels: &Bound<'_, PyAny>,
) -> PyResult<f64> {
    of_logits(py, logits, labels, metrics::temperature_optimum)
}

/// Interval (low, high) of a share of which ``hits`` of ``n`` samples were seen, after Clopper and Pearson.
#[pyfunction]
#[pyo3(signature = (hits, n, *, level=0.95))]
pub fn share_interval(hits: i128, n: i128, level: f64) -> PyResult<(f64, f64)> {
    let (hits, n) = (count("hits", hits)?, count("n", n)?);
    let share = metrics::share_interval(hits, n, level).map_err(raise)?;
    Ok((share.low, share.high))
}
