//! Readers and benchmark on real sets, where `../shared/data` beside the workspace (or `COLLAPSE_DATA`) has them.

use std::path::PathBuf;
use std::time::Instant;

use collapse_data::{Benchmark, BenchmarkOptions, Cache, LoadOptions, Part, duplicates, load, registry};

fn data() -> Option<PathBuf> {
    let dir = std::env::var_os("COLLAPSE_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: {} does not exist; set COLLAPSE_DATA to a folder with the real sets", dir.display());
    None
}

#[test]
fn cifar10_has_its_published_counts_and_statistics() {
    let Some(dir) = data() else { return };
    let start = Instant::now();
    let train = load("cifar10", Part::Train, Some(&dir), &LoadOptions::default()).unwrap();
    println!("CIFAR-10 train decoded in {:?}", start.elapsed());
    assert_eq!(train.class_counts(), [5000; 10]);
    assert_eq!(train.classes()[0], "airplane");
    let statistics = train.channel_statistics();
    for (found, published) in statistics.mean.iter().zip([0.4914, 0.4822, 0.4465]) {
        assert!((found - published).abs() < 5e-5, "{statistics:?}");
    }
    for (found, published) in statistics.std.iter().zip([0.2470, 0.2435, 0.2616]) {
        assert!((found - published).abs() < 5.1e-5, "{statistics:?}");
    }
}

#[test]
fn the_benchmark_finds_its_sets_by_content_and_the_cache_agrees() {
    let Some(dir) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = BenchmarkOptions { cache: Some(Cache::new(folder.path())), ..BenchmarkOptions::default() };
    let first = Benchmark::from_dir(&dir, &options).unwrap();
    let start = Instant::now();
    let cached = Benchmark::from_dir(&dir, &options).unwrap();
    println!("whole benchmark from the cache in {:?}", start.elapsed());
    for (a, b) in [first.id().train_set(), first.id().test_set()].into_iter().zip([cached.id().train_set(), cached.id().test_set()]) {
        assert_eq!(a.pixels(), b.pixels());
        assert_eq!(a.content_hash(), b.content_hash());
    }
    let names: Vec<_> = first.ood().iter().map(|v| v.name().to_string()).collect();
    assert_eq!(names, ["svhn", "cifar100", "tiny-imagenet"]);
    for view in first.ood() {
        assert_eq!(view.len(), 10_000);
        assert_eq!(view.shape(), first.id().train_set().shape());
    }
    assert_eq!(first.ood()[1].set().class_counts(), [100; 100]);
    assert_eq!(first.ood()[1].set().classes()[0], "apple");
    assert_eq!(registry::partial_note(first.ood()[0].set()).unwrap(), "10000 of 26032 images");
    // Published: two CIFAR-100 test images equal CIFAR-10 images.
    let reduced = first.without_duplicates().unwrap();
    assert_eq!(reduced.dropped_duplicates(), 2);
    assert_eq!(reduced.ood()[1].len(), 9_998);
    let inside = duplicates::exact_duplicates(&[first.ood()[1].set()]);
    assert_eq!(inside.len(), 2);
}

#[test]
fn grey_sets_and_textures_are_found() {
    let Some(dir) = data() else { return };
    let mnist = load("mnist", Part::Test, Some(&dir), &LoadOptions::default()).unwrap();
    assert_eq!(mnist.class_counts(), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    assert_eq!(mnist.shape().channels, 1);
    let textures = load("textures", Part::Test, Some(&dir), &LoadOptions::default()).unwrap();
    assert_eq!(textures.len(), 1200);
    let missing = load("cifar100", Part::Train, Some(&dir), &LoadOptions::default()).unwrap_err();
    assert!(missing.to_string().contains("data fetch cifar100"), "{missing}");
}
