//! A run store that cannot be deceived: what is believed, what is set aside, who may write.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};

use collapse_experiment::{
    ClaimedRun, Error, RunManifest, RunStore, Stop, Verdict, finished_in, verify_store,
};
use collapse_models::{Net, NetConfig};
use collapse_results::{Run, RunTimes};
use collapse_train::{InMemory, TrainConfig, Trainer};

fn manifest_of(group: &str, seed: u64, width: usize) -> RunManifest {
    RunManifest::new(group, seed, serde_json::json!({ "width": width }), "test")
}

fn manifest(width: usize) -> RunManifest {
    manifest_of("g", 1, width)
}

fn run_of(group: &str, seed: u64) -> Run {
    Run {
        group: group.into(),
        seed,
        parameters: 3,
        evaluations: vec![],
        history: vec![],
        made_by: vec![],
        times: RunTimes::default(),
    }
}

fn take(folder: &Path, manifest: &RunManifest) -> ClaimedRun {
    ClaimedRun::take(folder, manifest).unwrap().unwrap()
}

/// A finished run of `manifest` in `folder`.
fn finish(folder: &Path, manifest: &RunManifest) {
    let run = run_of(&manifest.group, manifest.seed);
    take(folder, manifest).finish(&run).unwrap();
}

fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.display().to_string().contains(".before-"));
    found.sort();
    found
}

#[test]
fn a_finished_run_is_found_again_and_only_for_its_own_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    let claimed = take(&store.folder("g", 1), &manifest(8));
    assert_eq!(store.finished(&manifest(8)).unwrap(), None);
    claimed.finish(&run_of("g", 1)).unwrap();
    assert_eq!(store.finished(&manifest(8)).unwrap(), Some(run_of("g", 1)));
    assert_eq!(store.finished(&manifest(16)).unwrap(), None);
}

#[test]
fn a_claimed_run_is_refused_to_others_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let claimed = take(&run, &manifest(8));
    assert!(ClaimedRun::take(&run, &manifest(8)).unwrap().is_none());
    // Not even by another configuration, which would set the folder aside.
    assert!(ClaimedRun::take(&run, &manifest(16)).unwrap().is_none());
    drop(claimed);
    take(&run, &manifest(8));
    assert_eq!(set_aside(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_result_without_its_manifest_is_not_adopted_by_any_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    finish(&run, &manifest(8));
    std::fs::remove_file(run.join("manifest.json")).unwrap();
    for width in [8, 64] {
        assert_eq!(finished_in(&run, &manifest(width)).unwrap(), None);
    }
    let mut claimed = take(&run, &manifest(64));
    assert_eq!(claimed.result().unwrap(), None);
    let note = &claimed.notes()[0];
    assert!(
        note.contains("no manifest.json") && note.contains(".before-"),
        "{note}"
    );
    assert!(set_aside(folder.path())[0].join("result.json").exists());
}

#[test]
fn a_result_copied_from_another_run_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("a"), folder.path().join("b"));
    for other in [manifest_of("g", 2, 8), manifest_of("h", 1, 8), manifest(16)] {
        finish(&here, &manifest(8));
        finish(&there, &other);
        std::fs::copy(there.join("result.json"), here.join("result.json")).unwrap();
        assert_eq!(finished_in(&here, &manifest(8)).unwrap(), None);
        let mut claimed = take(&here, &manifest(8));
        assert_eq!(claimed.result().unwrap(), None);
        assert!(
            claimed.notes()[0].contains("is the result of"),
            "{:?}",
            claimed.notes()
        );
    }
    assert_eq!(set_aside(&here).len(), 3, "each under a name of its own");
}

#[test]
fn an_edited_result_is_set_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    finish(&run, &manifest(8));
    let path = run.join("result.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("\"parameters\": 3", "\"parameters\": 4"),
    )
    .unwrap();
    let mut claimed = take(&run, &manifest(8));
    assert_eq!(claimed.result().unwrap(), None);
    assert!(claimed.notes()[0].contains("seal"), "{:?}", claimed.notes());
    assert!(!path.exists());
    claimed.finish(&run_of("g", 1)).unwrap();
    assert_eq!(
        finished_in(&run, &manifest(8)).unwrap(),
        Some(run_of("g", 1))
    );
    assert_eq!(set_aside(&run).len(), 1);
}

#[test]
fn folders_of_other_configurations_are_kept_each_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["run", "run.v1", "run.v2"] {
        for width in [8, 16, 8, 16] {
            finish(&folder.path().join(name), &manifest(width));
        }
    }
    let aside = set_aside(folder.path());
    assert_eq!(aside.len(), 9);
    assert!(aside.iter().all(|path| path.join("result.json").exists()));
}

