//! Damaged copies of what a run folder says about its run: none is believed.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::Path;

use collapse_experiment::{ClaimedRun, RunManifest, finished_in};
use collapse_results::{DataSet, EpochRecord, Maker, Role, Run, RunTimes, SetId, Span};
use collapse_testing::{Harness, Kind};

#[global_allocator]
static ALLOCATOR: collapse_testing::PeakAlloc = collapse_testing::PeakAlloc;

/// A manifest with every kind of field.
fn manifest() -> RunManifest {
    let identity = serde_json::json!({
        "format": 2,
        "run": { "net": { "net": "resnet18", "width": 8 }, "train": { "learning_rate": 0.1 } },
        "data": { "a/train": "00ff" },
    });
    let mut manifest = RunManifest::new("l2", 7, identity, "1.0+abc");
    manifest.data = vec![DataSet {
        name: SetId::from("a"),
        role: Role::Train,
        images: 3200,
        description: "train of a, 28x28x1".to_owned(),
        sha256: "00ff".to_owned(),
    }];
    manifest
}

fn run() -> Run {
    let record = |epoch| EpochRecord {
        epoch,
        learning_rate: 0.1,
        train_loss: Some(0.712_5),
        train_accuracy: Some(0.512_5),
        validation_accuracy: None,
        geometry: None,
        geometry_counterpart: None,
        auroc: vec![(SetId::from("svhn"), 0.9375)],
    };
    Run {
        group: "l2".to_owned(),
        seed: 7,
        parameters: 174_762,
        evaluations: vec![],
        history: (1..=5).map(record).collect(),
        made_by: vec![Span {
            first_epoch: 1,
            last_epoch: 5,
            maker: Maker {
                code_version: "1.0+abc".to_owned(),
                kernel_path: "portable".to_owned(),
                processor: "a processor".to_owned(),
            },
        }],
        times: RunTimes {
            train_seconds: 12.5,
            evaluate_seconds: 1.25,
        },
    }
}

/// Damages the file `name` of a finished run; `read` says what is believed of it.
fn damage(name: &str, read: impl Fn(&Path) -> Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let claimed = ClaimedRun::take(folder.path(), &manifest())
        .unwrap()
        .unwrap();
    claimed.finish(&run()).unwrap();
    let path = folder.path().join(name);
    let original = std::fs::read(&path).unwrap();
    Harness::new(name, Kind::Sealed).run(&original, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        read(folder.path()).ok_or("not believed")
    });
}

#[test]
fn damaged_results_are_not_believed() {
    damage("result.json", |folder| {
        let found = finished_in(folder, &manifest()).unwrap();
        found.map(|run| format!("{run:?}"))
    });
}

#[test]
fn damaged_manifests_are_not_believed() {
    damage("manifest.json", |folder| {
        let found = RunManifest::read(folder).ok()?;
        found.map(|manifest| format!("{manifest:?}"))
    });
}
