//! Processes that share a store on a file system without locks, and on one that grants every lock.
//!
//! A library put before the system's own makes `flock` fail or lie.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collapse_results::Results;

const FAILING: &str = "#include <errno.h>\nint flock(int fd, int how) { (void)fd; (void)how; errno = ENOLCK; return -1; }\n";
const LYING: &str = "int flock(int fd, int how) { (void)fd; (void)how; return 0; }\n";

/// A store that three processes fill under a kind of `flock`.
struct Trial {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Trial {
    fn new(flock: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("flock.c");
        let library = folder.path().join("flock.so");
        std::fs::write(&source, flock).unwrap();
        // Rust's linker on Linux is the C compiler.
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(compiled.unwrap().success());
        Self { folder, library }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn start(&self) -> Child {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny.toml");
        Command::new(env!("CARGO_BIN_EXE_collapse"))
            .args([Path::new("reproduce"), Path::new("--scale"), &tiny])
            .args([Path::new("--out"), &self.out()])
            .args(["--jobs", "1"])
            .env("LD_PRELOAD", &self.library)
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn runs_made(child: Child) -> usize {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text.matches(": done, test accuracy").count()
}

fn three_processes_and_a_death_under(flock: &str) -> Results {
    let trial = Trial::new(flock);
    let mut doomed = trial.start();
    let claimed = trial.out().join("runs/tiny/l2/seed-01/lease");
    let began = Instant::now();
    while !claimed.exists() {
        assert!(began.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(20));
    }
    let others = [trial.start(), trial.start()];
    std::thread::sleep(Duration::from_millis(500));
    doomed.kill().unwrap();
    let doomed = String::from_utf8(doomed.wait_with_output().unwrap().stderr).unwrap();
    let mut made = doomed.matches(": done, test accuracy").count();
    made += others.map(runs_made).iter().sum::<usize>();
    assert_eq!(made, 2, "each run is made once");
    let text = std::fs::read_to_string(trial.out().join("results.json")).unwrap();
    let mut results = Results::from_json(&text).unwrap().without_times();
    results.provenance.command.clear();
    results
}

#[test]
fn without_true_locks_every_run_is_made_once_with_the_same_numbers() {
    let failing = three_processes_and_a_death_under(FAILING);
    let lying = three_processes_and_a_death_under(LYING);
    assert_eq!(failing.runs.len(), 2);
    assert_eq!(failing, lying);
}
