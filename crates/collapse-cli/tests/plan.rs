//! What `reproduce --plan` says before, held against what is then done; and the launchers' scripts.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

struct Trial {
    folder: tempfile::TempDir,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn call(&self, flags: &[&str]) -> Output {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny.toml");
        Command::new(env!("CARGO_BIN_EXE_collapse"))
            .args([Path::new("reproduce"), Path::new("--scale"), &tiny])
            .args([Path::new("--out"), &self.out()])
            .args(flags)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn succeed(&self, flags: &[&str]) -> (String, String) {
        let output = self.call(flags);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    fn plan(&self) -> Value {
        serde_json::from_str(&self.succeed(&["--plan", "--json"]).0).unwrap()
    }
}

/// Bytes of all files below `folder`.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let sizes = entries.map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => size(&path),
            false => std::fs::metadata(&path).unwrap().len(),
        }
    });
    sizes.sum()
}

#[test]
fn a_plan_counts_what_is_then_done() {
    let trial = Trial::new();
    let plan = trial.plan();
    assert!(!trial.out().exists(), "a plan makes nothing");
    assert_eq!((&plan["runs"], &plan["done"]), (&2.into(), &0.into()));
    assert_eq!(plan["gpu_seconds"], Value::Null);
    assert!(plan["seconds"].as_f64().unwrap() > 0.0);
    assert!(plan["memory_bytes"].as_u64().unwrap() > 10 << 20);

    let (_, told) = trial.succeed(&["--no-report"]);
    assert!(!trial.out().join("report.html").exists(), "--no-report");
    let counted = format!(
        "2 runs to make; {} training images in all, {} to be measured",
        plan["trained_images"], plan["measured_images"]
    );
    assert!(told.contains(&counted), "{told} does not say {counted}");
    let planned = plan["disk_bytes"].as_f64().unwrap();
    let filled = size(&trial.out().join("runs")) as f64;
    assert!(
        (0.8..1.25).contains(&(planned / filled)),
        "{planned} of {filled} bytes"
    );

    let after = trial.plan();
    assert_eq!(after["done"], 2);
    for nothing in ["seconds", "trained_images", "measured_images", "disk_bytes"] {
        assert_eq!(after[nothing].as_f64().unwrap(), 0.0, "{nothing}");
    }
    let (text, _) = trial.succeed(&["--plan"]);
    assert!(
        text.contains("On a GPU:   unknown") && text.contains("2 done"),
        "{text}"
    );
}

#[test]
fn a_dry_run_writes_scripts_for_the_unfinished_runs_only() {
    let trial = Trial::new();
    trial.succeed(&["--group", "l2", "--no-report"]);
    let flags = "--launcher slurm --dry-run --minutes 30 --memory 900 --cores 2 --partition main --ood uniform-noise";
    let flags: Vec<&str> = flags.split(' ').collect();
    trial.succeed(&flags);
    let read =
        |name: &str| std::fs::read_to_string(trial.out().join("slurm/001").join(name)).unwrap();
    let tasks = read("tasks");
    assert!(
        tasks.starts_with("base 1 ") && tasks.lines().count() == 1,
        "{tasks}"
    );
    let script = read("array.sh");
    for part in [
        "--array=0-0",
        "--time=30",
        "--mem=900M",
        "--partition=main",
        "tiny.toml --out /",
        "--ood uniform-noise --group \"$group\"",
    ] {
        assert!(script.contains(part), "{script} has no {part}");
    }
    assert!(read("report.sh").contains(" report --scale /"));
}

#[test]
fn a_job_of_kubernetes_is_written() {
    let trial = Trial::new();
    let refused = trial.call(&[
        "--launcher",
        "kubernetes",
        "--minutes",
        "1",
        "--memory",
        "1",
    ]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && error.contains("--image"),
        "{error}"
    );
    let flags = "--launcher kubernetes --minutes 30 --memory 900 --cores 2 --image a/b:1 --volume-claim c --mount /s";
    let flags: Vec<&str> = flags.split(' ').collect();
    trial.succeed(&flags);
    let text = std::fs::read_to_string(trial.out().join("kubernetes/job.yaml")).unwrap();
    assert!(
        text.contains("completions: 2") && text.contains("1) set -- --group base --seed 1 ;;"),
        "{text}"
    );
}
