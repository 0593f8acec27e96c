//! One run's results, as small as they can be.

use collapse_results::{
    Defined, Detection, Evaluation, Geometry, Group, Histogram, Loss, OodResult, Results,
    RiskCoverage, Run, RunTimes, ScheduleLength, ScoreId, TemperatureScaling,
};
use serde_json::json;

pub fn results() -> Results {
    let mut results = Results::new("quick");
    results.groups.push(Group {
        id: "r18-l2".into(),
        net: "resnet18".into(),
        width: 8,
        l2: true,
        loss: Loss::CrossEntropy,
        epochs: 5,
        schedule: ScheduleLength::Short,
        spectral_norm: Some(3.0),
        modified: true,
        ablation: false,
        precision: None,
        seeds: vec![1],
        measure_images: None,
    });
    results.runs.push(Run {
        group: "r18-l2".into(),
        seed: 1,
        parameters: 700_000,
        evaluations: vec![evaluation()],
        history: vec![
            serde_json::from_value(json!({
                "epoch": 1, "learning_rate": 0.1, "train_loss": 1.5, "train_accuracy": 0.5,
                "validation_accuracy": null, "geometry": null, "auroc": [["mnist", 0.7]]
            }))
            .unwrap(),
        ],
        made_by: Vec::new(),
        times: RunTimes::default(),
    });
    results
}

pub fn evaluation() -> Evaluation {
    Evaluation {
        epoch: 5,
        accuracy: 0.9,
        ece: 0.05,
        scaling: Defined::Value(TemperatureScaling {
            temperature: 1.4,
            ece: 0.02,
        }),
        nll: 0.4,
        risk_coverage: Some(RiskCoverage {
            score: ScoreId::MAX_SOFTMAX,
            aurc: 0.02,
            augrc: 0.01,
        }),
        jitter_features: Some(0.0),
        jitter_logits: None,
        geometry: Defined::Value(Geometry {
            nc1: 4.0,
            ..Geometry::default()
        }),
        geometry_counterpart: None,
        ood: vec![OodResult {
            set: "mnist".into(),
            score: ScoreId::GMM_FEATURES,
            detection: Detection {
                auroc: 0.9,
                aupr_in: 0.9,
                aupr_out: 0.9,
                fpr95_id_positive: 0.3,
                fpr95_ood_positive: 0.3,
                detection_error: 0.1,
            },
        }],
        histograms: vec![Histogram {
            score: ScoreId::GMM_FEATURES,
            set: "mnist".into(),
            low: 0.0,
            high: 1.0,
            axis: None,
            counts: vec![1, 2, 3],
        }],
        skipped: Vec::new(),
    }
}
