//! The commands of the README, as a user runs them.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::Path;
use std::process::{Command, Output};

use collapse_results::Results;
use tempfile::TempDir;

use common::collapse;

#[path = "../common/mod.rs"]
mod common;
mod one_run;
mod pictures;
mod refusals;
mod whole_way;

fn xtask(arguments: &[&str]) -> Command {
    let mut command = collapse();
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    xtask(arguments).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The command fails with one message that contains all of `parts`.
fn refuse(arguments: &[&str], parts: &[&str]) {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} should fail");
    assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    for part in parts {
        assert!(
            error.contains(part),
            "{arguments:?}: {error:?} does not say {part:?}"
        );
    }
}

fn tiny() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tiny.toml")
        .display()
        .to_string()
}

fn reproduce(out: &Path) -> Results {
    let text = succeed(&[
        "reproduce",
        "--scale",
        &tiny(),
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(
        text.contains("report.html") && text.contains("C5"),
        "{text}"
    );
    results(out)
}

/// The results, whose command is the one typed: it names the folder, so it is no part of a comparison.
fn results(out: &Path) -> Results {
    let text = std::fs::read_to_string(out.join("results.json")).unwrap();
    let mut results = Results::from_json(&text).unwrap();
    let command = std::mem::take(&mut results.provenance.command);
    assert!(
        command.starts_with("collapse reproduce --scale ")
            && command.contains(&format!("--out {}", out.display())),
        "{command}"
    );
    results
}

#[test]
fn shells_and_man_read_the_commands() {
    let text = succeed(&["completions", "bash"]);
    assert!(
        text.contains("collapse") && text.contains("--per-class"),
        "{text}"
    );
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("man1");
    succeed(&["man", "--out", out.to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert!(page("collapse.1").contains("reproduce"));
    assert!(page("collapse-score.1").contains("per\\-class"));
    assert!(page("collapse-data-list.1").contains(".TH"));
}
