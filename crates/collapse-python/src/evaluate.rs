//! Every figure of one network as a dictionary.

use collapse_evaluate::{Error, Evaluation, FeatureSplits, Figures, Split, Standing};
use collapse_ood::metrics::Bootstrap;
use collapse_ood::{Fitted, Intervals, Note};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use pythonize::pythonize;
use serde::Serialize;

use crate::detectors::Detectors;
use crate::errors::raise;
use crate::sets::Set;
use crate::settings;

/// What is told beside the samples' scores, under the names of `scores.json`.
#[derive(Serialize)]
struct Scores<'a> {
    l2: bool,
    n_features: usize,
    level: f64,
    /// One line a score, the best first.
    standings: Vec<Standing>,
    #[serde(flatten)]
    figures: Figures<'a>,
    notes: Vec<&'a Note>,
}

/// Everything that can be said of one network: detectors fitted on ``train``, measured on ``test`` and every set of ``ood``.
///
/// Parameters
/// ----------
/// train : set or None
///     Features with labels, see ``Detectors.fit``; None with ``detectors`` fitted before.
/// test : set
///     In-distribution test samples; accuracy, calibration and risk–coverage need labels.
/// ood : mapping from names to sets
///     Out-of-distribution sets.
/// validation : set, optional
///     For the temperature.
/// detectors : sequence of str, or Detectors, optional
///     Names to fit, or fitted detectors.
/// l2, covariance, jitter, settings
///     As for ``Detectors.fit``.
/// level : float
///     Level of the intervals.
/// bootstrap : int, optional
///     Resamples of bootstrap intervals of every figure.
///
/// Returns
/// -------
/// dict
///     ``ood``: a list of dicts, one for every score and set, with ``auroc``, ``auroc_interval`` (DeLong), ``aupr_in``,
///     ``aupr_out``, ``fpr95_id_positive``, ``fpr95_ood_positive``, ``detection_error`` (shares, 0..1); ``accuracy``, ``ece``,
///     ``nll``, the same ``scaled`` by ``temperature``; ``risk_coverage``, ``generalised_risk_coverage``; ``geometry``;
///     ``density_agreement``; ``skipped`` and ``notes``; ``samples``: for every set a dict from names of scores to float64 arrays ``[N]``.
///
/// Raises
/// ------
/// ValueError
///     For sets that do not fit together, and where a detector asked for by name cannot be fitted.
#[pyfunction]
#[pyo3(signature = (
    train, test, ood, *, validation=None, detectors=None, l2=None, covariance="full", jitter=None, settings=None, level=0.95,
    bootstrap=None
))]
#[expect(
    clippy::too_many_arguments,
    reason = "keyword arguments of a Python function"
)]
pub fn evaluate<'py>(
    py: Python<'py>,
    train: Option<&Bound<'py, PyAny>>,
    test: &Bound<'py, PyAny>,
    ood: &Bound<'py, PyMapping>,
    validation: Option<&Bound<'py, PyAny>>,
    detectors: Option<&Bound<'py, PyAny>>,
    l2: Option<bool>,
    covariance: &str,
    jitter: Option<f64>,
    settings: Option<&Bound<'py, PyAny>>,
    level: f64,
    bootstrap: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let settings = settings::detectors(covariance, jitter, settings)?;
    let intervals = Intervals {
        level,
        bootstrap: bootstrap.map(|resamples| Bootstrap {
            resamples,
            level,
            ..Bootstrap::default()
        }),
    };
    let optional = |name: &str, set: Option<&Bound<'py, PyAny>>| {
        set.map(|set| Set::new(name, set)?.into_split(name))
            .transpose()
    };
    let splits = FeatureSplits {
        train: optional("train", train)?,
        validation: optional("validation", validation)?,
        test: Set::new("test", test)?.into_split("test")?,
        ood: named_sets(ood)?,
    };
    let asked = match detectors {
        None => Asked::All,
        Some(given) => match given.cast::<Detectors>() {
            Ok(fitted) => Asked::Fitted(Box::new(fitted.get().saved.clone())),
            Err(_) => Asked::Named(given.extract()?),
        },
    };
    let run = || -> Result<(Evaluation, bool, usize), Error> {
        let splits = splits.complete(l2)?;
        let fitted: Fitted = match asked {
            Asked::All => splits.fit_all(&settings)?,
            Asked::Named(names) => splits.fit_named(&settings, names.iter().map(String::as_str))?,
            Asked::Fitted(saved) => {
                saved.check_fits("the detectors", splits.test())?;
                saved.fitted
            }
        };
        let features = &splits.test().features;
        let (l2, n_features) = (features.l2(), features.n_features());
        Ok((splits.evaluate(fitted, &intervals)?, l2, n_features))
    };
    let (evaluation, l2, n_features) = py.detach(run).map_err(raise)?;
    let scores = Scores {
        l2,
        n_features,
        level,
        standings: evaluation.standings(&[], &[]),
        figures: evaluation.figures(),
        notes: evaluation.notes().collect(),
    };
    let figures = pythonize(py, &scores)?;
    figures.set_item("samples", samples(py, evaluation)?)?;
    Ok(figures)
}

/// Which detectors an evaluation takes.
enum Asked {
    All,
    Named(Vec<String>),
    Fitted(Box<collapse_evaluate::SavedDetectors>),
}

fn named_sets(ood: &Bound<'_, PyMapping>) -> PyResult<Vec<Split>> {
    let mut splits = Vec::new();
    for item in ood.items()? {
        let (name, set): (String, Bound<'_, PyAny>) = item.extract()?;
        splits.push(Set::unlabelled(&name, &set)?.into_split(&name)?);
    }
    Ok(splits)
}

/// Every score of every sample, handed over without a copy.
fn samples(py: Python<'_>, evaluation: Evaluation) -> PyResult<Bound<'_, PyDict>> {
    let samples = PyDict::new(py);
    for set in [evaluation.test].into_iter().chain(evaluation.ood) {
        let scores = PyDict::new(py);
        for (name, confidences) in set.scores {
            scores.set_item(name.as_str(), confidences.into_pyarray(py))?;
        }
        samples.set_item(set.set, scores)?;
    }
    Ok(samples)
}
