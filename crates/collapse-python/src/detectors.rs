//! Fitted detectors: scores and decisions.

use std::path::PathBuf;

use collapse_evaluate::{Error, FeatureSplits, SavedDetectors, Split};
use collapse_features::{FeatureSet, Head};
use collapse_ood::{Detector, Entry, Inputs, ScoreId, detectors as entries, metrics};
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::Vector;
use crate::errors::raise;
use crate::sets::{Scorable, Set};
use crate::settings;

/// Version of this module.
pub const CODE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (Python)");

/// The names of all detectors, in the order of the tables.
#[pyfunction]
pub fn detector_names() -> Vec<String> {
    let entries = collapse_ood::detectors().iter();
    entries.map(|entry| entry.id().to_string()).collect()
}

/// Detectors fitted on one network's training features.
///
/// A *set* is a float array ``[N, D]`` of features (numpy, torch on the CPU, anything with ``__array__`` or DLPack), a
/// mapping with the keys ``features``, ``labels``, ``logits``, ``weight``, ``bias``, ``l2``, or the path of a feature file.
/// Every score is a confidence: larger means more in-distribution.
#[pyclass(frozen, module = "collapse")]
pub struct Detectors {
    pub saved: SavedDetectors,
}

#[pymethods]
impl Detectors {
    /// Fits detectors on a training set with labels.
    ///
    /// Parameters
    /// ----------
    /// train : set
    ///     Features ``[N, D]`` (the input of the last layer, before any normalisation), labels ``[N]``; logits ``[N, C]`` or the
    ///     head, weight ``[C, D]`` and bias ``[C]``, for the detectors that read them.
    /// validation : set, optional
    ///     Held-out in-distribution samples, from which ``decide`` takes its thresholds.
    /// detectors : sequence of str, optional
    ///     Names to fit (see ``detector_names()``). By default all that the set allows; the rest are told by ``skipped``.
    /// l2 : bool, optional
    ///     Whether the head sees features of unit length; by default what the sets say, else False.
    /// covariance : str
    ///     Of the class Gaussians: full, tied, diagonal, ledoit-wolf, oas or low-rank.
    /// jitter : float, optional
    ///     Variance added to their diagonals; by default DDU's ladder (for low-rank the ridge, 1e-6).
    /// settings : mapping, optional
    ///     Other settings, e.g. ``{"knn_neighbours": 20}``.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     For sets that do not fit together, and where a detector asked for by name cannot be fitted.
    #[staticmethod]
    #[pyo3(signature = (train, *, validation=None, detectors=None, l2=None, covariance="full", jitter=None, settings=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of a Python function"
    )]
    fn fit(
        py: Python<'_>,
        train: &Bound<'_, PyAny>,
        validation: Option<&Bound<'_, PyAny>>,
        detectors: Option<Vec<String>>,
        l2: Option<bool>,
        covariance: &str,
        jitter: Option<f64>,
        settings: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let settings = settings::detectors(covariance, jitter, settings)?;
        let train = Set::new("train", train)?.into_split("train")?;
        let validation = match validation {
            Some(set) => Some(Set::new("validation", set)?.into_split("validation")?),
            None => None,
        };
        // An evaluation has a test split; where detectors are only fitted, one row stands for it.
        let first = train.features.features.view().slice(0..1).to_matrix();
        let splits = FeatureSplits {
            test: Split::new("test", FeatureSet::new(first)),
            train: Some(train),
            validation,
            ood: Vec::new(),
        };
        let fit = || -> Result<SavedDetectors, Error> {
            let splits = splits.complete(l2)?;
            let fitted = match &detectors {
                Some(names) => splits.fit_named(&settings, names.iter().map(String::as_str))?,
                None => splits.fit_all(&settings)?,
            };
            SavedDetectors::of(&splits, fitted, CODE_VERSION).with_held_out(&splits)
        };
        let saved = py.detach(fit).map_err(raise)?;
        Ok(Self { saved })
    }

    /// Reads detectors that ``save``, or ``collapse score --save``, wrote.
    ///
    /// Raises
    /// ------
    /// OSError
    ///     For a file that cannot be read.
    /// ValueError
    ///     For one that was damaged or holds something else.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let saved = py.detach(|| SavedDetectors::read(&path)).map_err(raise)?;
        Ok(Self { saved })
    }

    /// Writes the detectors to a file: JSON where the name ends in ``.json``, else the much smaller MessagePack.
    ///
    /// Raises
    /// ------
    /// OSError
    ///     For a file that cannot be written.
    /// ValueError
    ///     For JSON of a detector with a number that is not finite.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| self.saved.write(&path)).map_err(raise)
    }

    /// The confidences of a set: a dict from names to float64 arrays ``[N]``; larger = more in-distribution.
    ///
    /// Features in float64 or float32 are read in place, in any layout; labels are not read. Where the set has neither logits nor a head,
    /// logits follow from the training set's head. Without ``detectors`` all that were fitted score, and a warning
    /// names those that cannot.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     For a set of another network, and where a detector asked for by name cannot score it.
    #[pyo3(signature = (set, detectors=None))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        set: &Bound<'py, PyAny>,
        detectors: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let names = match &detectors {
            Some(names) => names.clone(),
            None => self.names(),
        };
        let set = Set::unlabelled("input", set)?;
        let set = set.scorable("input", self.saved.l2, self.head_for(&names))?;
        let found = py.detach(|| self.confidences(&set, &names))?;
        let scores = PyDict::new(py);
        let mut without = Vec::new();
        for (name, outcome) in found {
            match outcome {
                Ok(confidences) => {
                    scores.set_item(name.as_str(), confidences.into_pyarray(py))?;
                }
                Err(error) if detectors.is_none() => without.push(format!("{name}: {error}")),
                Err(error) => {
                    return Err(raise(Error::In {
                        origin: format!("{}: {name}", set.origin),
                        source: error,
                    }));
                }
            }
        }
        if !without.is_empty() {
            let text = c_text(&format!(
                "in {} without {}",
                set.origin,
                without.join("; without ")
            ));
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)?;
        }
        Ok(scores)
    }

    /// Accepts or rejects every sample of a set, by one detector.
    ///
    /// The threshold is conformal: of fresh in-distribution samples at least the share ``accept`` is accepted in expectation.
    ///
    /// Parameters
    /// ----------
    /// set : set
    ///     Samples to decide of; no labels are needed.
    /// detector : str, optional
    ///     By default ``gmm_features`` where it was fitted, else the first.
    /// accept : float
    ///     Between 0 and 1.
    /// level : float
    ///     Level of the interval of the threshold's own share.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     Without a validation set at ``fit``, for a set of another network, and for samples that the detector cannot score.
    #[pyo3(signature = (set, detector=None, *, accept=0.95, level=0.95))]
    fn decide(
        &self,
        py: Python<'_>,
        set: &Bound<'_, PyAny>,
        detector: Option<String>,
        accept: f64,
        level: f64,
    ) -> PyResult<Decisions> {
        let detector = detector.unwrap_or_else(|| self.main_detector());
        let threshold = self.threshold(py, &detector, accept, level)?;
        let names = [detector];
        let set = Set::unlabelled("input", set)?;
        let set = set.scorable("input", self.saved.l2, self.head_for(&names))?;
        let found = py.detach(|| self.confidences(&set, &names))?;
        let [detector] = names;
        let Some((_, confidences)) = found.into_iter().next() else {
            return Err(PyValueError::new_err(format!("no detector {detector}")));
        };
        let within = |source| Error::In {
            origin: set.origin.clone(),
            source,
        };
        let confidences = confidences.map_err(|error| raise(within(error)))?;
        let accepted = confidences.mapv(|confidence| threshold.inner.accepts(confidence));
        Ok(Decisions {
            detector,
            n_rejected: accepted.iter().filter(|accepted| !**accepted).count(),
            confidences: confidences.into_pyarray(py).unbind(),
            accepted: accepted.into_pyarray(py).unbind(),
            threshold,
        })
    }

    /// The threshold by which ``decide`` accepts, from the validation set that ``fit`` was given.
    #[pyo3(signature = (detector, *, accept=0.95, level=0.95))]
    fn threshold(
        &self,
        py: Python<'_>,
        detector: &str,
        accept: f64,
        level: f64,
    ) -> PyResult<Threshold> {
        let mut skipped = self.saved.fitted.skipped.iter();
        if let Some(skipped) = skipped.find(|skipped| skipped.name.as_str() == detector) {
            let message = format!("{detector} was not fitted: {}", skipped.reason);
            return Err(PyValueError::new_err(message));
        }
        let mut held_out = self.saved.held_out.iter();
        let Some(held_out) = held_out.find(|held| held.score.as_str() == detector) else {
            let known = self.saved.held_out.iter().map(|held| held.score.as_str());
            let known: Vec<&str> = known.collect();
            return Err(raise(Error::NoThreshold {
                score: detector.to_owned(),
                known: match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                },
            }));
        };
        Threshold::chosen(py, &held_out.confidences, accept, level)
    }

    /// Names of the fitted detectors, in the order of the tables.
    #[getter]
    fn names(&self) -> Vec<String> {
        let fitted = self.saved.fitted.detectors.iter();
        fitted.map(|detector| detector.id().to_string()).collect()
    }

    /// Detectors that the training set did not allow, with the reason: a dict from names to sentences.
    #[getter]
    fn skipped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let skipped = PyDict::new(py);
        for found in &self.saved.fitted.skipped {
            skipped.set_item(found.name.as_str(), &found.reason)?;
        }
        Ok(skipped)
    }

    /// Dimension D of the features.
    #[getter]
    fn n_features(&self) -> usize {
        self.saved.n_features
    }

    /// Whether the head sees features of unit length.
    #[getter]
    fn l2(&self) -> bool {
        self.saved.l2
    }

    /// Version of the code that fitted them.
    #[getter]
    fn code_version(&self) -> &str {
        &self.saved.code_version
    }

    fn __repr__(&self) -> String {
        format!(
            "Detectors({} of {} features{})",
            self.names().join(", "),
            self.saved.n_features,
            if self.saved.l2 { ", l2" } else { "" }
        )
    }
}

