//! A run that is killed at random moments and started again each time ends with the bytes of one
//! that was left alone, on one thread and on two.
//!
//! `COLLAPSE_KILLS=20` kills more often than the suite does; `COLLAPSE_KILL_SEED` moves the moments.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collapse_random::Stream;
use collapse_train::{Event, read_events};

fn start(folder: &Path, threads: usize) -> Child {
    let arguments = "train --l2 --width 4 --epochs 2 --batch 64 --ema 0.9 --measure --checkpoint-seconds 0.2 --keep-last 1";
    Command::new(env!("CARGO_BIN_EXE_collapse"))
        .args(arguments.split(' '))
        .args([Path::new("--out"), folder])
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |text| text.parse().unwrap())
}

/// Every file that has to be the same, by name, and the events without their times.
fn outcome(folder: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<Event>) {
    let mut files = BTreeMap::new();
    for part in ["", "features", "checkpoints"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|ending| ending == "safetensors")
            {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let events = read_events(&folder.join("events.jsonl")).unwrap();
    (files, events.into_iter().map(Event::without_time).collect())
}

#[test]
fn killed_runs_end_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let began = Instant::now();
    assert!(start(&whole, 2).wait().unwrap().success());
    let length = began.elapsed();
    let expected = outcome(&whole);
    assert!(expected.0.len() >= 6, "{:?}", expected.0.keys());

    let kills = number("COLLAPSE_KILLS", 3);
    let mut moments = Stream::new(number("COLLAPSE_KILL_SEED", 1), "kill", 0);
    for threads in [1, 2] {
        let out = folder.path().join(format!("killed-{threads}"));
        let mut killed = 0;
        while killed < kills {
            // On average a run sees all of its kills before it ends.
            let share = 1.6 * moments.uniform() / (kills + 1) as f64;
            let mut child = start(&out, threads);
            std::thread::sleep(length.mul_f64(share).max(Duration::from_millis(5)));
            if child.try_wait().unwrap().is_some() {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        println!("{killed} kills with {threads} threads, run of {length:.1?}");
        assert!(killed >= kills.min(2), "the run ended after {killed} kills");
        assert!(start(&out, threads).wait().unwrap().success());
        let found = outcome(&out);
        assert_eq!(found.1, expected.1, "events, {threads} threads");
        for (name, bytes) in &expected.0 {
            assert!(
                found.0.get(name) == Some(bytes),
                "{name}, {threads} threads"
            );
        }
        assert_eq!(found.0.len(), expected.0.len());
    }
}
