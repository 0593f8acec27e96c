//! One run from flags, killed and resumed, and the use of its weights.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{refuse, run, succeed};

#[test]
fn one_run_from_flags() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let arguments = [
        "train",
        "--l2",
        "--width",
        "4",
        "--epochs",
        "1",
        "--spectral-norm",
        "0",
        "--precision",
        "bf16",
        "--out",
        out.to_str().unwrap(),
    ];
    let output = run(&arguments);
    let (text, progress) = (of(&output.stdout), of(&output.stderr));
    assert!(output.status.success(), "{progress}");
    assert!(
        text.contains("AUROC") && text.contains("feature_norm"),
        "{text}"
    );
    // 3200 images, a tenth of them held out; tests of 800, 400 and 800.
    assert!(
        progress.contains("1 run to make; 2880 training images in all, 5200 to be measured"),
        "{progress}"
    );
    let all = 3 * 2880 + 5200;
    let percent = format!("({:.0} % of all, ", 100.0 * 3.0 * 2880.0 / f64::from(all));
    assert!(progress.contains(&percent), "{progress} has no {percent}");
    for file in [
        "manifest.json",
        "events.jsonl",
        "checkpoint.safetensors",
        "result.json",
        "features/ood-mnist.safetensors",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    let again = run(&arguments);
    assert_eq!(of(&again.stdout), text);
    let progress = of(&again.stderr);
    assert!(
        progress.contains("resnet18-l2 seed 1: finished before") && !progress.contains("process"),
        "{progress}"
    );
    use_the_weights(&out, folder.path());
}

fn of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A checkpoint converts to weights that give the run's features again; it knows the precision, the weights do not.
fn use_the_weights(run: &Path, folder: &Path) {
    let text = |path: PathBuf| path.display().to_string();
    let checkpoint = text(run.join("checkpoint.safetensors"));
    let weights = text(folder.join("weights.safetensors"));
    let found = text(folder.join("extracted"));
    succeed(&["convert", &checkpoint, &weights]);
    let network = ["--l2", "--width", "4", "--spectral-norm", "0"];
    let flags = [&network[..], &["--precision", "bf16"]].concat();
    let from_flags = ["extract", &weights, "--out", &found];
    for arguments in [
        ["extract", &checkpoint, "--out", &found].to_vec(),
        [&from_flags[..], &flags[..]].concat(),
    ] {
        succeed(&arguments);
        for name in ["train", "test", "ood-mnist"] {
            let file = format!("{name}.safetensors");
            let ours = collapse_features::read(Path::new(&found).join(&file)).unwrap();
            let theirs = collapse_features::read(run.join("features").join(&file)).unwrap();
            assert_eq!(ours.features, theirs.features, "{name}");
            assert_eq!((ours.head, ours.labels), (theirs.head, theirs.labels));
        }
    }
    refuse(
        &[
            "convert",
            &weights,
            &found,
            "--width",
            "8",
            "--classes",
            "8",
        ],
        &["weights.safetensors", "conv1.weight_orig", "missing"],
    );
}

/// Features of a checkpoint are of the run's own training split, whatever its seed.
#[test]
fn extract_splits_as_the_run_did() {
    let folder = TempDir::new().unwrap();
    let text = |name: &str| folder.path().join(name).display().to_string();
    let (out, found) = (text("run"), text("found"));
    let train = "train --width 1 --epochs 1 --batch 512 --seed 2 --precision f32 --out";
    let mut arguments: Vec<&str> = train.split(' ').collect();
    arguments.push(&out);
    succeed(&arguments);
    let checkpoint = text("run/checkpoint.safetensors");
    let extract = ["extract", &checkpoint, "--out", &found];
    let with = |seed: &'static str| [&extract[..], &["--seed", seed]].concat();
    for arguments in [extract.to_vec(), with("2")] {
        succeed(&arguments);
        for name in ["train", "validation"] {
            let file = format!("{name}.safetensors");
            let ours = collapse_features::read(Path::new(&found).join(&file)).unwrap();
            let theirs = Path::new(&out).join("features").join(&file);
            let theirs = collapse_features::read(theirs).unwrap();
            assert_eq!(ours.features, theirs.features, "{name}");
            assert_eq!(ours.metadata["seed"], "2");
        }
    }
    refuse(
        &with("1"),
        &[
            "--seed is 1",
            "run/checkpoint.safetensors",
            "seed 2; leave --seed out",
        ],
    );
}

#[test]
fn networks_are_described_and_devices_named() {
    let text = succeed(&["summary", "--net", "wide-resnet28"]);
    assert!(text.contains("36220634 parameters"), "{text}");
    assert!(text.contains("dropout 0.3"), "{text}");
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let train = |flags: &[&'static str], parts: &[&str]| {
        let start = ["train", "--out", out.to_str().unwrap()];
        refuse(&[&start[..], flags].concat(), parts);
    };
    train(&["--device", "gpu"], &["gpu", "cuda:N"]);
    if cfg!(not(feature = "cuda")) {
        train(&["--device", "cuda"], &["cuda:0", "--features cuda"]);
    }
    train(&["--net", "resnet19"], &["resnet19", "wide-resnet28"]);
    train(&["--dropout", "0.3"], &["dropout", "wide-resnet28"]);
    train(&["--schedule", "multi-step"], &["--milestones"]);
    train(
        &["--milestones", "1"],
        &["--milestones", "--schedule multi-step"],
    );
    train(
        &["--loss", "neural-collapse", "--label-smoothing", "0.1"],
        &["--label-smoothing 0.1", "--loss cross-entropy"],
    );
    let extract = ["extract", "x.pt", "--batch", "0", "--out", "x"];
    refuse(&extract, &["--batch is 0", "at least 1"]);
}
