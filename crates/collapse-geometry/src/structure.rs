//! NC2 and NC3: the shape of the class means and of the classifier, and how alike they are.

use collapse_numeric::{matmul_nt, norm};
use ndarray::{Array1, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::etf::etf_error;
use crate::variability::{centered, squared_distances};

/// Mean and population variance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Mean.
    pub mean: f64,
    /// Variance with the number of values as divisor.
    pub variance: f64,
}

impl Moments {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count().max(1) as f64;
        let mean = values.clone().sum::<f64>() / n;
        let variance = values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
        Self { mean, variance }
    }
}

/// NC2 and NC3 of class means `M = [μ_c − μ_G]` and classifier `W = [w_c]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// Equinormality: std/mean of `‖μ_c − μ_G‖`, divisor `C − 1`; 0 under collapse. Source: Papyan et al. (2020).
    pub nc2_norms_means: f64,
    /// Equinormality of `‖w_c‖`.
    pub nc2_norms_classifier: f64,
    /// Equiangularity: mean over pairs of `|cos(v_i, v_j) + 1/(C − 1)|` for the class means; 0 under collapse. Source:
    /// Papyan et al. (2020).
    pub nc2_angles_means: f64,
    /// Equiangularity of the classifier.
    pub nc2_angles_classifier: f64,
    /// [`etf_error`] of the class means. Source: rhubarbwu/neural-collapse.
    pub nc2_etf_means: f64,
    /// [`etf_error`] of the classifier.
    pub nc2_etf_classifier: f64,
    /// Pairwise distances of the normalised centred means. Source: Liu et al. (2023), arXiv 2303.06484.
    pub nc2_distances: Moments,
    /// Pairwise `−ln` distances of the normalised centred means (logarithmic energy).
    pub nc2_log_distances: Moments,
    /// Self-duality `‖Wᵀ/‖W‖_F − M/‖M‖_F‖_F²`; 0 under collapse. Source: Papyan et al. (2020).
    pub nc3: f64,
    /// Frobenius distance of the normalised cross-Gram matrix `W Mᵀ` from the simplex ETF. Source: rhubarbwu/neural-collapse.
    pub nc3_dual_err: f64,
    /// Variance (divisor `C − 1`) of `w_c · (μ_c − μ_G)` over classes; scales with both. Source: rhubarbwu/neural-collapse.
    pub nc3_dot_variance: f64,
    /// Mean over classes of `cos(w_c, μ_c − μ_G)`; 1 under collapse.
    pub nc3_cosine: f64,
    /// Mean over classes of the distance of the two normalised vectors; 0 under collapse.
    pub nc3_distance: f64,
}

