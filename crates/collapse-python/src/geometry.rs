//! Neural-collapse measures.

use collapse_geometry::{Head, measure};
use pyo3::prelude::*;
use pythonize::pythonize;

use crate::arrays::{Matrix, Vector, labels as label_vector};
use crate::errors::raise;

/// NC1 to NC4 of features with their labels and head, as a dict.
///
/// Parameters
/// ----------
/// features : array [N, D]
///     The input of the last linear layer: what the head sees, normalised where it sees normalised features.
/// labels : array [N]
///     Integers 0..C, every class at least once.
/// weight, bias : arrays [C, D] and [C]
///     The last linear layer.
///
/// Returns
/// -------
/// dict
///     ``nc1`` (tr(Σ_W Σ_B⁺) / … in its published forms), ``nc2_…`` (equal norms, equal angles, distance from the simplex
///     ETF), ``nc3…`` (means against classifier), ``nc4`` (share where the nearest class mean disagrees with the network, 0..1),
///     ``accuracy`` and ``nearest_mean_accuracy`` (0..1), ``classes`` (per class). All fall to 0 under collapse but the
///     accuracies, cosines and norms.
///
/// Raises
/// ------
/// ValueError
///     For wrong shapes, NaN, empty classes, and measures that are undefined.
#[pyfunction]
pub fn neural_collapse<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    labels: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    bias: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let features = Matrix::new("features", features)?;
    let features = features.rows();
    let labels = label_vector("labels", labels)?;
    let weight = Matrix::new("weight", weight)?;
    let weight = weight.to_f64();
    let bias = Vector::new("bias", bias)?.to_array();
    let found = py.detach(|| {
        let head = Head {
            weight: weight.view(),
            bias: bias.view(),
        };
        measure(features, &labels, weight.nrows(), head)
    });
    Ok(pythonize(py, &found.map_err(raise)?)?)
}
