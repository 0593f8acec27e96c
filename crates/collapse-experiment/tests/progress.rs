//! What is told while runs are made: every planned image is counted once, whoever goes through it and however often the
//! work is stopped.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::sync::atomic::{AtomicU64, Ordering};

use collapse_data::Benchmark;
use collapse_experiment::{
    EpochProgress, Error, Manifest, Observer, RunId, RunStore, Setting, Stop, Work, reproduce,
};
use collapse_models::Device;
use collapse_results::Run;

// 288 training images: the last batch is smaller than the others.
const MANIFEST: &str = r#"
    scale = "progress"
    description = "for this test"
    seeds = [1, 2]
    width = 4
    batch = 50
    learning_rate = 0.1
    momentum = 0.9
    weight_decay = 5e-4
    precision = "f32"
    measure_at = [0, 1, 2]
    [data]
    id = "embedded"
    [[group]]
    id = "l2"
    l2 = true
    epochs = 3
    schedule = "short"
    spectral_norm = false
"#;

/// Counts images of training and of measuring, and stops the work after so many trained ones.
struct Counts {
    planned: [AtomicU64; 2],
    seen: [AtomicU64; 2],
    started: AtomicU64,
    /// Trained images of earlier calls.
    brought: AtomicU64,
    stop: Stop,
    stop_after: u64,
    /// Where others make all runs as soon as they are planned here.
    overtaken_in: Option<RunStore>,
}

impl Counts {
    fn new(stop_after: u64) -> Self {
        Self {
            planned: Default::default(),
            seen: Default::default(),
            started: AtomicU64::new(0),
            brought: AtomicU64::new(0),
            stop: Stop::default(),
            stop_after,
            overtaken_in: None,
        }
    }

    fn add(counters: &[AtomicU64; 2], trained: u64, measured: u64) {
        counters[0].fetch_add(trained, Ordering::Relaxed);
        counters[1].fetch_add(measured, Ordering::Relaxed);
    }

    fn of(counters: &[AtomicU64; 2]) -> [u64; 2] {
        counters.each_ref().map(|n| n.load(Ordering::Relaxed))
    }
}

impl Observer for Counts {
    fn planned(&self, _runs: usize, _kept: usize, trained: u64, measured: u64) {
        Self::add(&self.planned, trained, measured);
        if let Some(store) = &self.overtaken_in {
            assert!(work(store, &Counts::new(u64::MAX)));
        }
    }
    fn started(&self, _run: &RunId, trained: u64, measured: u64) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.brought.fetch_add(trained, Ordering::Relaxed);
        Self::add(&self.seen, trained, measured);
    }
    fn trained(&self, images: u64) {
        Self::add(&self.seen, images, 0);
        if Self::of(&self.seen)[0] >= self.stop_after {
            self.stop.raise();
        }
    }
    fn measured(&self, images: u64) {
        Self::add(&self.seen, 0, images);
    }
    fn finished_elsewhere(&self, _run: &RunId, trained: u64, measured: u64) {
        Self::add(&self.seen, trained, measured);
    }
    fn note(&self, _message: &str) {}
    fn epoch(&self, _run: &RunId, _progress: EpochProgress) {}
    fn measuring(&self, _run: &RunId, _epoch: usize) {}
    fn finished(&self, _run: &RunId, _result: &Run) {}
}

/// Whether the work was done; else it was stopped.
fn work(store: &RunStore, counts: &Counts) -> bool {
    let benchmark = Benchmark::embedded().unwrap().limited(40, 20).unwrap();
    let setting = Setting {
        work: Work {
            benchmark: &benchmark,
            observer: counts,
            device: Device::Cpu,
            stop: &counts.stop,
            code_version: "test",
            one_path: false,
        },
        store,
        command: "test",
        jobs: Some(1),
        shard: None,
    };
    let manifest = Manifest::parse(MANIFEST, "progress.rs").unwrap();
    match reproduce(&manifest, &setting) {
        Ok(_) => true,
        Err(Error::Interrupted | Error::Train(_)) if counts.stop.is_raised() => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_resumed_run_ends_at_what_was_planned() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    // Within the first epoch, just after it, within the second, and in the third.
    for stop_after in [100, 288, 400, 700] {
        let counts = Counts::new(stop_after);
        assert!(!work(&store, &counts), "not stopped after {stop_after}");
    }
    let counts = Counts::new(u64::MAX);
    assert!(work(&store, &counts));
    assert!(counts.brought.load(Ordering::Relaxed) >= 700);
    assert_eq!(Counts::of(&counts.seen), Counts::of(&counts.planned));
}

#[test]
fn runs_of_other_processes_count_as_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::open(folder.path()).unwrap();
    let counts = Counts {
        overtaken_in: Some(store.clone()),
        ..Counts::new(u64::MAX)
    };
    assert!(work(&store, &counts));
    assert_eq!(
        counts.started.load(Ordering::Relaxed),
        0,
        "nothing is made here"
    );
    assert_eq!(Counts::of(&counts.seen), Counts::of(&counts.planned));
}