type Confidences = Vec<(ScoreId, collapse_ood::Result<ndarray::Array1<f64>>)>;

impl Detectors {
    /// The scores of the named detectors.
    fn confidences(&self, set: &Scorable<'_>, names: &[String]) -> PyResult<Confidences> {
        let n_classes = set.logits.as_ref().map(|logits| logits.ncols());
        let found = (set.features.ncols(), n_classes, set.l2);
        let fits = self
            .saved
            .check_network("the detectors", &set.origin, found);
        fits.map_err(raise)?;
        if let Some(head) = set.head {
            let fits = self.saved.check_head("the detectors", &set.origin, head);
            fits.map_err(raise)?;
        }
        let within = |source| {
            raise(Error::In {
                origin: set.origin.clone(),
                source,
            })
        };
        let inputs = match &set.logits {
            Some(logits) => Inputs::new(set.features.reborrow(), logits.view(), set.l2),
            None => Inputs::of_features(set.features.reborrow(), set.l2),
        };
        let inputs = inputs.map_err(within)?;
        let names = names.iter().map(String::as_str);
        self.saved.fitted.score_named(names, &inputs).map_err(raise)
    }

    /// The head for sets without logits, where one of these detectors reads them.
    fn head_for(&self, names: &[String]) -> Option<Head> {
        let reads = |name: &String| {
            let entry = entries().iter().find(|entry| entry.id().as_str() == name);
            entry.is_some_and(Entry::needs_logits)
        };
        self.saved
            .features_head()
            .filter(|_| names.iter().any(reads))
    }

