//! Collapse measures against the notebook of Papyan et al. and rhubarbwu/neural-collapse.

use collapse_geometry::{ClassScatter, Head, measure, ood_orthogonality};
use ndarray::{Array1, Axis};
use serde_json::Value;

use crate::error::Result;
use crate::folder::{File, at};
use crate::report::Report;

pub(crate) fn check(file: &File, report: &mut Report) -> Result<()> {
    file.cases("cases")
        .iter()
        .try_for_each(|case| check_case(file, case, report))
}

fn check_case(file: &File, case: &Value, report: &mut Report) -> Result<()> {
    let name = file.text(case, "case")?;
    let refused = file.refused(name);
    let features = file.matrix(&format!("{name}.features"))?;
    let ood = file.matrix(&format!("{name}.ood"))?;
    let weight = file.matrix(&format!("{name}.W"))?;
    let bias = Array1::from_vec(file.vector(&format!("{name}.b"))?);
    let labels = file.labels(&format!("{name}.labels"))?;
    let n_classes = file.number(case, &["classes"])? as usize;
    let head = Head {
        weight: weight.view(),
        bias: bias.view(),
    };
    let found =
        measure(features.view(), &labels, n_classes, head).map_err(|error| refused(&error))?;

    let scatter = |features: ndarray::ArrayView2<f64>, labels: &[usize]| {
        let mut scatter = ClassScatter::new(n_classes, features.ncols())?;
        scatter.update(features, labels)?;
        Ok::<_, collapse_geometry::Error>(scatter)
    };
    let streamed = scatter(features.view(), &labels).map_err(|error| refused(&error))?;
    let ood_labels: Vec<usize> = (0..ood.nrows()).map(|row| row % n_classes).collect();
    let ood_scatter = scatter(ood.view(), &ood_labels).map_err(|error| refused(&error))?;
    let ood_mean = ood_scatter
        .class_means()
        .mean_axis(Axis(0))
        .unwrap_or_default();
    let nc5 = ood_orthogonality(streamed.class_means(), ood_mean.view())
        .map_err(|error| refused(&error))?;
    let streamed = streamed.variability().map_err(|error| refused(&error))?;

    let (v, s) = (found.variability, found.structure);
    let pair = |moments: collapse_geometry::Moments| vec![moments.mean, moments.variance];
    let papyan = |key: &'static str| ["papyan_notebook", key];
    let library = |key: &'static str| ["rhubarbwu_lib", key];
    // Exact unless told otherwise; NC2 of nearly collapsed features cancels.
    let loose = if name.starts_with("near_etf") {
        1e-9
    } else {
        1e-10
    };
    let rows = [
        ("NC1", papyan("NC1_trace_no_C"), vec![v.nc1], 1e-10),
        (
            "NC1, streamed",
            papyan("NC1_trace_no_C"),
            vec![streamed.nc1],
            1e-10,
        ),
        (
            "NC1 / C",
            papyan("NC1_trace_over_C"),
            vec![v.nc1_over_classes],
            1e-10,
        ),
        (
            "NC2 norms of means",
            papyan("NC2_equinorm_means"),
            vec![s.nc2_norms_means],
            loose,
        ),
        (
            "NC2 norms of classifier",
            papyan("NC2_equinorm_classifier"),
            vec![s.nc2_norms_classifier],
            loose,
        ),
        (
            "NC2 angles of means",
            papyan("NC2_equiangular_means"),
            vec![s.nc2_angles_means],
            loose,
        ),
        (
            "NC2 angles of classifier",
            papyan("NC2_equiangular_classifier"),
            vec![s.nc2_angles_classifier],
            loose,
        ),
        ("NC3", papyan("NC3_self_duality"), vec![s.nc3], 1e-10),
        ("NC4", papyan("NC4_ncc_mismatch"), vec![found.nc4], 1e-12),
        ("accuracy", papyan("accuracy"), vec![found.accuracy], 1e-12),
        (
            "NC1 / C by pseudo-inverse",
            library("nc1_pinv"),
            vec![v.nc1_over_classes],
            1e-10,
        ),
        (
            "NC1 / C by SVD",
            library("nc1_svd"),
            vec![v.nc1_over_classes],
            1e-10,
        ),
        (
            "trace ratio",
            library("nc1_quotient"),
            vec![v.trace_ratio],
            1e-10,
        ),
        ("CDNV", library("nc1_cdnv"), vec![v.cdnv], 1e-10),
        (
            "CDNV, streamed",
            library("nc1_cdnv"),
            vec![streamed.cdnv],
            1e-10,
        ),
        (
            "NC2 norms of means, library",
            library("nc2_norms_std_over_mean_means"),
            vec![s.nc2_norms_means],
            loose,
        ),
        (
            "NC2 norms of classifier, library",
            library("nc2_norms_std_over_mean_classifier"),
            vec![s.nc2_norms_classifier],
            loose,
        ),
        (
            "NC2 distance from ETF",
            library("nc2_etf_err"),
            vec![s.nc2_etf_means],
            loose,
        ),
        (
            "NC2 distances",
            library("nc2g_dist"),
            pair(s.nc2_distances),
            loose,
        ),
        (
            "NC2 log-distances",
            library("nc2g_log"),
            pair(s.nc2_log_distances),
            loose,
        ),
        (
            "NC3 dual error",
            library("nc3_dual_err"),
            vec![s.nc3_dual_err],
            loose,
        ),
        (
            "NC3 variance of products",
            library("nc3u_uni_dual_var"),
            vec![s.nc3_dot_variance],
            loose,
        ),
        (
            "NC3 cosine",
            library("nc3_cos_mean"),
            vec![s.nc3_cosine],
            1e-10,
        ),
        (
            "NC3 distance",
            library("nc3_distance_norms_mean"),
            vec![s.nc3_distance],
            loose,
        ),
        (
            "NC4 agreement without bias",
            library("nc4_agree_no_bias"),
            vec![found.nc4_agreement_without_bias],
            1e-12,
        ),
        ("NC5", library("nc5_ood_dev"), vec![nc5], 1e-10),
    ];
    for (quantity, path, found, tolerance) in rows {
        let Some(reference) = at(case, &path) else {
            continue;
        };
        let reference = match reference.is_array() {
            true => file.numbers(case, &path)?,
            false => vec![file.number(case, &path)?],
        };
        report.compare((file.name, name), quantity, &found, &reference, tolerance);
    }
    let counts: Vec<f64> = found
        .classes
        .iter()
        .map(|class| class.count as f64)
        .collect();
    report.compare(
        (file.name, name),
        "class counts",
        &counts,
        &file.numbers(case, &["class_counts"])?,
        0.0,
    );
    Ok(())
}
