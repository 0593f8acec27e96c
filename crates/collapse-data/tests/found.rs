//! Sets are found by what their files hold, whatever the files are called.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use collapse_data::{
    Benchmark, BenchmarkOptions, Cache, ImageSet, LoadOptions, Part, load, locate_files,
};

mod common;
use common::{cifar_records, gzip, idx, jpeg, mat, png, tar, write, zip};

fn open(name: &str, part: Part, folder: &Path) -> ImageSet {
    load(name, part, Some(folder), &LoadOptions::default()).unwrap()
}

/// Pixel (row, column) of image `i`.
fn pixel(set: &ImageSet, i: usize, row: usize, column: usize) -> [u8; 3] {
    let at = (row * set.shape().width + column) * 3;
    set.image(i).unwrap()[at..at + 3].try_into().unwrap()
}

fn cifar10_archive() -> Vec<u8> {
    let mut members: Vec<(String, Vec<u8>)> = (1..=5)
        .map(|n| {
            let name = format!("cifar-10-batches-bin/data_batch_{n}.bin");
            (name, cifar_records(&[n, n - 1], 1))
        })
        .collect();
    let test = cifar_records(&[7, 8, 9], 1);
    members.push(("cifar-10-batches-bin/test_batch.bin".into(), test));
    let members: Vec<(&str, Vec<u8>)> = members
        .iter()
        .map(|(name, content)| (name.as_str(), content.clone()))
        .collect();
    gzip(&tar(&members))
}

#[test]
fn cifar_archives_and_unpacked_files_are_upright() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "downloads/pictures", &cifar10_archive());
    let train = open("cifar10", Part::Train, folder.path());
    assert_eq!(train.labels().unwrap(), [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]);
    let test = open("cifar10", Part::Test, folder.path());
    assert_eq!(test.labels().unwrap(), [7, 8, 9]);
    // Red is the column and green the row in the file, so a transposed image would show.
    assert_eq!(pixel(&test, 1, 3, 20), [20, 3, 8]);

    let unpacked = tempfile::tempdir().unwrap();
    write(unpacked.path(), "c/test.bin", &cifar_records(&[99, 4], 2));
    write(
        unpacked.path(),
        "c/train.bin",
        &cifar_records(&[1, 2, 3], 2),
    );
    let test = open("cifar100", Part::Test, unpacked.path());
    assert_eq!(test.labels().unwrap(), [99, 4]);
    assert_eq!(pixel(&test, 0, 31, 2), [2, 31, 99]);
    assert_eq!(open("cifar100", Part::Train, unpacked.path()).len(), 3);
    assert_eq!(
        locate_files("cifar100", Part::Test, Some(unpacked.path())).unwrap(),
        [unpacked.path().join("c/test.bin")]
    );
}

#[test]
fn svhn_parts_are_told_apart_by_their_size() {
    for compressed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "digits", &mat(32, &[10, 1, 2], compressed));
        let test = open("svhn", Part::Test, folder.path());
        assert_eq!(test.labels().unwrap(), [0, 1, 2]);
        // The array is column-major and counts up: a step down is one, a step right is 32.
        assert_eq!(pixel(&test, 0, 5, 2)[0], 69);
        let train = load(
            "svhn",
            Part::Train,
            Some(folder.path()),
            &LoadOptions::default(),
        );
        assert!(train.unwrap_err().to_string().contains("data fetch svhn"));
    }
}

#[test]
fn idx_files_are_found_under_any_name() {
    let folder = tempfile::tempdir().unwrap();
    // MNIST's digits are unbalanced, its ones the commonest.
    let labels: Vec<u8> = (0..10_000)
        .map(|i| if i % 50 == 0 { 1 } else { (i % 10) as u8 })
        .collect();
    let pixels: Vec<u8> = (0..10_000 * 784usize).map(|i| (i / 784) as u8).collect();
    write(folder.path(), "a", &gzip(&idx(&[10_000, 28, 28], &pixels)));
    write(folder.path(), "b", &idx(&[10_000], &labels));
    let set = open("mnist", Part::Test, folder.path());
    assert_eq!((set.len(), set.image(300).unwrap()[5]), (10_000, 44));
    let fashion = load(
        "fashion-mnist",
        Part::Test,
        Some(folder.path()),
        &LoadOptions::default(),
    );
    assert!(fashion.is_err());
}

