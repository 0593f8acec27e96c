//! Training on image views: augmented or not, the same images for the same seed, and held-out images never.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_data::{Benchmark, TrainingView};
use collapse_models::{Net, NetConfig};
use collapse_train::{FittedImages, HeldOutImages, TrainConfig, TrainSet, Trainer};

fn loss(view: &TrainingView, augment: bool) -> f64 {
    let mut net = NetConfig::new(Net::Resnet18, 8);
    (net.width, net.in_channels, net.input_size) = (4, 1, 28);
    net.spectral_norm = None;
    let config = TrainConfig {
        epochs: 1,
        batch_size: 32,
        augment,
        ..TrainConfig::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(net, config, folder.path()).unwrap();
    let trained = trainer.run(&FittedImages(view), &mut ()).unwrap();
    trained.history[0].loss
}

#[test]
fn views_are_trained_on_as_the_configuration_says() {
    let benchmark = Benchmark::embedded().unwrap().limited(20, 10).unwrap();
    let parts = benchmark.id().split(1);
    let (plain, augmented) = (loss(&parts.train, false), loss(&parts.train, true));
    assert_eq!(augmented, loss(&parts.train, true));
    assert_ne!(plain, augmented);
}

#[test]
fn held_out_images_are_not_augmented() {
    let benchmark = Benchmark::embedded().unwrap();
    let test = benchmark.id().test();
    let mut images = Vec::new();
    let refused = HeldOutImages(&test).batch(&[0, 1], 1, 1, true, &mut images);
    assert!(refused.unwrap_err().to_string().contains("held out"));
}