    /// The density of the method where it has a threshold, else the first detector that has one.
    fn main_detector(&self) -> String {
        let main = ScoreId::GMM_FEATURES;
        let held_out = &self.saved.held_out;
        let has_main = held_out.iter().any(|held| held.score == main);
        match held_out.first() {
            Some(first) if !has_main => first.score.to_string(),
            _ => main.to_string(),
        }
    }
}

/// A text without the zero bytes that a C string cannot hold.
fn c_text(text: &str) -> std::ffi::CString {
    std::ffi::CString::new(text.replace('\0', " ")).unwrap_or_default()
}

/// Where one detector accepts a sample, and how sure that place is.
#[pyclass(frozen, skip_from_py_object, module = "collapse")]
#[derive(Clone)]
pub struct Threshold {
    inner: metrics::Threshold,
}

impl Threshold {
    fn chosen(py: Python<'_>, held_out: &[f64], accept: f64, level: f64) -> PyResult<Self> {
        let choose = || metrics::Threshold::conformal(held_out, accept, level);
        let inner = py.detach(choose).map_err(raise)?;
        Ok(Self { inner })
    }
}

#[pymethods]
impl Threshold {
    /// The threshold that accepts at least the share ``accept`` of fresh in-distribution samples, in expectation.
    ///
    /// Parameters
    /// ----------
    /// held_out : array [N]
    ///     Confidences of in-distribution samples on which nothing was fitted.
    /// accept : float
    ///     Between 0 and 1.
    /// level : float
    ///     Level of the interval ``share``.
    #[staticmethod]
    #[pyo3(signature = (held_out, *, accept=0.95, level=0.95))]
    fn conformal(
        py: Python<'_>,
        held_out: &Bound<'_, PyAny>,
        accept: f64,
        level: f64,
    ) -> PyResult<Self> {
        let held_out = Vector::new("held_out", held_out)?;
        Self::chosen(py, &held_out.as_slice(), accept, level)
    }