/// NC2 and NC3 of class means `[C, D]` (not centred) and a classifier's weight `[C, D]`.
///
/// # Errors
/// Different shapes, fewer than two classes, a class mean equal to the global mean, a zero classifier vector.
pub fn structure(class_means: ArrayView2<f64>, weight: ArrayView2<f64>) -> Result<Structure> {
    let (n_classes, d) = class_means.dim();
    if n_classes < 2 {
        return Err(Error::TooFewClasses { n_classes });
    }
    if weight.dim() != class_means.dim() {
        return Err(Error::Shape {
            what: "the classifier weight",
            found: [weight.nrows(), weight.ncols()],
            expected: [n_classes, d],
        });
    }
    let means = centered(class_means);
    let mean_norms = lengths(means.view(), "the centred mean")?;
    let weight_norms = lengths(weight, "the classifier vector")?;
    let unit_means = &means / &mean_norms.view().insert_axis(ndarray::Axis(1));
    let unit_weight = &weight / &weight_norms.view().insert_axis(ndarray::Axis(1));

    let distances = squared_distances(unit_means.view())?;
    let pairs = (0..n_classes).flat_map(|i| (0..i).map(move |j| (i, j)));
    let apart = pairs.map(|(i, j)| distances[[i, j]].sqrt());
    if apart.clone().any(|v| v == 0.0) {
        return Err(crate::variability::coincide(0));
    }
    let own = |c: usize| unit_weight.row(c).dot(&unit_means.row(c));
    let dots: Array1<f64> = (0..n_classes)
        .map(|c| weight.row(c).dot(&means.row(c)))
        .collect();
    let gap = |c: usize| norm((&unit_weight.row(c) - &unit_means.row(c)).view());

    let (weight_norm, mean_norm) = (norm(weight), norm(means.view()));
    let gaps = weight.iter().zip(&means);
    let c = n_classes as f64;
    Ok(Structure {
        nc2_norms_means: coefficient_of_variation(&mean_norms),
        nc2_norms_classifier: coefficient_of_variation(&weight_norms),
        nc2_angles_means: mean_angle_gap(unit_means.view())?,
        nc2_angles_classifier: mean_angle_gap(unit_weight.view())?,
        nc2_etf_means: etf_error(means.view(), means.view())?,
        nc2_etf_classifier: etf_error(weight, weight)?,
        nc2_distances: Moments::of(apart.clone()),
        nc2_log_distances: Moments::of(apart.map(|v| -v.ln())),
        nc3: gaps
            .map(|(w, m)| (w / weight_norm - m / mean_norm).powi(2))
            .sum(),
        nc3_dual_err: etf_error(weight, means.view())?,
        nc3_dot_variance: Moments::of(dots.iter().copied()).variance * c / (c - 1.0),
        nc3_cosine: (0..n_classes).map(own).sum::<f64>() / c,
        nc3_distance: (0..n_classes).map(gap).sum::<f64>() / c,
    })
}

/// NC5: mean over classes of `|cos(μ_c, m)|` for class means `[C, D]` (not centred) and the mean feature `m` `[D]` of an
/// out-of-distribution set; 0 when it is orthogonal to every class. Source: Ammar et al. (2024), arXiv 2310.06823.
///
/// # Errors
/// Different dimensions, or a zero mean.
pub fn ood_orthogonality(
    class_means: ArrayView2<f64>,
    ood_mean: ndarray::ArrayView1<f64>,
) -> Result<f64> {
    if ood_mean.len() != class_means.ncols() {
        return Err(Error::Shape {
            what: "the out-of-distribution mean",
            found: [1, ood_mean.len()],
            expected: [1, class_means.ncols()],
        });
    }
    let norms = lengths(class_means, "the mean")?;
    let ood = ood_mean.insert_axis(ndarray::Axis(0));
    let ood_norm = lengths(ood, "the out-of-distribution mean")?[0];
    let unit = ood.row(0).mapv(|v| v / ood_norm);
    let cosines = class_means.rows().into_iter().zip(&norms);
    let sum: f64 = cosines
        .map(|(row, norm)| (row.mapv(|v| v / norm).dot(&unit)).abs())
        .sum();
    Ok(sum / class_means.nrows() as f64)
}

/// Norms of the rows, none of them zero.
fn lengths(rows: ArrayView2<f64>, what: &'static str) -> Result<Array1<f64>> {
    let norms: Array1<f64> = rows.rows().into_iter().map(norm).collect();
    match norms.iter().position(|v| *v == 0.0) {
        None => Ok(norms),
        Some(class) => Err(Error::Degenerate {
            what,
            class,
            measure: "structure of the classes",
            remedy: "check that the class differs from the others and that its head was trained",
        }),
    }
}

fn coefficient_of_variation(norms: &Array1<f64>) -> f64 {
    let n = norms.len() as f64;
    let unit = norms.iter().fold(0.0f64, |max, v| max.max(*v));
    let moments = Moments::of(norms.iter().map(|v| v / unit));
    (moments.variance * n / (n - 1.0)).sqrt() / moments.mean
}

fn mean_angle_gap(unit: ArrayView2<f64>) -> Result<f64> {
    let n = unit.nrows();
    let cosines = matmul_nt(unit, unit)?;
    let ideal = 1.0 / (n as f64 - 1.0);
    let mut sum = 0.0;
    for i in 0..n {
        for j in 0..i {
            sum += (cosines[[i, j]] + ideal).abs();
        }
    }
    Ok(sum / (n * (n - 1) / 2) as f64)
}
