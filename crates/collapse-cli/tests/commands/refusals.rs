//! Bad input is named with a remedy.

use std::path::PathBuf;

use collapse_features::{FeatureSet, Precision};
use ndarray::{Array1, Array2};
use tempfile::TempDir;

use super::{refuse, tiny};

#[test]
fn an_unknown_table_is_refused_before_anything_is_made() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    for (table, known) in [("man", "main"), ("scores-svhn", "scores-mnist")] {
        refuse(
            &[
                "reproduce",
                "--scale",
                &tiny(),
                "--out",
                out.to_str().unwrap(),
                "--tables",
                &format!("nc-end,{table}"),
            ],
            &[&format!("no table {table:?}"), known],
        );
    }
    assert!(!out.join("runs/tiny/l2").exists());
}

#[test]
fn bad_input_is_named_with_a_remedy() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    refuse(
        &["reproduce", "--scale", "huge"],
        &["huge", "quick, precision, small, full, paper"],
    );
    refuse(&["reproduce", "--group", "r99"], &["r99", "r18-l2"]);
    refuse(&["reproduce", "--scale", "small"], &["cifar10", "--data"]);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refuse(
        &[
            "reproduce",
            "--scale",
            "small",
            "--data",
            empty.to_str().unwrap(),
            "--out",
            folder.path().to_str().unwrap(),
        ],
        &["cifar10", "empty"],
    );
    let plain = file("plain", b"");
    refuse(
        &[
            "reproduce",
            "--scale",
            &tiny(),
            "--out",
            plain.to_str().unwrap(),
        ],
        &["plain", "--out"],
    );

    let cut = file("cut.safetensors", &[200, 0, 0, 0, 0, 0, 0, 0, b'{']);
    let cut = cut.to_str().unwrap();
    refuse(
        &[
            "score",
            "--train",
            cut,
            "--test",
            cut,
            "--ood",
            &format!("x={cut}"),
        ],
        &["cut.safetensors"],
    );
    refuse(
        &[
            "score",
            "--train",
            cut,
            "--test",
            "nowhere.safetensors",
            "--ood",
            &format!("x={cut}"),
        ],
        &["nowhere.safetensors"],
    );
    refuse(
        &["score", "--train", cut, "--test", cut, "--ood", "x"],
        &["NAME=PATH"],
    );
}

#[test]
fn verify_names_what_it_does_not_find() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let empty = folder.path().display().to_string();
    refuse(&["verify", &missing], &[&missing, "no such folder"]);
    refuse(
        &["verify", &empty],
        &[&empty, "nothing to check", "gmm.json"],
    );
    refuse(
        &["verify", &empty, "--only", "nc"],
        &[&empty, "nothing to check, no nc.json"],
    );
    refuse(&["verify", "--only", "nope"], &["'nope'", "model_resnet18"]);
    std::fs::write(folder.path().join("gmm.json"), "{}").unwrap();
    refuse(&["verify", &empty], &["gmm.json: it holds no case"]);
}

#[test]
fn unusable_features_are_refused() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, set: &FeatureSet| -> String {
        let path = folder.path().join(name);
        set.write(&path, Precision::F64).unwrap();
        path.display().to_string()
    };
    let values = Array2::from_shape_fn((12, 3), |(i, j)| {
        ((i * 5 + j * 7) % 11) as f64 + if i % 2 == j { 9.0 } else { 0.0 }
    });
    let labels: Vec<usize> = (0..12).map(|i| i % 2).collect();
    let good = FeatureSet::new(values.clone())
        .with_labels(labels.clone())
        .with_head(
            Array2::from_shape_fn((2, 3), |(i, j)| if i == j { 1.0 } else { 0.1 }),
            Array1::zeros(2),
        );
    let train = write("train.safetensors", &good);
    let other = write(
        "other.safetensors",
        &FeatureSet::new(Array2::<f64>::ones((4, 5))).with_logits(Array2::ones((4, 2))),
    );
    let ood = format!("x={train}");

    refuse(
        &["score", "--train", &train, "--test", &other, "--ood", &ood],
        &["dimension", "3", "5"],
    );

    // One sample of a class: its covariance does not exist.
    let mut lonely = labels;
    lonely.fill(0);
    lonely[3] = 1;
    let lonely = write("lonely.safetensors", &good.clone().with_labels(lonely));
    refuse(
        &["score", "--train", &lonely, "--test", &train, "--ood", &ood],
        &["lonely.safetensors", "class 1", "1 of the 2 samples"],
    );

    // NaN cannot be written by us, so its bytes are put into a good file, which is sealed again.
    let mut bytes = std::fs::read(&train).unwrap();
    let pattern = values[(0, 1)].to_le_bytes();
    let position = bytes
        .windows(8)
        .rposition(|window| window == pattern)
        .unwrap();
    bytes[position..position + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    let mark = b"collapse-sha256:";
    let seal = bytes.windows(mark.len()).position(|window| window == mark);
    let digits = seal.unwrap() + mark.len();
    bytes[digits..digits + 64].fill(b'0');
    let bytes = collapse_files::seal(bytes).unwrap();
    let broken = folder.path().join("broken.safetensors");
    std::fs::write(&broken, bytes).unwrap();
    let out = folder.path().join("out");
    refuse(
        &[
            "score",
            "--train",
            broken.to_str().unwrap(),
            "--test",
            &train,
            "--ood",
            &ood,
            "--out",
            out.to_str().unwrap(),
        ],
        &["broken.safetensors", "NaN"],
    );
    assert!(!out.exists());
}
