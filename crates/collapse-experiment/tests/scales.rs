//! What the scales that come with the project must be for the claims drawn from them.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use collapse_experiment::{GroupSpec, Manifest};
use collapse_results::{Loss, ScheduleLength};

const BUILT_IN: [&str; 5] = ["quick", "precision", "small", "full", "paper"];

/// What `auto` means is another question on another machine.
#[test]
fn every_scale_names_its_precision() {
    for scale in BUILT_IN {
        let manifest = serde_json::to_value(Manifest::scale_named(scale).unwrap()).unwrap();
        assert_eq!(manifest["precision"], "f32", "{scale}");
        let groups = manifest["group"].as_array().unwrap();
        assert!(
            groups.iter().all(|group| group["precision"] != "auto"),
            "{scale}"
        );
    }
}

/// C1 compares finished schedules of both lengths, in every network.
#[test]
fn the_papers_scale_has_both_lengths_with_and_without_l2() {
    let manifest = Manifest::scale_named("paper").unwrap();
    for (net, short) in [("resnet18", 60), ("resnet50", 100)] {
        for l2 in [true, false] {
            let place = |schedule| {
                let found = |group: &&GroupSpec| {
                    group.net == net
                        && group.l2 == l2
                        && group.schedule == schedule
                        && group.loss == Loss::CrossEntropy
                        && !group.ablation
                };
                let groups: Vec<_> = manifest.groups().iter().filter(found).collect();
                assert_eq!(groups.len(), 1, "{net} l2 {l2} {schedule:?}");
                groups[0].epochs
            };
            assert_eq!(place(ScheduleLength::Short), short);
            assert_eq!(place(ScheduleLength::Long), 350);
        }
    }
}
