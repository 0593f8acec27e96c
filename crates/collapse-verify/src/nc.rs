//! Collapse measures against the notebook of Papyan et al. and rhubarbwu/neural-collapse.

use collapse_geometry::{
    ClassScatter, Collapse, Head, Moments, Variability, measure, ood_orthogonality,
};
use ndarray::{Array1, Array2, Axis};
use serde_json::Value;

use crate::error::Result;
use crate::folder::{File, at};
use crate::report::Report;

pub(crate) fn check(file: &File, report: &mut Report) -> Result<()> {
    file.cases("cases")
        .iter()
        .try_for_each(|case| check_case(file, case, report))
}

/// What is measured on one case.
struct Found {
    whole: Collapse,
    streamed: Variability,
    nc5: f64,
}

/// Name of a quantity, key of its reference, value, tolerance.
type Quantity = (&'static str, &'static str, Vec<f64>, f64);

fn check_case(file: &File, case: &Value, report: &mut Report) -> Result<()> {
    let name = file.text(case, "case")?;
    let found = measure_case(file, case, name)?;
    // Exact unless told otherwise; NC2 of nearly collapsed features cancels.
    let loose = match name.starts_with("near_etf") {
        true => 1e-9,
        false => 1e-10,
    };
    let sources = [
        ("papyan_notebook", notebook(&found, loose)),
        ("rhubarbwu_lib", library(&found, loose)),
    ];
    for (source, quantities) in sources {
        for (quantity, key, found, tolerance) in quantities {
            let path = [source, key];
            let Some(reference) = at(case, &path) else {
                continue;
            };
            let reference = match reference.is_array() {
                true => file.numbers(case, &path)?,
                false => vec![file.number(case, &path)?],
            };
            report.compare((file.name, name), quantity, &found, &reference, tolerance);
        }
    }
    let classes = found.whole.classes.iter();
    let counts: Vec<f64> = classes.map(|class| class.count as f64).collect();
    let reference = file.numbers(case, &["class_counts"])?;
    report.compare((file.name, name), "class counts", &counts, &reference, 0.0);
    Ok(())
}

fn measure_case(file: &File, case: &Value, name: &str) -> Result<Found> {
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
    let scatter = |features: &Array2<f64>, labels: &[usize]| {
        let mut scatter = ClassScatter::new(n_classes, features.ncols())?;
        scatter.update(features.view(), labels)?;
        Ok::<_, collapse_geometry::Error>(scatter)
    };
    let found = || {
        let streamed = scatter(&features, &labels)?;
        let ood_labels: Vec<usize> = (0..ood.nrows()).map(|row| row % n_classes).collect();
        let ood_means = scatter(&ood, &ood_labels)?.class_means().to_owned();
        let ood_mean = ood_means.mean_axis(Axis(0)).unwrap_or_default();
        Ok::<_, collapse_geometry::Error>(Found {
            whole: measure(features.view(), &labels, n_classes, head)?,
            nc5: ood_orthogonality(streamed.class_means(), ood_mean.view())?,
            streamed: streamed.variability()?,
        })
    };
    found().map_err(|error| file.refused(name)(&error))
}

/// Quantities of the notebook of Papyan et al.
fn notebook(found: &Found, loose: f64) -> Vec<Quantity> {
    let (streamed, found) = (&found.streamed, &found.whole);
    let (v, s) = (found.variability, found.structure);
    vec![
        ("NC1", "NC1_trace_no_C", vec![v.nc1], 1e-10),
        ("NC1, streamed", "NC1_trace_no_C", vec![streamed.nc1], 1e-10),
        (
            "NC1 / C",
            "NC1_trace_over_C",
            vec![v.nc1_over_classes],
            1e-10,
        ),
        (
            "NC2 norms of means",
            "NC2_equinorm_means",
            vec![s.nc2_norms_means],
            loose,
        ),
        (
            "NC2 norms of classifier",
            "NC2_equinorm_classifier",
            vec![s.nc2_norms_classifier],
            loose,
        ),
        (
            "NC2 angles of means",
            "NC2_equiangular_means",
            vec![s.nc2_angles_means],
            loose,
        ),
        (
            "NC2 angles of classifier",
            "NC2_equiangular_classifier",
            vec![s.nc2_angles_classifier],
            loose,
        ),
        ("NC3", "NC3_self_duality", vec![s.nc3], 1e-10),
        ("NC4", "NC4_ncc_mismatch", vec![found.nc4], 1e-12),
        ("accuracy", "accuracy", vec![found.accuracy], 1e-12),
    ]
}

/// Quantities of rhubarbwu/neural-collapse.
fn library(found: &Found, loose: f64) -> Vec<Quantity> {
    let (streamed, nc5, found) = (&found.streamed, found.nc5, &found.whole);
    let (v, s) = (found.variability, found.structure);
    let pair = |moments: Moments| vec![moments.mean, moments.variance];
    vec![
        (
            "NC1 / C by pseudo-inverse",
            "nc1_pinv",
            vec![v.nc1_over_classes],
            1e-10,
        ),
        ("NC1 / C by SVD", "nc1_svd", vec![v.nc1_over_classes], 1e-10),
        ("trace ratio", "nc1_quotient", vec![v.trace_ratio], 1e-10),
        ("CDNV", "nc1_cdnv", vec![v.cdnv], 1e-10),
        ("CDNV, streamed", "nc1_cdnv", vec![streamed.cdnv], 1e-10),
        (
            "NC2 norms of means, library",
            "nc2_norms_std_over_mean_means",
            vec![s.nc2_norms_means],
            loose,
        ),
        (
            "NC2 norms of classifier, library",
            "nc2_norms_std_over_mean_classifier",
            vec![s.nc2_norms_classifier],
            loose,
        ),
        (
            "NC2 distance from ETF",
            "nc2_etf_err",
            vec![s.nc2_etf_means],
            loose,
        ),
        ("NC2 distances", "nc2g_dist", pair(s.nc2_distances), loose),
        (
            "NC2 log-distances",
            "nc2g_log",
            pair(s.nc2_log_distances),
            loose,
        ),
        (
            "NC3 dual error",
            "nc3_dual_err",
            vec![s.nc3_dual_err],
            loose,
        ),
        (
            "NC3 variance of products",
            "nc3u_uni_dual_var",
            vec![s.nc3_dot_variance],
            loose,
        ),
        ("NC3 cosine", "nc3_cos_mean", vec![s.nc3_cosine], 1e-10),
        (
            "NC3 distance",
            "nc3_distance_norms_mean",
            vec![s.nc3_distance],
            loose,
        ),
        (
            "NC4 agreement without bias",
            "nc4_agree_no_bias",
            vec![found.nc4_agreement_without_bias],
            1e-12,
        ),
        ("NC5", "nc5_ood_dev", vec![nc5], 1e-10),
    ]
}