    /// Whether a sample of this confidence is accepted.
    fn accepts(&self, confidence: f64) -> bool {
        self.inner.accepts(confidence)
    }

    /// The least confidence that is accepted; minus infinity where the samples are too few to reject anything.
    #[getter]
    fn value(&self) -> f64 {
        self.inner.value
    }

    /// Share of in-distribution samples to accept, at least, in expectation.
    #[getter]
    fn accept(&self) -> f64 {
        self.inner.accept
    }

    /// Number of held-out samples behind it.
    #[getter]
    fn n(&self) -> usize {
        self.inner.n
    }

    /// Interval (low, high) of the share of in-distribution samples that this very threshold accepts.
    #[getter]
    fn share(&self) -> (f64, f64) {
        (self.inner.share.low, self.inner.share.high)
    }

    fn __repr__(&self) -> String {
        let found = &self.inner;
        format!(
            "Threshold(value={:?}, accept={:?}, n={}, share=({:?}, {:?}))",
            found.value, found.accept, found.n, found.share.low, found.share.high
        )
    }
}

/// What one detector decides of every sample of a set.
#[pyclass(frozen, get_all, module = "collapse")]
pub struct Decisions {
    /// Name of the detector.
    detector: String,
    /// Where it accepts.
    threshold: Threshold,
    /// Confidences, float64 ``[N]``.
    confidences: Py<PyArray1<f64>>,
    /// Whether each sample is taken as in-distribution, bool ``[N]``.
    accepted: Py<PyArray1<bool>>,
    /// Number of samples that are not.
    n_rejected: usize,
}

#[pymethods]
impl Decisions {
    /// Interval (low, high) of the rejected share of the population that the samples come from, after Clopper and Pearson.
    #[pyo3(signature = (level=0.95))]
    fn rejected_interval(&self, py: Python<'_>, level: f64) -> PyResult<(f64, f64)> {
        let n = self.accepted.bind(py).len()?;
        let share = metrics::share_interval(self.n_rejected, n, level).map_err(raise)?;
        Ok((share.low, share.high))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "Decisions({}: {} of {} rejected)",
            self.detector,
            self.n_rejected,
            self.accepted.bind(py).len()?
        ))
    }
}
