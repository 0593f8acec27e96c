//! What candle-datasets loads, against independent decodings: always upright.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use candle_datasets::vision::{self, Dataset};
use collapse_data::candle::{self, Axes};
use collapse_data::readers::parquet;
use collapse_data::{ImageSet, Part};

mod common;

/// Six images of 32×32 with red the column and green the row, written by pyarrow as the hub does.
const CIFAR_LIKE: &[u8] = include_bytes!("cifar_like.parquet");
/// Set for the process that a test starts with a hub cache of its own.
const CHILD: &str = "COLLAPSE_TEST_CHILD";

fn decoded(bytes: &[u8]) -> ImageSet {
    parquet::read(
        bytes,
        "cifar10",
        Part::Test,
        "memory",
        &parquet::Options::default(),
    )
    .unwrap()
}

fn real_test_set() -> Option<PathBuf> {
    let dir = std::env::var_os("COLLAPSE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let file = dir.join("cifar10/test-00000-of-00001.parquet");
    if file.is_file() {
        return Some(file);
    }
    println!(
        "skipped with real images: {} does not exist; set COLLAPSE_DATA",
        file.display()
    );
    None
}

/// A hub cache in which `cifar::load()` finds `parquet` as both parts, without any network.
fn hub_cache(folder: &Path, parquet: &[u8]) {
    let repository = folder.join("hub/datasets--cifar10");
    let refs = repository.join("refs/refs/convert");
    std::fs::create_dir_all(&refs).unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    std::fs::write(refs.join("parquet"), commit).unwrap();
    for part in ["train", "test"] {
        let files = repository.join(format!("snapshots/{commit}/plain_text/{part}"));
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("0000.parquet"), parquet).unwrap();
    }
}

/// Runs the other half of a test in a process whose `HF_HOME` is `home`.
fn with_hf_home(home: &Path, test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{errors}");
}

#[test]
fn the_hub_loader_is_brought_upright() {
    if std::env::var_os(CHILD).is_some() {
        let home = PathBuf::from(std::env::var_os("HF_HOME").unwrap());
        let file = home.join("expected.parquet");
        let expected = decoded(&std::fs::read(file).unwrap());

        // The defect this guards against: candle-datasets 0.11.1 hands out [N, C, W, H].
        let raw = vision::cifar::load().unwrap();
        let wrong = candle::image_sets(&raw, "cifar10", Axes::Upright)
            .unwrap()
            .1;
        assert_ne!(wrong.pixels(), expected.pixels());

        let (train, test) = candle::cifar10().unwrap();
        assert_eq!(test.pixels(), expected.pixels());
        assert_eq!(train.pixels(), expected.pixels());
        assert_eq!(test.labels(), expected.labels());
        assert_eq!(test.classes()[0], "airplane");
        return;
    }
    let real = real_test_set().map(|file| std::fs::read(file).unwrap());
    for parquet in [Some(CIFAR_LIKE.to_vec()), real].into_iter().flatten() {
        let home = tempfile::tempdir().unwrap();
        hub_cache(home.path(), &parquet);
        std::fs::write(home.path().join("expected.parquet"), &parquet).unwrap();
        with_hf_home(home.path(), "the_hub_loader_is_brought_upright");
    }
}

#[test]
fn the_folder_loader_is_upright() {
    // candle-datasets insists on 10,000 records a file.
    let expected = match real_test_set() {
        Some(file) => decoded(&std::fs::read(file).unwrap()),
        None => {
            let six = decoded(CIFAR_LIKE);
            let indices: Vec<usize> = (0..10_000).map(|i| i % 6).collect();
            six.select(&indices).unwrap()
        }
    };
    let mut records = Vec::new();
    for (i, &label) in expected.labels().unwrap().iter().enumerate() {
        records.push(label as u8);
        let image = expected.image(i).unwrap();
        for channel in 0..3 {
            records.extend(image.iter().skip(channel).step_by(3));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test_batch.bin"), &records).unwrap();
    for n in 1..=5 {
        std::fs::write(folder.path().join(format!("data_batch_{n}.bin")), &records).unwrap();
    }
    let (train, test) = candle::cifar10_dir(folder.path()).unwrap();
    assert_eq!(test.pixels(), expected.pixels());
    assert_eq!(test.labels(), expected.labels());
    assert_eq!(train.len(), 50_000);
    assert!(candle::cifar10_dir(&folder.path().join("none")).is_err());
}

#[test]
fn grey_sets_and_wrong_values() {
    let dataset = |values: Vec<f32>| {
        let images = Tensor::from_vec(values, (2, 6), &Device::Cpu).unwrap();
        let images = Tensor::cat(&[&images, &images.narrow(1, 0, 3).unwrap()], 1).unwrap();
        let labels = Tensor::new(&[1u8, 0], &Device::Cpu).unwrap();
        Dataset {
            train_images: images.clone(),
            train_labels: labels.clone(),
            test_images: images,
            test_labels: labels,
            labels: 10,
        }
    };
    let levels: Vec<f32> = (0..12).map(|k| (k * 20) as f32 / 255.0).collect();
    let (train, test) = candle::image_sets(&dataset(levels), "mnist", Axes::Upright).unwrap();
    assert_eq!((train.part(), test.part()), (Part::Train, Part::Test));
    assert_eq!(test.image(0).unwrap(), [0, 20, 40, 60, 80, 100, 0, 20, 40]);
    assert_eq!(test.labels().unwrap(), [1, 0]);
    for bad in [0.5f32 / 255.0, 2.0, f32::NAN] {
        let error = candle::image_sets(&dataset(vec![bad; 12]), "mnist", Axes::Upright);
        assert!(error.unwrap_err().to_string().contains("grey level"));
    }
}
