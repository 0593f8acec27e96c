//! Signals and closed or full outputs: work stops within two seconds with the right exit code, and never panics.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Two seconds are promised; the rest is for a machine busy with other tests.
const SOON: Duration = Duration::from_secs(4);

fn collapse(arguments: &[&str]) -> Command {
    let mut command = common::collapse();
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn train(folder: &Path) -> Child {
    let flags = "train --l2 --width 8 --epochs 3 --batch 32 --measure --precision f32 --out";
    let folder = folder.display().to_string();
    let mut arguments: Vec<&str> = flags.split(' ').collect();
    arguments.push(&folder);
    collapse(&arguments)
        .env("RAYON_NUM_THREADS", "1")
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// Sends the signal and waits for the end; says how long it took.
fn stop(child: Child, name: &str) -> (Output, Duration) {
    let began = Instant::now();
    signal(&child, name);
    let output = child.wait_with_output().unwrap();
    (output, began.elapsed())
}

#[test]
fn a_run_stops_soon_at_any_moment_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // From reading images through epochs and their measurements.
    for (i, milliseconds) in [30, 300, 700, 1200, 1900, 2800].into_iter().enumerate() {
        let mut child = train(&out);
        std::thread::sleep(Duration::from_millis(milliseconds));
        if child.try_wait().unwrap().is_some() {
            break; // a fast machine has finished it
        }
        let (name, code) = if i % 2 == 0 {
            ("INT", 130)
        } else {
            ("TERM", 143)
        };
        let (output, took) = stop(child, name);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(took < SOON, "{name} after {milliseconds} ms took {took:?}");
        // Before the program has begun to listen, the signal itself ends it.
        use std::os::unix::process::ExitStatusExt;
        let found = output
            .status
            .code()
            .or(output.status.signal().map(|n| 128 + n));
        assert_eq!(found, Some(code), "{name} after {milliseconds} ms: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    let output = train(&out).wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for arguments in [
        &["data", "list"][..],
        &["summary"],
        &["--help"],
        &["data", "verify"],
    ] {
        let mut child = collapse(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        assert_eq!(error, "", "{arguments:?}");
    }
}

#[test]
fn closed_standard_error_stops_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut child = train(&out);
    drop(child.stderr.take());
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(out.join("result.json").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_told() {
    for arguments in [&["data", "list"][..], &["summary"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = collapse(arguments).stdout(full).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("standard output"), "{error}");
        assert!(!error.contains("panicked"), "{error}");
    }
}

#[test]
fn exit_codes_follow_one_rule() {
    let code = |arguments: &[&str]| collapse(arguments).output().unwrap().status.code();
    assert_eq!(code(&["summary"]), Some(0));
    assert_eq!(code(&["reproduce", "--scale", "huge"]), Some(1));
    assert_eq!(code(&["reproduce", "--no-such-flag"]), Some(2));
    let help = String::from_utf8(collapse(&["--help"]).output().unwrap().stdout).unwrap();
    assert!(help.contains("143"), "{help}");
}
