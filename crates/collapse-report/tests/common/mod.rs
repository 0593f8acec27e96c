//! Synthetic results that look like a reproduction: only for tests.

use collapse_results::{
    DataSet, Defined, Detection, EpochRecord, Evaluation, Geometry, Group, Histogram, Loss,
    OodResult, Results, Role, Run, RunTimes, ScheduleLength, TemperatureScaling,
};

/// splitmix64 in -1..1.
fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    2.0 * (z >> 11) as f64 / (1u64 << 53) as f64 - 1.0
}

const SETS: [&str; 3] = ["fashion-held-out", "mnist", "noise"];
const SCORES: [&str; 6] = [
    "gmm_features",
    "gmm_logits",
    "max_softmax",
    "softmax_entropy",
    "energy",
    "feature_norm",
];

fn geometry(l2: bool, nc: bool, epoch: usize, jiggle: f64) -> Geometry {
    let speed = if nc {
        0.55
    } else if l2 {
        0.4
    } else {
        0.22
    };
    let decay = (-speed * epoch as f64).exp();
    let nc1 = (4.0 * decay + 0.02) * (1.0 + 0.1 * jiggle);
    Geometry {
        nc1,
        nc1_over_classes: nc1 / 8.0,
        nc2_equinorm_means: 0.3 * decay + 0.01,
        nc2_equinorm_classifier: 0.2 * decay + 0.02,
        nc2_equiangular_means: 0.25 * decay + 0.02 + 0.002 * jiggle,
        nc2_equiangular_classifier: 0.2 * decay + 0.03,
        nc3: 1.5 * decay + 0.05,
        nc4: if epoch > 12 { 0.0 } else { 0.1 * decay },
    }
}

fn evaluation(group: &Group, epoch: usize, seed: u64) -> Evaluation {
    let nc = group.loss == Loss::NeuralCollapse;
    let jiggle = noise(seed * 1009 + epoch as u64 + group.id.len() as u64 * 77);
    let base = if group.l2 { 0.93 } else { 0.86 };
    let ood = SETS
        .iter()
        .enumerate()
        .flat_map(|(i, set)| {
            SCORES.iter().enumerate().map(move |(j, score)| {
                let auroc = base + 0.015 * i as f64 - 0.01 * j as f64
                    + jiggle * if group.l2 { 0.008 } else { 0.025 };
                OodResult {
                    set: (*set).into(),
                    score: (*score).into(),
                    detection: Detection {
                        auroc,
                        aupr_in: auroc - 0.01,
                        aupr_out: auroc - 0.02,
                        fpr95_id_positive: 3.0 * (1.0 - auroc),
                        fpr95_ood_positive: 3.2 * (1.0 - auroc),
                        detection_error: 1.0 - auroc,
                    },
                }
            })
        })
        .collect();
    let bell = |centre: f64, width: f64| -> Vec<u64> {
        (0..40)
            .map(|b| {
                let z = (b as f64 - centre) / width;
                (1000.0 * (-0.5 * z * z).exp()) as u64
            })
            .collect()
    };
    let histograms = ["gmm_features", "max_softmax"]
        .iter()
        .flat_map(|score| {
            [
                ("test", 30.0, 3.0),
                (SETS[0], 20.0, 5.0),
                (SETS[1], 12.0, 4.0),
                (SETS[2], 5.0, 2.0),
            ]
            .map(|(set, centre, width)| Histogram {
                score: (*score).into(),
                set: set.into(),
                low: -1200.0,
                high: 400.0,
                axis: None,
                counts: bell(centre, width),
            })
        })
        .collect();
    Evaluation {
        epoch,
        accuracy: 0.87 + 0.004 * jiggle - if nc { 0.02 } else { 0.0 },
        ece: 0.05,
        scaling: Defined::Value(TemperatureScaling {
            temperature: 1.4,
            ece: 0.02,
        }),
        nll: 0.41,
        risk_coverage: None,
        jitter_features: Some(if seed == 2 { 1e-21 } else { 0.0 }),
        jitter_logits: Some(0.0),
        geometry: Defined::Value(geometry(group.l2, nc, epoch, jiggle)),
        geometry_counterpart: None,
        ood,
        histograms,
        skipped: Vec::new(),
    }
}

/// Groups and runs of the quick scale with `seeds` seeds.
pub(crate) fn synthetic(seeds: u64) -> Results {
    let mut results = Results::new("quick");
    results.provenance.kernel_path = "avx512-f32".into();
    results.provenance.precision = "f32".into();
    results.provenance.code_version = "0.1.0".into();
    results.provenance.platform = "linux x86_64".into();
    results.provenance.command = "cargo xtask reproduce".into();
    results.provenance.manifest_sha256 = "0".repeat(64);
    results.data = SETS
        .iter()
        .map(|name| DataSet {
            name: (*name).into(),
            role: Role::Ood,
            images: 1000,
            description: "a synthetic set <for tests> & nothing else".into(),
            sha256: "1".repeat(64),
        })
        .collect();
    for (id, l2, nc, epochs, long, sn, modified, ablation) in [
        ("r18-l2", true, false, 5, false, true, true, false),
        ("r18-base-short", false, false, 5, false, true, true, false),
        ("r18-base", false, false, 16, true, true, true, false),
        ("r18-l2-long", true, false, 16, true, true, true, false),
        ("r18-nc", false, true, 5, false, true, true, false),
        ("r18-l2-nosn", true, false, 5, false, false, true, true),
        ("r18-l2-nomod", true, false, 5, false, true, false, true),
    ] {
        results.groups.push(Group {
            id: id.into(),
            net: "resnet18".into(),
            width: 16,
            l2,
            loss: if nc {
                Loss::NeuralCollapse
            } else {
                Loss::CrossEntropy
            },
            epochs,
            schedule: if long {
                ScheduleLength::Long
            } else {
                ScheduleLength::Short
            },
            spectral_norm: sn.then_some(3.0),
            modified,
            ablation,
            precision: None,
            seeds: (1..=seeds).collect(),
            measure_images: None,
        });
    }
    for group in &results.groups {
        for seed in 1..=seeds {
            let mut evaluations = Vec::new();
            if group.id == "r18-base" {
                evaluations.push(evaluation(group, 5, seed));
            }
            evaluations.push(evaluation(group, group.epochs, seed));
            let history = [0, 1, 2, 3, 5, 8, 12, 16]
                .into_iter()
                .filter(|epoch| *epoch <= group.epochs)
                .map(|epoch| EpochRecord {
                    epoch,
                    learning_rate: 0.1,
                    train_loss: (epoch > 0).then(|| 2.0 / epoch as f64),
                    train_accuracy: (epoch > 0).then_some(0.8),
                    validation_accuracy: Some(0.85),
                    geometry: Some(geometry(
                        group.l2,
                        group.loss == Loss::NeuralCollapse,
                        epoch,
                        noise(seed * 31 + epoch as u64),
                    )),
                    geometry_counterpart: None,
                    auroc: Vec::new(),
                })
                .collect();
            results.runs.push(Run {
                group: group.id.clone(),
                seed,
                parameters: 700_000,
                evaluations,
                history,
                made_by: Vec::new(),
                times: RunTimes::default(),
            });
        }
    }
    results.times.insert("training".into(), 123.4);
    results
}
