//! What several tests of detectors need.

use collapse_evaluate::{CompleteSplits, FeatureSplits, Split};
use collapse_features::FeatureSet;
use ndarray::{Array1, Array2};

/// Three classes of 16 training samples with a head, which `far` moves apart; a validation and a test split.
pub fn splits(far: f64) -> CompleteSplits {
    let value = |(i, j): (usize, usize)| {
        let on = if i % 3 == j { far } else { 0.0 };
        on + ((i * 37 + j * 101) as f64).sin()
    };
    let set = |n: usize| {
        FeatureSet::new(Array2::from_shape_fn((n, 4), value))
            .with_labels((0..n).map(|i| i % 3).collect())
            .with_head(Array2::from_shape_fn((3, 4), value), Array1::zeros(3))
    };
    let splits = FeatureSplits {
        train: Some(Split::new("train", set(48))),
        validation: Some(Split::new("validation", set(12))),
        test: Split::new("test", set(6)),
        ood: Vec::new(),
    };
    splits.complete(None).unwrap()
}
