//! Ensembles from feature sets: the figures of their definition, and members that do not belong together.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_evaluate::{EnsembleSet, evaluate_ensemble};
use collapse_features::FeatureSet;
use collapse_results::ScoreId;
use ndarray::{Array2, array};

fn member(logits: Array2<f64>, labels: &[usize]) -> FeatureSet {
    let mut set =
        FeatureSet::new(Array2::<f64>::zeros((logits.nrows(), 1))).with_labels(labels.to_vec());
    set.logits = Some(logits);
    set
}

fn set(name: &str, members: Vec<FeatureSet>) -> EnsembleSet {
    EnsembleSet {
        name: name.into(),
        members,
    }
}

#[test]
fn members_that_disagree_tell_what_each_alone_is_sure_of() {
    // Each member is wrong on one test sample, but the other is surer there; on the far samples they contradict.
    let test = set(
        "test",
        vec![
            member(array![[4.0, 0.0], [1.0, 0.0], [0.0, 6.0]], &[0, 1, 1]),
            member(array![[5.0, 0.0], [0.0, 4.0], [0.0, 5.0]], &[0, 1, 1]),
        ],
    );
    let far = set(
        "far",
        vec![
            member(array![[5.0, 0.0], [0.0, 5.0]], &[0, 0]),
            member(array![[0.0, 5.0], [5.0, 0.0]], &[0, 0]),
        ],
    );
    let found = evaluate_ensemble(&test, &[far]).unwrap();
    assert_eq!(found.accuracy, 1.0);
    let scores: Vec<&ScoreId> = found.ood.iter().map(|result| &result.score).collect();
    assert_eq!(
        scores,
        [
            &ScoreId::ENSEMBLE_ENTROPY,
            &ScoreId::ENSEMBLE_MUTUAL_INFORMATION
        ]
    );
    for result in &found.ood {
        assert_eq!((result.set.as_str(), result.detection.auroc), ("far", 1.0));
    }
}

#[test]
fn members_of_other_samples_are_refused() {
    let logits = || array![[1.0, 0.0], [0.0, 1.0]];
    let refused = |members| {
        let error = evaluate_ensemble(&set("test", members), &[]).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error} {}", source.unwrap_or_default())
    };
    let other = refused(vec![member(logits(), &[0, 1]), member(logits(), &[1, 0])]);
    assert!(other.contains("in another order"), "{other}");
    let alone = refused(vec![member(logits(), &[0, 1])]);
    assert!(alone.contains("at least two"), "{alone}");
    let mut bare = member(logits(), &[0, 1]);
    bare.logits = None;
    let bare = refused(vec![member(logits(), &[0, 1]), bare]);
    assert!(bare.contains("logits"), "{bare}");
}