#[test]
fn tiny_imagenet_and_textures_keep_their_published_split() {
    let folder = tempfile::tempdir().unwrap();
    let annotations = b"val_0.JPEG\tn02\t0\t0\t62\t62\nval_1.JPEG\tn01\t0\t0\t62\t62\n".to_vec();
    let members = [
        ("t/train/n01/images/n01_0.JPEG", jpeg(64, 1)),
        ("t/val/images/val_0.JPEG", jpeg(64, 2)),
        ("t/val/images/val_1.JPEG", jpeg(64, 3)),
        ("t/val/val_annotations.txt", annotations),
        ("t/test/images/test_0.JPEG", jpeg(64, 4)),
    ];
    write(folder.path(), "archive", &zip(&members));
    let set = open("tiny-imagenet", Part::Test, folder.path());
    assert_eq!(set.labels().unwrap(), [1, 0]);
    assert_eq!(set.shape().width, 64);

    // Images of several sizes, half of them in the list of the test part.
    let members = [
        ("dtd/images/banded/1.jpg", jpeg(50, 1)),
        ("dtd/images/banded/2.jpg", jpeg(60, 2)),
        ("dtd/images/woven/1.jpg", jpeg(70, 3)),
        ("dtd/images/woven/2.jpg", jpeg(80, 4)),
        (
            "dtd/labels/test1.txt",
            b"banded/2.jpg\nwoven/1.jpg\n".to_vec(),
        ),
    ];
    let packed = tempfile::tempdir().unwrap();
    write(packed.path(), "x", &gzip(&tar(&members)));
    let unpacked = tempfile::tempdir().unwrap();
    for (name, content) in &members {
        write(unpacked.path(), name, content);
    }
    for folder in [packed.path(), unpacked.path()] {
        let set = open("textures", Part::Test, folder);
        assert_eq!(set.labels().unwrap(), [0, 1]);
        assert_eq!(set.classes(), ["banded", "woven"]);
        assert_eq!((set.shape().height, set.shape().width), (32, 32));
    }
}

#[test]
fn a_benchmark_takes_controls_and_folders_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "cifar.tar.gz", &cifar10_archive());
    let own = tempfile::tempdir().unwrap();
    write(own.path(), "holiday.jpg", &jpeg(90, 5));
    write(own.path(), "beach.png", &png(40, 6));
    let cache = tempfile::tempdir().unwrap();
    let options = BenchmarkOptions {
        ood: vec!["uniform-noise".into(), "phase-scrambled".into()],
        extra: vec![("mine".into(), own.path().to_path_buf())],
        cache: Some(Cache::new(cache.path())),
        ..BenchmarkOptions::default()
    };
    let benchmark = Benchmark::open(Some(folder.path()), &options).unwrap();
    let ood: Vec<_> = benchmark
        .ood()
        .iter()
        .map(|view| (view.name(), view.len()))
        .collect();
    assert_eq!(
        ood,
        [("uniform-noise", 3), ("phase-scrambled", 3), ("mine", 2)]
    );
    // A second start reads the cache and finds the same.
    let again = Benchmark::open(Some(folder.path()), &options).unwrap();
    assert_eq!(again.hashes(), benchmark.hashes());
    let note = benchmark.note(benchmark.id().train_set()).unwrap();
    assert_eq!(note, "10 of 50000 images");
    let twice = benchmark.with_extra(&[("mine".into(), own.path().to_path_buf())], None);
    assert!(twice.unwrap_err().to_string().contains("share this name"));
}
