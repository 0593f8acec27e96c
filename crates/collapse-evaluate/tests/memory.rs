//! Features of f32 are nowhere copied whole into f64: what every detector together takes is little beside the features.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_evaluate::{FeatureSplits, SavedDetectors, Split};
use collapse_features::{FeatureSet, Precision, read};
use collapse_ood::{Intervals, Settings};
use collapse_testing::PeakAlloc;
use ndarray::{Array1, Array2};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const D: usize = 256;

/// `n` samples of three classes about axes of their own, with rows of every length.
fn set(n: usize, first: usize) -> FeatureSet {
    let value = |(i, j): (usize, usize)| {
        let noise = (((i + first) * 7919 + j * 104_729) % 100_003) as f32 / 100_003.0;
        let on = if j % 3 == i % 3 { 2.0 } else { 0.5 };
        on + noise
    };
    let weight = |(c, j): (usize, usize)| if j % 3 == c { 0.1 } else { -0.05 };
    FeatureSet::new(Array2::from_shape_fn((n, D), value))
        .with_labels((0..n).map(|i| i % 3).collect())
        .with_head(Array2::from_shape_fn((3, D), weight), Array1::zeros(3))
}

/// Bytes allocated at most at one time, beside what was before; on two threads, since every thread has its panels.
fn peak(work: impl FnOnce() + Send) -> usize {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
    let pool = pool.build().unwrap();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    pool.install(work);
    ALLOCATOR.peak_usage() - before
}

#[test]
fn every_detector_takes_little_beside_features_of_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let n = 24_000;
    for (name, set) in [
        ("train", set(n, 0)),
        ("test", set(300, n)),
        ("ood", set(300, 1)),
    ] {
        let path = path(&format!("{name}.safetensors"));
        set.write(path, Precision::F32).unwrap();
    }
    let bytes = 4 * n * D;
    for l2 in [false, true] {
        let found = peak(|| {
            let open =
                |name: &str| Split::new(name, read(path(&format!("{name}.safetensors"))).unwrap());
            let splits = FeatureSplits {
                train: Some(open("train")),
                validation: None,
                test: open("test"),
                ood: vec![open("ood")],
            };
            let splits = splits.complete(Some(l2)).unwrap();
            let settings = Settings {
                em_components: 8,
                ..Settings::default()
            };
            let fitted = splits.fit_all(&settings).unwrap();
            assert!(fitted.skipped.is_empty(), "{:?}", fitted.skipped);
            splits.evaluate(fitted, &Intervals::default()).unwrap();
        });
        assert!(
            found < bytes * 5 / 2,
            "{found} for {bytes} bytes of features, l2 {l2}"
        );
    }
}

/// kNN and NNGuide keep the training features once, in their own precision.
#[test]
fn a_file_of_detectors_holds_the_features_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("detectors.bin");
    let splits = FeatureSplits {
        train: Some(Split::new("train", set(600, 0))),
        validation: None,
        test: Split::new("test", set(60, 600)),
        ood: vec![Split::new("ood", set(60, 1))],
    };
    let splits = splits.complete(None).unwrap();
    for names in [&["knn", "nnguide"][..], &["nnguide"]] {
        let fitted = splits
            .fit_named(&Settings::default(), names.iter().copied())
            .unwrap();
        let saved = SavedDetectors::of(&splits, fitted, "0.1.0");
        saved.write(&path).unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len() as usize;
        let features = 4 * 600 * D;
        // MessagePack puts a mark of one byte before every number.
        assert!(bytes < features * 3 / 2, "{bytes}");
        let again = SavedDetectors::read(&path).unwrap();
        let scores = |fitted| {
            let evaluation = splits.evaluate(fitted, &Intervals::default()).unwrap();
            evaluation.test.scores
        };
        assert_eq!(scores(again.fitted), scores(saved.fitted));
    }
}
