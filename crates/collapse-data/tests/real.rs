//! Readers and benchmark on real sets, where `../shared/data` beside the workspace (or `COLLAPSE_DATA`) has them.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Instant;

use collapse_data::{Benchmark, BenchmarkOptions, Cache, LoadOptions, Part, duplicates, load};

fn data() -> Option<PathBuf> {
    let dir = std::env::var_os("COLLAPSE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    if dir.is_dir() {
        return Some(dir);
    }
    println!(
        "skipped: {} does not exist; set COLLAPSE_DATA to a folder with the real sets",
        dir.display()
    );
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
    let options = BenchmarkOptions {
        cache: Some(Cache::new(folder.path())),
        ..BenchmarkOptions::default()
    };
    let first = Benchmark::open(Some(&dir), &options).unwrap();
    let start = Instant::now();
    let cached = Benchmark::open(Some(&dir), &options).unwrap();
    println!("whole benchmark from the cache in {:?}", start.elapsed());
    for (a, b) in [first.id().train_set(), first.id().test_set()]
        .into_iter()
        .zip([cached.id().train_set(), cached.id().test_set()])
    {
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
    assert_eq!(
        first.note(first.ood()[0].set()).unwrap(),
        "the first 10000 of 26032 images"
    );
    // Published: two CIFAR-100 test images equal CIFAR-10 images.
    let reduced = first.without_duplicates().unwrap();
    assert_eq!(reduced.left_out()["cifar100"], 2);
    assert_eq!(
        reduced.note(reduced.ood()[1].set()).unwrap(),
        "2 left out that equal in-distribution images"
    );
    assert_eq!(reduced.ood()[1].len(), 9_998);
    let inside = duplicates::exact_duplicates(&[first.ood()[1].set()]);
    assert_eq!(inside.len(), 2);
}

#[test]
fn grey_sets_and_textures_are_found() {
    let Some(dir) = data() else { return };
    let mnist = load("mnist", Part::Test, Some(&dir), &LoadOptions::default()).unwrap();
    assert_eq!(
        mnist.class_counts(),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    );
    assert_eq!(mnist.shape().channels, 1);
    let textures = load("textures", Part::Test, Some(&dir), &LoadOptions::default()).unwrap();
    assert_eq!(textures.len(), 1200);
    let missing = load("cifar100", Part::Train, Some(&dir), &LoadOptions::default()).unwrap_err();
    assert!(
        missing.to_string().contains("data fetch cifar100"),
        "{missing}"
    );
}

/// Position, label and the first 16 hex digits of SHA-256 of the pixels, decoded by Pillow.
type Sample = (usize, usize, &'static str);

#[test]
fn samples_equal_pillows_decoding_to_the_pixel() {
    let Some(dir) = data() else { return };
    let expected: [(&str, Part, [Sample; 5]); 6] = [
        (
            "cifar10",
            Part::Train,
            [
                (0, 1, "348749720a036ac7"),
                (12500, 5, "3119185529e8314e"),
                (25000, 3, "9a7fc7c26c1add1c"),
                (37500, 7, "c98616ae239b45c7"),
                (49999, 5, "6e5a801e0c4a74dc"),
            ],
        ),
        (
            "cifar10",
            Part::Test,
            [
                (0, 9, "e5fe4fa1af1036ef"),
                (2500, 2, "4f40e8472c84c79e"),
                (5000, 6, "55c56db376751fa2"),
                (7500, 0, "89211235856bfa7b"),
                (9999, 6, "05c001d02358a92c"),
            ],
        ),
        (
            "cifar100",
            Part::Test,
            [
                (0, 97, "6a593eea9575d041"),
                (2500, 26, "ac3aef74569382d2"),
                (5000, 65, "fec85cd2f3835b79"),
                (7500, 1, "95610e5c4a121bab"),
                (9999, 63, "5284814fa64694c0"),
            ],
        ),
        (
            "svhn",
            Part::Test,
            [
                (0, 7, "69c8fafdb0ac41ab"),
                (2500, 1, "d7172e465cefa991"),
                (5000, 2, "00b39824a0e35afd"),
                (7500, 3, "8fd14a30aeacb1c6"),
                (9999, 4, "0d8c0e3ff4a3f3ee"),
            ],
        ),
        (
            "mnist",
            Part::Test,
            [
                (0, 5, "1738323e26581b23"),
                (2500, 3, "a34168a49748bcba"),
                (5000, 1, "0929dbdb40dd9703"),
                (7500, 2, "7d085b23a74adbcb"),
                (9999, 2, "3ec6752505428e1c"),
            ],
        ),
        (
            "textures",
            Part::Test,
            [
                (0, 1, "52897cda2714f45a"),
                (300, 8, "e92a7d4bee8b0a1c"),
                (600, 5, "37aee55c4da850cb"),
                (900, 5, "a1301a683acc80d1"),
                (1199, 6, "01e6b178be4b42bb"),
            ],
        ),
    ];
    for (name, part, samples) in expected {
        let set = load(name, part, Some(&dir), &LoadOptions::default()).unwrap();
        for (index, label, hash) in samples {
            assert_eq!(
                set.labels().unwrap()[index],
                label,
                "label of {name} {index}"
            );
            let found = collapse_data::sha256(set.image(index).unwrap()).to_hex();
            assert_eq!(&found[..16], hash, "pixels of {name} {index}");
        }
    }
}

/// Pillow's decoding of the first images, written by a Python script, as raw bytes; optional.
#[test]
fn jpegs_agree_with_pillow_but_for_rounding() {
    let Some(dir) = data() else { return };
    let Some(reference) = std::env::var_os("COLLAPSE_PILLOW_REFERENCE").map(PathBuf::from) else {
        println!(
            "skipped: COLLAPSE_PILLOW_REFERENCE names no folder with tiny64.bin and tiny32.bin"
        );
        return;
    };
    for (file, side) in [("tiny64.bin", 64), ("tiny32.bin", 32)] {
        let expected = std::fs::read(reference.join(file)).unwrap();
        let shape = Some(collapse_data::ImageShape::new(side, side, 3));
        let set = load(
            "tiny-imagenet",
            Part::Test,
            Some(&dir),
            &LoadOptions {
                shape,
                ..LoadOptions::default()
            },
        )
        .unwrap();
        let mut histogram = [0usize; 256];
        for (a, b) in set.pixels().iter().zip(&expected) {
            histogram[usize::from(a.abs_diff(*b))] += 1;
        }
        let total: usize = histogram.iter().sum();
        let beyond_one: usize = histogram[2..].iter().sum();
        println!(
            "{side}: differences {:?}, beyond one level {beyond_one} of {total}",
            &histogram[..8]
        );
        // The JPEG decoder's inverse DCT rounds otherwise than libjpeg-turbo's; averaging while shrinking hides most of it.
        assert!(
            histogram[6..].iter().all(|&n| n == 0),
            "a value differs by more than five levels"
        );
        let share = beyond_one as f64 / total as f64;
        assert!(
            share < if side == 64 { 0.1 } else { 0.02 },
            "{share} of the values differ by more than one level"
        );
    }
}
