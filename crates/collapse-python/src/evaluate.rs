//! Every figure of one network as a dictionary, and as a page.

use std::io::Write;
use std::path::{Path, PathBuf};

use collapse_evaluate::{
    CompleteSplits, Evaluation, FeatureSplits, Figures, SavedDetectors, Split, Standing,
};
use collapse_files::Replacement;
use collapse_ood::metrics::Bootstrap;
use collapse_ood::{Fitted, Intervals, Note};
use collapse_page::{Made, Report, notes_on_detectors, notes_on_sets};
use numpy::IntoPyArray;
use pyo3::exceptions::{PyIsADirectoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use pythonize::pythonize;
use serde::Serialize;

use crate::call::Call;
use crate::counts::resamples;
use crate::detectors::{CODE_VERSION, Detectors};
use crate::errors::raise;
use crate::sets::Set;
use crate::settings;

/// Level of the intervals where none is given.
const LEVEL: f64 = 0.95;

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

/// A page in the place of a set would cost the set.
fn refuse_input<'a>(page: &Path, inputs: impl IntoIterator<Item = &'a Split>) -> PyResult<()> {
    let Ok(place) = page.canonicalize() else {
        return Ok(());
    };
    let within = |set: &&Split| {
        Path::new(&set.origin)
            .canonicalize()
            .is_ok_and(|set| place.starts_with(set))
    };
    match inputs.into_iter().find(within) {
        None => Ok(()),
        Some(set) => Err(PyValueError::new_err(format!(
            "page={}: this is the set {}; give the page a place of its own",
            page.display(),
            set.origin
        ))),
    }
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
/// page : str or path, optional
///     Where to write the same as one self-contained HTML page with tables and figures; a file that is there is replaced.
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
/// OSError
///     For a page that cannot be written, before anything is computed.
#[pyfunction]
#[pyo3(signature = (
    train, test, ood, *, validation=None, detectors=None, l2=None, covariance="full", jitter=None, settings=None, level=0.95,
    bootstrap=None, page=None
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
    bootstrap: Option<i128>,
    page: Option<PathBuf>,
) -> PyResult<Bound<'py, PyAny>> {
    // Begun first: a place that cannot be written costs no evaluation.
    let page = page.as_deref().map(begin).transpose()?;
    let call = Call::new("collapse.evaluate")
        .set("train", train)?
        .set("test", Some(test))?
        .sets(ood)?
        .named("validation", validation)?;
    let call = match detectors {
        Some(fitted) if fitted.is_instance_of::<Detectors>() => {
            call.named("detectors", Some(fitted))?
        }
        names => call.keyword(py, "detectors", names)?,
    };
    let call = call
        .keyword(py, "l2", l2)?
        .keyword(
            py,
            "covariance",
            (covariance != "full").then_some(covariance),
        )?
        .keyword(py, "jitter", jitter)?
        .keyword(py, "settings", settings)?
        .keyword(py, "level", (level != LEVEL).then_some(level))?
        .keyword(py, "bootstrap", bootstrap)?
        .keyword(
            py,
            "page",
            page.as_ref().map(|file| file.path().display().to_string()),
        )?;
    let settings = settings::detectors(covariance, jitter, settings)?;
    let intervals = Intervals {
        level,
        bootstrap: bootstrap
            .map(|given| resamples("bootstrap", given))
            .transpose()?
            .map(|resamples| Bootstrap {
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
    if let Some(file) = &page {
        let fitted = splits.train.iter().chain(&splits.validation);
        let inputs = fitted.chain([&splits.test]).chain(&splits.ood);
        refuse_input(file.path(), inputs)?;
    }
    let asked = match detectors {
        None => Asked::All,
        Some(given) => match given.cast::<Detectors>() {
            Ok(fitted) => Asked::Fitted(Box::new(fitted.get().saved.clone())),
            Err(_) => Asked::Named(given.extract()?),
        },
    };
    let run = || -> PyResult<(Evaluation, bool, usize)> {
        let splits = splits.complete(l2).map_err(raise)?;
        let mut fitted_on = fitted_on(&splits);
        let mut held_out = None;
        let fitted: Fitted = match asked {
            Asked::All => splits.fit_all(&settings).map_err(raise)?,
            Asked::Named(names) => splits
                .fit_named(&settings, names.iter().map(String::as_str))
                .map_err(raise)?,
            Asked::Fitted(saved) => {
                saved
                    .check_fits("the detectors", splits.test())
                    .map_err(raise)?;
                fitted_on.push(("Detectors", format!("fitted by {}", saved.code_version)));
                held_out = Some(saved.held_out);
                saved.fitted
            }
        };
        let evaluation = splits.evaluate(fitted, &intervals).map_err(raise)?;
        if let Some(file) = page {
            let held_out = match held_out {
                Some(held_out) => held_out,
                None if splits.ood().is_empty() => {
                    splits.held_out(&evaluation.fitted).map_err(raise)?
                }
                None => Vec::new(),
            };
            let mut notes = notes_on_detectors(&splits, &evaluation, "covariance");
            notes.extend(notes_on_sets(&splits));
            let report = Report {
                splits: &splits,
                evaluation: &evaluation,
                held_out: &held_out,
                standings: evaluation.standings(&[], &[]),
                notes,
            };
            let html = report.page(&Made {
                fitted: fitted_on,
                code_version: CODE_VERSION,
                call: &call.text(),
                numbers: "Every number of this page, unrounded, and every score of every sample stand in the dictionary that the call returns.",
            });
            finish(file, &html.map_err(raise)?)?;
        }
        let features = &splits.test().features;
        Ok((evaluation, features.l2(), features.n_features()))
    };
    let (evaluation, l2, n_features) = py.detach(run)?;
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

/// A page on its way to a file.
fn begin(path: &Path) -> PyResult<Replacement> {
    if path.is_dir() {
        return Err(PyIsADirectoryError::new_err(format!(
            "cannot write {}: it is a folder; give page the name of a file",
            path.display()
        )));
    }
    Replacement::begin(path).map_err(raise)
}

fn finish(mut file: Replacement, html: &str) -> PyResult<()> {
    file.write_all(html.as_bytes())?;
    file.finish().map_err(raise)
}

/// The sets behind the detectors, as a page names them.
fn fitted_on(splits: &CompleteSplits) -> Vec<(&'static str, String)> {
    let described = |set: &Split| format!("{}, {} samples", set.origin, set.features.n_samples());
    let sets = [
        ("Training split", splits.train()),
        ("Validation split", splits.validation()),
    ];
    let given = sets.into_iter();
    given
        .filter_map(|(name, set)| Some((name, described(set?))))
        .collect()
}

/// Which detectors an evaluation takes.
enum Asked {
    All,
    Named(Vec<String>),
    Fitted(Box<SavedDetectors>),
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
