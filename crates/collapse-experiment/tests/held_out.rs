//! Test and OoD images reach neither training nor fitting nor selection.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::collections::BTreeSet;
use std::path::Path;

use collapse_data::{Benchmark, Constants, ImageSet, InDistribution};
use collapse_experiment::{ImageForm, Manifest, Silent, Stop, Work, make_run, plan};
use collapse_models::Device;
use collapse_train::Precision;

const MANIFEST: &str = r#"
    scale = "held-out"
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
    epochs = 8
    schedule = "short"
    evaluate_at = [1]
    spectral_norm = false
"#;

/// The same set with every pixel inverted.
fn inverted(set: &ImageSet) -> ImageSet {
    ImageSet::new(
        set.name(),
        set.part(),
        set.shape(),
        set.pixels().iter().map(|&value| 255 - value).collect(),
        set.labels().map(<[usize]>::to_vec),
        set.classes().to_vec(),
    )
    .unwrap()
}

/// Trains in `folder` and returns the checkpoint, the training features and the temperature.
fn train(benchmark: &Benchmark, folder: &Path) -> (Vec<u8>, Vec<u8>, f64) {
    let manifest = Manifest::parse(MANIFEST, "held_out.rs").unwrap();
    let plan = plan(&manifest, ImageForm::of(benchmark), Precision::F32)
        .unwrap()
        .remove(0);
    let work = Work {
        benchmark,
        observer: &Silent,
        device: Device::Cpu,
        stop: &Stop::default(),
        code_version: "test",
        one_path: false,
    };
    let run_manifest = plan.manifest(benchmark, work.code_version).unwrap();
    let run = make_run(&plan, &run_manifest, folder, &work).unwrap();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    (
        read("checkpoint.safetensors"),
        read("features/train.safetensors"),
        run.last_evaluation()
            .unwrap()
            .scaling
            .value()
            .unwrap()
            .temperature,
    )
}

#[test]
fn other_test_and_ood_images_give_the_same_network_fit_and_selection() {
    let small = Benchmark::embedded().unwrap().limited(30, 10).unwrap();
    let other = Benchmark::new(
        small.name(),
        InDistribution::new(
            small.id().train_set().clone(),
            inverted(small.id().test_set()),
            Constants::Measured,
        )
        .unwrap(),
        small
            .ood()
            .iter()
            .map(|view| inverted(view.set()))
            .collect(),
    )
    .unwrap();
    // The embedded constants belong to the whole training set; both sides take those of the part.
    let small = Benchmark::new(
        small.name(),
        InDistribution::new(
            small.id().train_set().clone(),
            small.id().test_set().clone(),
            Constants::Measured,
        )
        .unwrap(),
        small.ood().iter().map(|view| view.set().clone()).collect(),
    )
    .unwrap();
    assert_ne!(small.hashes(), other.hashes());

    let folder = tempfile::tempdir().unwrap();
    let ours = train(&small, &folder.path().join("ours"));
    let theirs = train(&other, &folder.path().join("theirs"));
    assert!(
        ours == theirs,
        "training depends on images that it must not see"
    );
}

#[test]
fn no_embedded_image_is_in_two_sets() {
    let benchmark = Benchmark::embedded().unwrap();
    let images = |set: &ImageSet| -> BTreeSet<Vec<u8>> {
        (0..set.len())
            .map(|index| set.image(index).unwrap().to_vec())
            .collect()
    };
    let train = images(benchmark.id().train_set());
    let test = images(benchmark.id().test_set());
    assert!(train.is_disjoint(&test));
    for view in benchmark.ood() {
        let ood = images(view.set());
        assert!(
            ood.is_disjoint(&train) && ood.is_disjoint(&test),
            "{}",
            view.name()
        );
    }
    let parts = benchmark.id().split(1);
    let held: BTreeSet<&usize> = parts.validation.indices().iter().collect();
    assert!(
        parts
            .train
            .view()
            .indices()
            .iter()
            .all(|index| !held.contains(index))
    );
}
