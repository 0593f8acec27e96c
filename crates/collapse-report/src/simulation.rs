//! Error rates of the verdicts: what the claims say of results whose truth is known.
//!
//! `cargo run -p collapse-report --example error_rates` prints the table of `docs/method.md`.
//! Each simulated experiment has the groups of the paper's design. The mean AUROC of a run is its
//! group's level, plus a deviation that runs of one seed share (standard deviation 0.5 points),
//! plus its own (1 point); accuracy has the same with a tenth of the size; log10 of NC1 has own
//! deviations of 0.1 decades. Our choice of sizes; only effects in units of them matter.

use std::collections::BTreeMap;

use collapse_random::Stream;
use collapse_results::{
    Defined, Detection, EpochRecord, Evaluation, Geometry, Group, Loss, OodResult, Results, Run,
    RunTimes, ScheduleLength,
};

use crate::claims::{claims, verdict_label};
use crate::lineup::MAIN_SCORE;

/// Own deviation of a run, in points of AUROC.
const OWN: f64 = 1.0;
/// Deviation that the runs of a seed share, in points of AUROC.
const SHARED: f64 = 0.5;
/// Accuracy's deviations in those of AUROC.
const ACCURACY: f64 = 0.1;
/// Own deviation of log10 NC1.
const DECADES: f64 = 0.1;
/// Deviation of the groups' levels of log10 NC1: groups differ more than the runs within them.
const LEVELS: f64 = 2.0 * DECADES;

/// A truth to draw experiments from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// Networks in the experiment.
    pub networks: usize,
    /// Seeds of each group.
    pub seeds: u64,
    /// What L2 adds to AUROC and to accuracy, in points.
    pub points: f64,
    /// By how many decades L2 lowers NC1.
    pub decades: f64,
    /// Correlation of −log10 NC1 with AUROC between the runs of a group.
    pub correlation: f64,
    /// Standard deviation of the groups' levels of AUROC, in points, which have nothing to do with
    /// NC1; 0 where the groups themselves are compared.
    pub levels: f64,
}

/// How often each claim got each verdict in `repeats` simulated experiments.
///
/// The same arguments give the same counts.
#[must_use]
pub fn verdicts(truth: &Truth, repeats: u64) -> BTreeMap<String, BTreeMap<&'static str, usize>> {
    let mut counts: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for repeat in 0..repeats {
        let mut stream = Stream::new(truth.seeds, "report-simulation", repeat);
        for claim in claims(&experiment(truth, &mut stream)) {
            let by_verdict = counts.entry(claim.id).or_default();
            *by_verdict.entry(verdict_label(claim.verdict)).or_default() += 1;
        }
    }
    counts
}

const DESIGN: [(&str, bool, ScheduleLength, usize); 4] = [
    ("l2", true, ScheduleLength::Short, 1),
    ("base-short", false, ScheduleLength::Short, 1),
    ("base", false, ScheduleLength::Long, 2),
    ("l2-long", true, ScheduleLength::Long, 2),
];

/// One experiment drawn from `truth`.
fn experiment(truth: &Truth, stream: &mut Stream) -> Results {
    let mut results = Results::new("simulated");
    for network in 0..truth.networks {
        let shared: Vec<f64> = (0..truth.seeds).map(|_| SHARED * stream.normal()).collect();
        for (name, l2, schedule, epochs) in DESIGN {
            let group = Group {
                id: format!("n{network}-{name}"),
                net: format!("net{network}"),
                width: 1,
                l2,
                loss: Loss::CrossEntropy,
                epochs,
                schedule,
                spectral_norm: None,
                modified: true,
                ablation: false,
                precision: None,
                seeds: (0..truth.seeds).collect(),
                measure_images: None,
            };
            let runs = shared.iter().zip(0..);
            let level = LEVELS * stream.normal();
            let auroc = truth.levels * stream.normal();
            let runs = runs
                .map(|(shared, seed)| run(truth, &group, seed, (shared + auroc, level), stream));
            results.runs.extend(runs);
            results.groups.push(group);
        }
    }
    results
}

/// A run with the deviation of its seed and group, of a group whose final NC1 has its own level.
fn run(
    truth: &Truth,
    group: &Group,
    seed: u64,
    (shared, level): (f64, f64),
    stream: &mut Stream,
) -> Run {
    let (collapse, other) = (stream.normal(), stream.normal());
    let rho = truth.correlation;
    let own = OWN * (rho * collapse + (1.0 - rho * rho).sqrt() * other);
    let gain = if group.l2 { truth.points } else { 0.0 };
    let lowered = if group.l2 { truth.decades } else { 0.0 };
    let early = geometry(-lowered + DECADES * stream.normal());
    let last = geometry(level - DECADES * collapse);
    let auroc = (90.0 + gain + shared + own) / 100.0;
    let accuracy = (90.0 + gain + ACCURACY * (shared + OWN * stream.normal())) / 100.0;
    Run {
        group: group.id.clone(),
        seed,
        parameters: 1,
        evaluations: vec![evaluation(group.epochs, accuracy, auroc, last)],
        history: vec![EpochRecord {
            epoch: 1,
            learning_rate: 0.1,
            train_loss: None,
            train_accuracy: None,
            validation_accuracy: None,
            geometry: Some(early),
            // On one form of the features as on the other.
            geometry_counterpart: Some(early),
            auroc: Vec::new(),
        }],
        made_by: Vec::new(),
        times: RunTimes::default(),
    }
}

/// Measures of which every one is 10^`decades`.
fn geometry(decades: f64) -> Geometry {
    let value = 10f64.powf(decades);
    Geometry {
        nc1: value,
        nc1_over_classes: value,
        nc2_equinorm_means: value,
        nc2_equinorm_classifier: value,
        nc2_equiangular_means: value,
        nc2_equiangular_classifier: value,
        nc3: value,
        nc4: 0.0,
    }
}

fn evaluation(epoch: usize, accuracy: f64, auroc: f64, geometry: Geometry) -> Evaluation {
    Evaluation {
        epoch,
        accuracy,
        ece: 0.0,
        scaling: Defined::Undefined("simulated".to_owned()),
        nll: 0.0,
        risk_coverage: None,
        jitter_features: None,
        jitter_logits: None,
        geometry: Defined::Value(geometry),
        geometry_counterpart: None,
        ood: vec![OodResult {
            set: "simulated".into(),
            score: MAIN_SCORE,
            detection: Detection {
                auroc,
                aupr_in: auroc,
                aupr_out: auroc,
                fpr95_id_positive: 1.0 - auroc,
                fpr95_ood_positive: 1.0 - auroc,
                detection_error: 0.5 * (1.0 - auroc),
            },
        }],
        histograms: Vec::new(),
        skipped: Vec::new(),
    }
}