#[test]
fn nothing_is_written_into_a_folder_that_was_removed_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");

    let claimed = take(&run, &manifest(8));
    std::fs::remove_dir_all(&run).unwrap();
    assert!(matches!(claimed.check(), Err(Error::ClaimLost { .. })));
    assert!(claimed.finish(&run_of("g", 1)).is_err());
    assert!(!run.exists(), "a vanished folder is not made again");

    let claimed = take(&run, &manifest(8));
    std::fs::remove_dir_all(&run).unwrap();
    let other = take(&run, &manifest(16));
    let error = claimed.finish(&run_of("g", 1)).unwrap_err().to_string();
    assert!(error.contains("removed, moved, replaced"), "{error}");
    assert_eq!(finished_in(&run, &manifest(16)).unwrap(), None);
    other.finish(&run_of("g", 1)).unwrap();
}

#[test]
fn a_claim_that_another_was_granted_too_stops_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let claimed = take(&run, &manifest(8));
    // As a file system does whose locks are without effect.
    let lease = r#"{"host":"elsewhere","process":7,"token":"theirs"}"#;
    std::fs::write(run.join("lease"), lease).unwrap();
    assert!(matches!(claimed.check(), Err(Error::ClaimLost { .. })));
    assert!(claimed.finish(&run_of("g", 1)).is_err());
    assert!(!run.join("result.json").exists());
}

#[test]
fn what_a_killed_process_left_is_swept_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    drop(take(&run, &manifest(8)));
    std::fs::create_dir(run.join("features")).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 24 * 3600);
    let file = |name: &str, old: bool| {
        let path = run.join(name);
        let file = std::fs::File::create(&path).unwrap();
        if old {
            file.set_modified(long_ago).unwrap();
        }
        path
    };
    let (a, b) = (
        file(".collapse-1.tmp", true),
        file("features/.collapse-2.tmp", true),
    );
    let (fresh, other) = (file(".collapse-3.tmp", false), file("notes.tmp", true));
    take(&run, &manifest(8));
    assert!(!a.exists() && !b.exists());
    assert!(fresh.exists() && other.exists());
}

#[test]
fn files_have_ordinary_permissions() {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        finish(&run, &manifest(8));
        let usual = folder.path().join("usual");
        std::fs::write(&usual, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        for name in ["manifest.json", "result.json"] {
            assert_eq!(mode(&run.join(name)), mode(&usual), "{name}");
        }
    }
}

#[test]
fn verifying_a_store_names_the_damaged_files_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    for seed in [1, 2, 3] {
        finish(&store.folder("g", seed), &manifest_of("g", seed, 8));
    }
    let verdicts = || {
        let findings = verify_store(folder.path(), &Stop::default()).unwrap();
        let bad = findings
            .into_iter()
            .filter(|found| found.verdict != Verdict::Sound);
        bad.map(|found| found.path).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(), Vec::<PathBuf>::new());
    let of = |seed, name: &str| store.folder("g", seed).join(name);
    let mut bytes = std::fs::read(of(1, "result.json")).unwrap();
    bytes[20] ^= 1;
    std::fs::write(of(1, "result.json"), bytes).unwrap();
    std::fs::copy(of(2, "result.json"), of(3, "result.json")).unwrap();
    std::fs::write(of(2, ".collapse-x.tmp"), "").unwrap();
    assert_eq!(
        verdicts(),
        [
            of(1, "result.json"),
            of(2, ".collapse-x.tmp"),
            of(3, "result.json")
        ]
    );
    for found in verify_store(folder.path(), &Stop::default()).unwrap() {
        if let Verdict::Damaged { remedy, .. } = found.verdict {
            assert!(remedy.contains("delete it"), "{remedy}");
        }
    }
}

#[test]
fn verifying_a_store_misses_no_event_that_the_checkpoint_knows_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = NetConfig::new(Net::Resnet18, 2);
    (net.width, net.input_size, net.in_channels) = (1, 8, 1);
    let set = InMemory {
        images: (0..8 * 64).map(|i| (i % 7) as f32).collect(),
        labels: (0..8).map(|i| i % 2).collect(),
        n_classes: 2,
        side: 8,
        channels: 1,
    };
    let config = TrainConfig {
        epochs: 3,
        batch_size: 4,
        ..TrainConfig::default()
    };
    let trainer = Trainer::new(net, config, folder.path()).unwrap();
    trainer.run(&set, &mut ()).unwrap();
    let found = || -> Vec<String> {
        let findings = verify_store(folder.path(), &Stop::default()).unwrap();
        let told = findings
            .into_iter()
            .filter_map(|found| match found.verdict {
                Verdict::Damaged { reason, .. } => {
                    Some(format!("{}: {reason}", found.path.display()))
                }
                _ => None,
            });
        told.collect()
    };
    assert_eq!(found(), Vec::<String>::new());
    let path = trainer.events();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 3);
    let lacks = |epoch: usize| {
        let found = found();
        assert_eq!(found.len(), 1, "{found:?}");
        let (path, lost) = (path.display().to_string(), format!("lacks epoch {epoch}"));
        assert!(found[0].starts_with(&path), "{found:?}");
        assert!(found[0].contains(&lost), "{found:?}");
    };
    for kept in (0..3).rev() {
        std::fs::write(&path, lines[..kept].concat()).unwrap();
        lacks(kept + 1);
    }
    std::fs::remove_file(&path).unwrap();
    lacks(1);
}
