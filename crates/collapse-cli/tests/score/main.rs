//! `score` on what people bring.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::process::{Command, Output};

use collapse_features::{FeatureSet, Precision};
use ndarray::{Array1, Array2};
use tempfile::TempDir;

mod decisions;
mod files;
mod fitting;
mod mismatches;
mod page;

const N_CLASSES: usize = 3;
const D: usize = 5;

struct Folder(TempDir);

impl Folder {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, set: FeatureSet) -> String {
        let path = self.path(name);
        set.write(&path, Precision::F32).unwrap();
        path
    }
}

/// Separate classes; a shift moves all of them.
fn rows(n: usize, seed: usize, shift: f64) -> Array2<f64> {
    Array2::from_shape_fn((n, D), |(i, j)| {
        let on = if i % N_CLASSES == j % N_CLASSES {
            4.0
        } else {
            0.0
        };
        on + shift + ((i * 37 + j * 101 + seed * 53) as f64).sin()
    })
}

fn labels(n: usize) -> Vec<usize> {
    (0..n).map(|i| i % N_CLASSES).collect()
}

fn score(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_collapse"))
        .arg("score")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(!error.contains("panicked"), "{error}");
    (output, out, error)
}

/// A head whose logits follow the classes of [`rows`].
fn head() -> (Array2<f64>, Array1<f64>) {
    let weight = Array2::eye(D)
        .slice(ndarray::s![..N_CLASSES, ..])
        .to_owned();
    (weight, Array1::zeros(N_CLASSES))
}

fn json(path: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Arguments for a training, a test and an OoD set of the given labels, features alone.
fn labelled(folder: &Folder, label: impl Fn(usize) -> usize, ood: &str) -> Vec<String> {
    let train = FeatureSet::new(rows(60, 1, 0.0)).with_labels((0..60).map(label).collect());
    let train = folder.write("train.safetensors", train);
    let test = folder.write("test.safetensors", FeatureSet::new(rows(30, 2, 0.0)));
    let far = folder.write("far.safetensors", FeatureSet::new(rows(30, 3, 9.0)));
    let ood = format!("{ood}={far}");
    ["--train", &train, "--test", &test, "--ood", &ood]
        .map(str::to_owned)
        .to_vec()
}
