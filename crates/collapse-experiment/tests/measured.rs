//! `measure_images`: a part of every set on the way, everything in whole evaluations, and no other question than before.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use collapse_data::Benchmark;
use collapse_experiment::{
    EpochProgress, ImageForm, Manifest, Observer, RunId, Stop, Work, make_run, plan,
};
use collapse_models::Device;
use collapse_results::Run;
use collapse_train::Precision;

const MANIFEST: &str = r#"
    scale = "measured"
    description = "for this test"
    seeds = [1]
    width = 4
    batch = 32
    learning_rate = 0.1
    momentum = 0.9
    weight_decay = 5e-4
    precision = "f32"
    measure_at = [0, 1]
    [data]
    id = "embedded"
    [[group]]
    id = "l2"
    l2 = true
    epochs = 3
    schedule = "short"
    evaluate_at = [2]
    spectral_norm = false
"#;

/// Counts the images that are measured, and those that were announced.
#[derive(Default)]
struct Counts {
    measured: AtomicU64,
}

impl Observer for Counts {
    fn planned(&self, _runs: usize, _kept: usize, _trained: u64, _measured: u64) {}
    fn started(&self, _run: &RunId, _trained: u64, _measured: u64) {}
    fn trained(&self, _images: u64) {}
    fn measured(&self, images: u64) {
        self.measured.fetch_add(images, Ordering::Relaxed);
    }
    fn note(&self, _message: &str) {}
    fn epoch(&self, _run: &RunId, _progress: EpochProgress) {}
    fn measuring(&self, _run: &RunId, _epoch: usize) {}
    fn finished(&self, _run: &RunId, _result: &Run) {}
    fn finished_elsewhere(&self, _run: &RunId, _trained: u64, _measured: u64) {}
}

fn with(line: &str) -> Manifest {
    let text = MANIFEST.replace("measure_at", &format!("{line}\n    measure_at"));
    Manifest::parse(&text, "measured.rs").unwrap()
}

fn run(manifest: &Manifest, benchmark: &Benchmark, folder: &Path) -> (Run, u64) {
    let plan = plan(manifest, ImageForm::of(benchmark), Precision::F32)
        .unwrap()
        .remove(0);
    let counts = Counts::default();
    let work = Work {
        benchmark,
        observer: &counts,
        device: Device::Cpu,
        stop: &Stop::default(),
        code_version: "test",
        one_path: false,
    };
    let described = plan.manifest(benchmark, work.code_version).unwrap();
    let run = make_run(&plan, &described, folder, &work).unwrap();
    (run, counts.measured.into_inner())
}

#[test]
fn a_part_is_measured_on_the_way_and_everything_in_whole_evaluations() {
    let benchmark = Benchmark::embedded().unwrap().limited(40, 20).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (whole, all) = run(&with(""), &benchmark, &folder.path().join("whole"));
    let (part, fewer) = run(
        &with("measure_images = 80"),
        &benchmark,
        &folder.path().join("part"),
    );

    // 288 training, 32 validation, 160 test and the OoD images; epochs 0 and 1 take at most 80 of each.
    let ood: usize = benchmark.ood().iter().map(collapse_data::View::len).sum();
    let ood_part: usize = benchmark.ood().iter().map(|view| view.len().min(80)).sum();
    assert_eq!(all, 4 * (288 + 32 + 160 + ood) as u64);
    assert_eq!(fewer, all / 2 + 2 * (80 + 32 + 80 + ood_part) as u64);

    assert_eq!(
        part.evaluations, whole.evaluations,
        "whole evaluations see all images"
    );
    let geometry = |run: &Run, epoch: usize| {
        let record = run.history.iter().find(|record| record.epoch == epoch);
        record.unwrap().geometry
    };
    for epoch in [2, 3] {
        assert_eq!(
            geometry(&part, epoch),
            geometry(&whole, epoch),
            "epoch {epoch}"
        );
    }
    for epoch in [0, 1] {
        let (part, whole) = (
            geometry(&part, epoch).unwrap(),
            geometry(&whole, epoch).unwrap(),
        );
        assert_ne!(part, whole, "epoch {epoch}");
        assert!(
            (0.3..3.0).contains(&(part.nc1 / whole.nc1)),
            "{part:?} {whole:?}"
        );
    }
}

#[test]
fn too_few_images_are_refused_and_older_manifests_are_the_same_question() {
    let text = MANIFEST.replace("measure_at", "measure_images = 9\n    measure_at");
    let refused = Manifest::parse(&text, "measured.rs")
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("line 11: measure_images = 9; ") && refused.contains("at least 80"),
        "{refused}"
    );
    // What experiments/cifar10-width8.toml was before there was such a field, and before it named its precision.
    let c4 = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/cifar10-width8.toml");
    let c4 = std::fs::read_to_string(c4).unwrap();
    let c4 = c4.replacen("precision = \"f32\"\n", "", 1);
    let sha256 = "2b314d8fa763e2ffcba80b15ff1d00a4fedd533310ff45ef1818a40a6e327be3";
    assert_eq!(Manifest::parse(&c4, "c4.toml").unwrap().sha256(), sha256);
    let resources = with("").sha256();
    let text = format!("{MANIFEST}\n[resources]\nminutes = 30\ncores = 4\n");
    assert_eq!(
        Manifest::parse(&text, "t").unwrap().sha256(),
        resources,
        "a cluster is not part of the question"
    );
}

#[test]
fn a_part_of_a_view_is_balanced_and_always_the_same() {
    let benchmark = Benchmark::embedded().unwrap();
    let test = benchmark.id().test();
    let part = test.part(83, 0);
    assert_eq!(part.indices(), test.part(83, 0).indices());
    assert_ne!(part.indices(), test.part(83, 1).indices());
    assert_eq!(part.len(), 83);
    assert!(part.indices().is_sorted());
    let mut counts = vec![0; part.n_classes()];
    for &label in part.labels().unwrap() {
        counts[label] += 1;
    }
    assert!(counts.iter().all(|n| (10..=11).contains(n)), "{counts:?}");
    for (position, &image) in part.indices().iter().enumerate() {
        assert_eq!(
            part.labels().unwrap()[position],
            test.set().labels().unwrap()[image]
        );
    }
    assert_eq!(test.part(10_000, 0).len(), test.len());
}
