//! A claim where locks fail or lie: the lease decides.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::Path;
use std::time::{Duration, SystemTime};

use collapse_data::Benchmark;
use collapse_experiment::{
    ClaimedRun, Error, ImageForm, Manifest, RunManifest, RunState, RunStore, Silent, Stop, Work,
    make_run, plan, status,
};
use collapse_models::Device;
use collapse_results::{Run, RunTimes};
use collapse_train::Precision;

fn manifest() -> RunManifest {
    RunManifest::new("l2", 1, serde_json::json!({ "width": 8 }), "test")
}

fn take(folder: &Path) -> Option<ClaimedRun> {
    ClaimedRun::take(folder, &manifest()).unwrap()
}

/// A lease as another process leaves it, `silent` ago.
fn leave(folder: &Path, host: &str, process: u32, silent: Duration) {
    std::fs::create_dir_all(folder).unwrap();
    let text = format!(r#"{{"host":"{host}","process":{process},"token":"theirs"}}"#);
    std::fs::write(folder.join("lease"), text).unwrap();
    let lease = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.join("lease"))
        .unwrap();
    lease.set_modified(SystemTime::now() - silent).unwrap();
}

fn here() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    host.trim().to_owned()
}

const MINUTES: Duration = Duration::from_secs(180);

#[test]
fn a_living_lease_is_respected_and_a_dead_one_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    leave(&run, "elsewhere", 7, Duration::ZERO);
    assert!(take(&run).is_none(), "it is alive on another machine");
    leave(&run, "elsewhere", 7, MINUTES);
    let claimed = take(&run).expect("it has been silent for long");
    claimed.check().unwrap();
    // Whom it belonged to is alive after all and takes it again: ours is lost.
    leave(&run, "elsewhere", 7, Duration::ZERO);
    assert!(matches!(claimed.check(), Err(Error::ClaimLost { .. })));
    drop(claimed);
    assert!(
        run.join("lease").exists(),
        "only its owner gives a lease back"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_dead_process_of_this_machine_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // No process has the largest number; another's number may be ours again after a restart.
    for process in [u32::MAX, std::process::id()] {
        leave(&run, &here(), process, Duration::ZERO);
        drop(take(&run).expect("its process is gone"));
    }
    leave(&run, &here(), 1, Duration::ZERO);
    assert!(take(&run).is_none(), "the first process lives");
}

#[test]
fn a_lease_is_given_back_and_dated_while_it_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let claimed = take(&run).unwrap();
    let dated = || {
        std::fs::metadata(run.join("lease"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let first = dated();
    std::thread::sleep(Duration::from_millis(5500));
    assert!(dated() > first, "no sign of life");
    claimed.check().unwrap();
    drop(claimed);
    assert!(!run.join("lease").exists());
    drop(take(&run).unwrap());
}

const TINY: &str = r#"
    scale = "tiny"
    description = "for this test"
    seeds = [1]
    width = 8
    batch = 32
    learning_rate = 0.1
    momentum = 0.9
    weight_decay = 5e-4
    [data]
    id = "embedded"
    [[group]]
    id = "l2"
    l2 = true
    epochs = 2
    schedule = "short"
"#;

/// The manifest of the scale's only run.
fn of_the_scale(scale: &Manifest) -> RunManifest {
    let images = ImageForm {
        n_classes: 8,
        channels: 1,
        side: 28,
    };
    let plan = plan(scale, images, Precision::F32).unwrap().remove(0);
    RunManifest::new("l2", 1, serde_json::json!({ "run": plan }), "test")
}

#[test]
fn the_status_tells_runs_of_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    let scale = |text: &str| Manifest::parse(text, "lease.rs").unwrap();
    let (ours, other) = (scale(TINY), scale(&TINY.replace("0.1", "0.05")));
    let manifest = of_the_scale(&ours);
    let run = store.folder("l2", 1);
    let check = |state, for_others| {
        assert_eq!(status(&ours, &store).unwrap()[0].state, state);
        let found = status(&other, &store).unwrap().remove(0);
        assert_eq!(found.state, for_others);
        assert!(found.remark.unwrap().contains("made with other settings"));
    };
    let claimed = ClaimedRun::take(&run, &manifest).unwrap().unwrap();
    check(RunState::Running, RunState::Running);
    let result = Run {
        group: "l2".to_owned(),
        seed: 1,
        parameters: 3,
        evaluations: vec![],
        history: vec![],
        made_by: vec![],
        times: RunTimes::default(),
    };
    claimed.finish(&result).unwrap();
    check(RunState::Done, RunState::Other);
}

#[test]
fn the_status_tells_running_stale_and_failed() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    let scale = Manifest::parse(TINY, "lease.rs").unwrap();
    let run = store.folder("l2", 1);
    let found = || status(&scale, &store).unwrap().remove(0);
    assert_eq!(found().state, RunState::Pending);

    let claimed = ClaimedRun::take(&run, &of_the_scale(&scale))
        .unwrap()
        .unwrap();
    assert_eq!(found().state, RunState::Running);
    assert_eq!(found().holder.unwrap().process, std::process::id());
    drop(claimed);

    leave(&run, "elsewhere", 7, MINUTES);
    let stale = found();
    assert_eq!(stale.state, RunState::Stale);
    assert!(stale.remark.unwrap().contains("3 min"));
}

#[test]
fn a_failed_run_keeps_its_reason_until_it_is_tried_again() {
    let benchmark = Benchmark::embedded().unwrap().limited(20, 10).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    let scale = Manifest::parse(&TINY.replace("0.1", "1e30"), "lease.rs").unwrap();
    let plan = plan(&scale, ImageForm::of(&benchmark), Precision::F32)
        .unwrap()
        .remove(0);
    let stop = Stop::default();
    let work = Work {
        benchmark: &benchmark,
        observer: &Silent,
        device: Device::Cpu,
        stop: &stop,
        code_version: "test",
        one_path: false,
    };
    let manifest = plan.manifest(&benchmark, "test").unwrap();
    let run = store.folder("l2", 1);
    make_run(&plan, &manifest, &run, &work).unwrap_err();
    let found = status(&scale, &store).unwrap().remove(0);
    assert_eq!(found.state, RunState::Failed);
    let reason = found.remark.unwrap();
    assert!(
        reason.contains("diverged") || reason.contains("loss"),
        "{reason}"
    );

    // Stopped before it could fail again, it is no longer called failed.
    stop.raise();
    let claimed = ClaimedRun::take(&run, &manifest).unwrap().unwrap();
    assert_eq!(status(&scale, &store).unwrap()[0].state, RunState::Running);
    drop(claimed);
    assert_eq!(status(&scale, &store).unwrap()[0].state, RunState::Failed);
}
