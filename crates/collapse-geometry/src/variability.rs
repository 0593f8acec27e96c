//! NC1: how small the spread within the classes is beside the spread of their means.

use collapse_numeric::{matmul_nt, right_singular};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The variability measures; all tend to 0 under collapse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variability {
    /// `tr(Σ_W Σ_B⁺)`. Source: Papyan, Han and Donoho (2020), the reference notebook, without a division by `C`.
    pub nc1: f64,
    /// [`nc1`](Self::nc1) `/ C`, the form printed in the paper.
    pub nc1_over_classes: f64,
    /// `tr Σ_W / tr Σ_B`. Source: Hui et al. (2022), arXiv 2202.08384.
    pub trace_ratio: f64,
    /// Class-distance normalised variance: mean over pairs of `(v_i + v_j) / (2 ‖μ_i − μ_j‖²)`. Source: Galanti et
    /// al. (2021), arXiv 2112.15121.
    pub cdnv: f64,
}

impl Variability {
    /// From `tr(Σ_W Σ_B⁺)`, `tr Σ_W`, the class means `[C, D]` and the class variances `[C]`.
    pub(crate) fn new(
        nc1: f64,
        within_trace: f64,
        means: ArrayView2<f64>,
        variances: ArrayView1<f64>,
    ) -> Result<Self> {
        let n_classes = means.nrows() as f64;
        let centered = centered(means);
        let between_trace = centered.iter().map(|v| v * v).sum::<f64>() / n_classes;
        Ok(Self {
            nc1,
            nc1_over_classes: nc1 / n_classes,
            trace_ratio: within_trace / between_trace,
            cdnv: cdnv(centered.view(), variances)?,
        })
    }
}

/// Class means minus their unweighted mean.
pub(crate) fn centered(means: ArrayView2<f64>) -> Array2<f64> {
    let n = means.nrows().max(1) as f64;
    &means - &(means.sum_axis(Axis(0)) / n)
}

/// `F` `[K, D]`, `K ≤ C − 1`, with `Σ_B⁺ = Fᵀ F` for `Σ_B = (1/C) Σ (μ_c − μ_G)(μ_c − μ_G)ᵀ`, truncated to rank
/// `C − 1` and to what rounding leaves.
///
/// With the singular values `s` and right vectors `v` of the centred means, `F = √C / s · vᵀ`; no `[D, D]` matrix appears.
pub(crate) fn between_factor(means: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (n_classes, d) = means.dim();
    let centered = centered(means);
    let centered = centered.as_standard_layout();
    let singular = right_singular(centered.as_slice().unwrap_or(&[]), d)?;
    let (values, vectors) = (singular.values, singular.vectors);
    let largest = values.first().copied().unwrap_or(0.0);
    let scale = means.iter().fold(0.0f64, |max, v| max.max(v.abs()));
    let floor = largest.max(scale * f64::EPSILON) * f64::EPSILON * n_classes.max(d) as f64;
    let rank = (0..(n_classes - 1).min(d))
        .take_while(|k| values[*k] > floor)
        .count();
    if rank == 0 {
        return Err(coincide(0));
    }
    let root = (n_classes as f64).sqrt();
    Ok(Array2::from_shape_fn((rank, d), |(k, j)| {
        root / values[k] * vectors[[k, j]]
    }))
}

fn cdnv(centered: ArrayView2<f64>, variances: ArrayView1<f64>) -> Result<f64> {
    let n_classes = centered.nrows();
    let distances = squared_distances(centered)?;
    let mut sum = 0.0;
    for i in 0..n_classes {
        for j in 0..i {
            if distances[[i, j]] == 0.0 {
                return Err(coincide(j));
            }
            sum += (variances[i] + variances[j]) / (2.0 * distances[[i, j]]);
        }
    }
    Ok(sum / (n_classes * (n_classes - 1) / 2) as f64)
}

/// Squared distances of all pairs of rows, `[C, C]`; pairs too near for the expanded square are taken directly.
pub(crate) fn squared_distances(rows: ArrayView2<f64>) -> Result<Array2<f64>> {
    let mut out = matmul_nt(rows, rows)?;
    let squares = out.diag().to_owned();
    for i in 0..rows.nrows() {
        for j in 0..=i {
            let mut squared = squares[i] + squares[j] - 2.0 * out[[i, j]];
            if squared < 0.1 * (squares[i] + squares[j]) {
                let pairs = rows.row(i).into_iter().zip(rows.row(j));
                squared = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
            }
            out[[i, j]] = squared;
        }
    }
    for i in 0..rows.nrows() {
        for j in i + 1..rows.nrows() {
            out[[i, j]] = out[[j, i]];
        }
    }
    Ok(out)
}

pub(crate) fn coincide(class: usize) -> Error {
    Error::Degenerate {
        what: "the distance to another class mean",
        class,
        measure: "variability relative to the class means",
        remedy: "check labels and features: two classes have the same mean",
    }
}
