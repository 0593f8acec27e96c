//! The embedded sample: what it holds, and that test images stay out of training.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "embedded")]

use collapse_data::{Benchmark, Role, quick};
use std::collections::BTreeSet;

#[test]
fn holds_the_sets_its_notice_names() {
    let quick = quick().unwrap();
    assert_eq!(quick.id_train.class_counts(), [400; 8]);
    assert_eq!(quick.id_test.class_counts(), [100; 8]);
    assert_eq!(quick.near.class_counts(), [200; 2]);
    assert_eq!(quick.near.classes(), ["Shirt", "Sneaker"]);
    assert_eq!(quick.far.class_counts(), [80; 10]);
    for class in quick.near.classes() {
        assert!(!quick.id_train.classes().contains(class));
    }
}

#[test]
fn splits_are_disjoint_and_follow_the_seed() {
    let benchmark = Benchmark::embedded().unwrap();
    let parts = benchmark.id().split(7);
    assert_eq!((parts.train.len(), parts.validation.len()), (2880, 320));
    let mut all: Vec<usize> = parts.train.view().indices().to_vec();
    all.extend(parts.validation.indices());
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..3200));
    assert_eq!(
        benchmark.id().split(7).validation.indices(),
        parts.validation.indices()
    );
    assert_ne!(
        benchmark.id().split(8).validation.indices(),
        parts.validation.indices()
    );
    assert_eq!(parts.train.view().role(), Role::Train);
}

#[test]
fn no_test_or_ood_image_is_in_the_training_set() {
    let benchmark = Benchmark::embedded().unwrap();
    let train: BTreeSet<&[u8]> = benchmark.id().train_set().pixels().chunks(784).collect();
    for view in benchmark
        .ood()
        .iter()
        .cloned()
        .chain([benchmark.id().test()])
    {
        for image in view.set().pixels().chunks(784) {
            assert!(
                !train.contains(image),
                "{} shares an image with the training set",
                view.name()
            );
        }
    }
}

#[test]
fn batches_depend_on_neither_order_nor_threads() {
    let benchmark = Benchmark::embedded().unwrap();
    let train = benchmark.id().split(1).train;
    let positions: Vec<usize> = (0..97).map(|i| i * 13).collect();
    let fill = |threads: usize, positions: &[usize]| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut out = Vec::new();
        pool.install(|| train.fill_batch(positions, 3, 1, true, &mut out))
            .unwrap();
        out
    };
    let one = fill(1, &positions);
    assert_eq!(one, fill(5, &positions));
    let reversed: Vec<usize> = positions.iter().rev().copied().collect();
    let other = fill(2, &reversed);
    for pixel in 0..784 {
        for i in 0..97 {
            assert_eq!(one[pixel * 97 + i], other[pixel * 97 + 96 - i]);
        }
    }
    let mut plain = Vec::new();
    train
        .fill_batch(&positions, 3, 1, false, &mut plain)
        .unwrap();
    assert_ne!(one, plain);
}

#[test]
fn augmented_images_are_shifted_or_mirrored_originals() {
    let benchmark = Benchmark::embedded().unwrap();
    let train = benchmark.id().split(1).train;
    let (mut plain, mut varied) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for epoch in 0..200 {
        train.fill_batch(&[5], epoch, 9, false, &mut plain).unwrap();
        train.fill_batch(&[5], epoch, 9, true, &mut varied).unwrap();
        let black = varied.iter().copied().fold(f32::INFINITY, f32::min);
        let at = |y: i32, x: i32| {
            if (0..28).contains(&y) && (0..28).contains(&x) {
                plain[(y * 28 + x) as usize]
            } else {
                black
            }
        };
        let explained = (-4..=4)
            .flat_map(|dy| (-4..=4).flat_map(move |dx| [(dy, dx, false), (dy, dx, true)]))
            .find(|&(dy, dx, flip)| {
                (0..28).all(|y| {
                    (0..28).all(|x| {
                        let source = if flip { 27 - x } else { x };
                        varied[(y * 28 + x) as usize] == at(y + dy, source + dx)
                    })
                })
            })
            .expect("no crop and flip explains the augmented image");
        seen.insert(explained);
    }
    assert!(
        seen.len() > 80,
        "only {} different variations in 200 epochs",
        seen.len()
    );
}

#[test]
fn batches_are_normalised_with_the_training_constants() {
    let benchmark = Benchmark::embedded().unwrap();
    let id = benchmark.id();
    let far = &benchmark.ood()[1];
    let mut hwnc = Vec::new();
    far.fill_batch(&[3, 4], &mut hwnc).unwrap();
    let mut nchw = Vec::new();
    far.fill_batch_nchw(&[3, 4], &mut nchw).unwrap();
    let (mean, std) = (id.normalization().mean()[0], id.normalization().std()[0]);
    for (i, image) in [3, 4].into_iter().enumerate() {
        for (pixel, &value) in far.set().image(image).unwrap().iter().enumerate() {
            let expected = (f32::from(value) / 255.0 - mean) / std;
            assert!((hwnc[pixel * 2 + i] - expected).abs() < 1e-6);
            assert_eq!(nchw[i * 784 + pixel], hwnc[pixel * 2 + i]);
        }
    }
    assert!(far.fill_batch(&[800], &mut hwnc).is_err());
}

#[test]
fn a_contact_sheet_shows_every_class() {
    let quick = quick().unwrap();
    let png = collapse_data::contact_sheet(&quick.id_train, 10).unwrap();
    let sheet = png::Decoder::new(std::io::Cursor::new(&png));
    let sheet = sheet.read_info().unwrap();
    assert_eq!(sheet.info().size(), (150 + 10 * 52 + 4, 8 * 52 + 4));
    if let Some(path) = std::env::var_os("COLLAPSE_SHEET") {
        std::fs::write(path, png).unwrap();
    }
    assert!(collapse_data::contact_sheet(&quick.near, 0).is_err());
}

#[test]
fn the_summary_counts_and_finds_no_duplicates_across_the_sample() {
    let quick = quick().unwrap();
    let summary = collapse_data::verify::summarise(&quick.id_train);
    assert_eq!((summary.n_images, summary.balanced), (3200, true));
    assert!(summary.findings.is_empty(), "{:?}", summary.findings);
    let sets = [&quick.id_train, &quick.id_test, &quick.near, &quick.far];
    assert!(collapse_data::verify::shared_images(&sets).is_empty());
}
