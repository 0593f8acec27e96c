//! Agreement with the reference notebook and with rhubarbwu/neural-collapse.
#![allow(clippy::unwrap_used)] // A test fails by panicking, its helpers too.

use std::path::{Path, PathBuf};

use collapse_geometry::{ClassScatter, Head, measure, ood_orthogonality};
use ndarray::{Array1, Array2};
use safetensors::SafeTensors;
use serde_json::Value;

fn fixtures() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        "../collapse-verify/fixtures/public",
        "../../../shared/fixtures/public",
    ];
    places
        .map(|place| here.join(place))
        .into_iter()
        .find(|dir| dir.join("nc.json").exists())
}

fn words(tensors: &SafeTensors, name: &str) -> (Vec<[u8; 8]>, Vec<usize>) {
    let view = tensors.tensor(name).unwrap();
    (
        view.data().as_chunks::<8>().0.to_vec(),
        view.shape().to_vec(),
    )
}

fn matrix(tensors: &SafeTensors, name: &str) -> Array2<f64> {
    let (words, shape) = words(tensors, name);
    let values = words.into_iter().map(f64::from_le_bytes).collect();
    Array2::from_shape_vec((shape[0], shape[1]), values).unwrap()
}

#[test]
fn measures_agree_with_both_public_implementations() {
    let Some(dir) = fixtures() else {
        eprintln!("skipped: no nc.json under collapse-verify/fixtures or ../shared/fixtures");
        return;
    };
    let bytes = std::fs::read(dir.join("nc.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let text = std::fs::read_to_string(dir.join("nc.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let mut failures = Vec::new();
    for case in json["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let features = matrix(&tensors, &format!("{name}.features"));
        let ood = matrix(&tensors, &format!("{name}.ood"));
        let weight = matrix(&tensors, &format!("{name}.W"));
        let (bias, _) = words(&tensors, &format!("{name}.b"));
        let bias: Array1<f64> = bias.into_iter().map(f64::from_le_bytes).collect();
        let (labels, _) = words(&tensors, &format!("{name}.labels"));
        let labels: Vec<usize> = labels
            .into_iter()
            .map(|w| i64::from_le_bytes(w) as usize)
            .collect();
        let n_classes = case["classes"].as_u64().unwrap() as usize;
        let head = Head {
            weight: weight.view(),
            bias: bias.view(),
        };
        let found = measure(features.view(), &labels, n_classes, head).unwrap();

        let mut scatter = ClassScatter::new(n_classes, features.ncols()).unwrap();
        scatter.update(features.view(), &labels).unwrap();
        let streamed = scatter.variability().unwrap();
        let ood_labels: Vec<usize> = (0..ood.nrows()).map(|i| i % n_classes).collect();
        let mut ood_scatter = ClassScatter::new(n_classes, ood.ncols()).unwrap();
        ood_scatter.update(ood.view(), &ood_labels).unwrap();
        let ood_mean = ood_scatter
            .class_means()
            .mean_axis(ndarray::Axis(0))
            .unwrap();
        let nc5 = ood_orthogonality(scatter.class_means(), ood_mean.view()).unwrap();

        let (v, s) = (found.variability, found.structure);
        let papyan = |key: &str| case["papyan_notebook"][key].as_f64().unwrap();
        let library = |key: &str| case["rhubarbwu_lib"][key].as_f64().unwrap();
        let pair = |key: &str, i: usize| case["rhubarbwu_lib"][key][i].as_f64().unwrap();
        let rows = [
            ("nc1", v.nc1, papyan("NC1_trace_no_C")),
            ("nc1 / C", v.nc1_over_classes, papyan("NC1_trace_over_C")),
            ("nc1 streamed", streamed.nc1, papyan("NC1_trace_no_C")),
            ("trace ratio", v.trace_ratio, library("nc1_quotient")),
            (
                "trace ratio streamed",
                streamed.trace_ratio,
                library("nc1_quotient"),
            ),
            ("cdnv", v.cdnv, library("nc1_cdnv")),
            ("cdnv streamed", streamed.cdnv, library("nc1_cdnv")),
            (
                "norms of means",
                s.nc2_norms_means,
                papyan("NC2_equinorm_means"),
            ),
            (
                "norms of classifier",
                s.nc2_norms_classifier,
                papyan("NC2_equinorm_classifier"),
            ),
            (
                "angles of means",
                s.nc2_angles_means,
                papyan("NC2_equiangular_means"),
            ),
            (
                "angles of classifier",
                s.nc2_angles_classifier,
                papyan("NC2_equiangular_classifier"),
            ),
            ("etf error", s.nc2_etf_means, library("nc2_etf_err")),
            ("distances", s.nc2_distances.mean, pair("nc2g_dist", 0)),
            (
                "distance variance",
                s.nc2_distances.variance,
                pair("nc2g_dist", 1),
            ),
            (
                "log distances",
                s.nc2_log_distances.mean,
                pair("nc2g_log", 0),
            ),
            (
                "log distance variance",
                s.nc2_log_distances.variance,
                pair("nc2g_log", 1),
            ),
            ("nc3", s.nc3, papyan("NC3_self_duality")),
            ("dual error", s.nc3_dual_err, library("nc3_dual_err")),
            (
                "dot variance",
                s.nc3_dot_variance,
                library("nc3u_uni_dual_var"),
            ),
            ("cosine", s.nc3_cosine, library("nc3_cos_mean")),
            (
                "distance of duals",
                s.nc3_distance,
                library("nc3_distance_norms_mean"),
            ),
            ("nc4", found.nc4, papyan("NC4_ncc_mismatch")),
            (
                "agreement",
                found.nc4_agreement_without_bias,
                library("nc4_agree_no_bias"),
            ),
            ("accuracy", found.accuracy, papyan("accuracy")),
            ("nc5", nc5, library("nc5_ood_dev")),
        ];
        for (what, found, expected) in rows {
            // Variances of nearly equal distances cancel.
            let limit = match (name, what) {
                ("near_etf", _) if what.contains("variance") => 1e-6,
                ("near_etf", _) => 1e-9,
                _ => 1e-10,
            };
            let error = (found - expected).abs() / expected.abs().max(1e-300);
            if found != expected && error > limit {
                failures.push(format!(
                    "{name} {what}: {found} against {expected} ({error:e})"
                ));
            }
        }
        let counts: Vec<usize> = found.classes.iter().map(|class| class.count).collect();
        assert_eq!(serde_json::json!(counts), case["class_counts"]);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
