//! Several processes at one store: every run is made once, a dead process is replaced, the numbers are the same.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use collapse_results::Results;
use common::{collapse, wait_for};

const MANIFEST: &str = r#"
scale = "shared"
description = "three runs for the tests"
seeds = [1, 2, 3]
width = 4
batch = 128
learning_rate = 0.1
momentum = 0.9
weight_decay = 5e-4
precision = "f32"
measure_at = [1]
[data]
id = "embedded"
[[group]]
id = "l2"
l2 = true
epochs = 2
schedule = "short"
spectral_norm = false
"#;

struct Store {
    folder: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shared.toml"), MANIFEST).unwrap();
        Self { folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn start(&self, command: &str, flags: &[&str]) -> Child {
        collapse()
            .arg(command)
            .arg("--scale")
            .arg(self.folder.path().join("shared.toml"))
            .arg("--out")
            .arg(self.out())
            .args(flags)
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn call(&self, command: &str, flags: &[&str]) -> String {
        let output = self.start(command, flags).wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The numbers, without what differs from call to call.
    fn results(&self) -> Results {
        let text = std::fs::read_to_string(self.out().join("results.json")).unwrap();
        let mut results = Results::from_json(&text).unwrap().without_times();
        assert!(results.provenance.command.contains("--scale"));
        results.provenance.command.clear();
        results
    }
}

fn runs_made(output: &Output) -> usize {
    let text = String::from_utf8_lossy(&output.stderr);
    text.matches(": done, test accuracy").count()
}

#[test]
fn three_processes_make_every_run_once_and_replace_a_dead_one() {
    let alone = Store::new();
    alone.call("reproduce", &[]);

    let shared = Store::new();
    let mut doomed = shared.start("reproduce", &[]);
    wait_for(&shared.out().join("runs/shared/l2/seed-01/manifest.json"));
    let others = [
        shared.start("reproduce", &[]),
        shared.start("reproduce", &[]),
    ];
    wait_for(
        &shared
            .out()
            .join("runs/shared/l2/seed-01/checkpoint.safetensors"),
    );
    let status = shared.call("status", &[]);
    assert!(
        status.contains("running") || status.contains("done"),
        "{status}"
    );
    doomed.kill().unwrap();
    let mut made = runs_made(&doomed.wait_with_output().unwrap());
    for child in others {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        made += runs_made(&output);
    }
    assert_eq!(made, 3, "each run is made once");
    assert_eq!(shared.results(), alone.results());

    let status = shared.call("status", &["--json"]);
    assert_eq!(status.matches("\"state\":\"done\"").count(), 3, "{status}");
    let verified = Command::new(env!("CARGO_BIN_EXE_collapse"))
        .args([Path::new("verify-store"), &shared.out()])
        .output()
        .unwrap();
    let verified = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.contains(" 0 damaged"), "{verified}");
}

#[test]
fn shards_join_to_the_whole_and_a_report_needs_no_images() {
    let store = Store::new();
    store.call("reproduce", &["--shard", "1/2"]);
    assert_eq!(store.results().runs.len(), 2);
    store.call("reproduce", &["--shard", "2/2"]);
    let whole = store.results();
    assert_eq!(whole.runs.len(), 3);
    // The three seeds make one ensemble, from the logits that their runs stored.
    let [ensemble] = whole.ensembles.as_slice() else {
        panic!("{:?}", whole.ensembles);
    };
    assert_eq!(ensemble.seeds, [1, 2, 3]);
    assert_eq!(ensemble.ood.len(), 2 * 2);

    store.call("report", &[]);
    assert_eq!(store.results(), whole);
    store.call("report", &["--seed", "2"]);
    assert_eq!(store.results().runs, whole.runs[1..2]);

    // A run whose result is gone is made again from its checkpoint; the report meanwhile does without.
    let result = store.out().join("runs/shared/l2/seed-03/result.json");
    std::fs::remove_file(&result).unwrap();
    store.call("report", &[]);
    assert_eq!(store.results().runs, whole.runs[..2]);
    store.call("reproduce", &["--seed", "3"]);
    assert!(result.exists());
    store.call("report", &[]);
    assert_eq!(store.results(), whole);

    // Features are large and may be moved away: then there is no ensemble of them, and all else stays.
    std::fs::remove_dir_all(store.out().join("runs/shared/l2/seed-02/features")).unwrap();
    store.call("report", &[]);
    let without = store.results();
    assert!(without.ensembles.is_empty());
    assert_eq!(without.runs, whole.runs);
}

#[test]
fn results_of_two_stores_join_and_those_of_another_experiment_are_refused() {
    let (here, there) = (Store::new(), Store::new());
    here.call("reproduce", &["--shard", "1/2"]);
    there.call("reproduce", &["--shard", "2/2"]);
    let (mine, theirs) = (here.results(), there.results());
    let file = there.out().join("results.json");
    let with = ["--with", file.to_str().unwrap()];
    here.call("report", &with);
    let joined = here.results();
    let wanted = [&mine.runs[0], &theirs.runs[0], &mine.runs[1]];
    assert_eq!(joined.runs.iter().collect::<Vec<_>>(), wanted);
    assert_eq!(joined.ensembles, mine.ensembles, "no member lies elsewhere");
    // What is known stays as it is, so that joining twice changes nothing.
    here.call("report", &with);
    assert_eq!(here.results(), joined);

    there.call("report", &["--seed", "2"]);
    let refused = here.start("report", &with).wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("another experiment"), "{error}");
    assert!(error.contains("results.json"), "{error}");
    assert_eq!(here.results(), joined);
}

#[test]
fn a_store_may_be_filled_on_several_kernel_paths_and_says_so() {
    let store = Store::new();
    let with_path = |path: &str, flags: &[&str]| {
        let mut arguments = vec!["reproduce".to_owned(), "--scale".to_owned()];
        arguments.push(
            store
                .folder
                .path()
                .join("shared.toml")
                .display()
                .to_string(),
        );
        arguments.push("--out".to_owned());
        arguments.push(store.out().display().to_string());
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Command::new(env!("CARGO_BIN_EXE_collapse"))
            .args(arguments)
            .env("COLLAPSE_KERNEL_PATH", path)
            .env("COLLAPSE_CONVOLUTION", "winograd")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let output = with_path("portable", &["--seed", "1"]);
    assert!(output.status.success(), "{output:?}");
    let best = collapse_kernels::KernelPath::detect().name();
    if best == "portable" {
        return; // this machine has one path only
    }
    let refused = with_path(best, &["--one-path"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(
        error.contains("--one-path") && error.contains("portable"),
        "{error}"
    );
    let output = with_path(best, &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(
        error.contains("kernel paths: ") && error.contains("portable winograd (1)"),
        "{error}"
    );
    let results = store.results();
    assert_eq!(
        results.runs[0].made_by[0].maker.kernel_path,
        "portable winograd"
    );
    let best = format!("{best} winograd");
    assert_eq!(results.runs[1].made_by[0].maker.kernel_path, best);
    assert!(
        results
            .provenance
            .kernel_path
            .contains("portable winograd and")
            || results
                .provenance
                .kernel_path
                .contains("and portable winograd")
    );
}
