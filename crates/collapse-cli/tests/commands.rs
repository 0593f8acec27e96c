//! The commands of the README, as a user runs them.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use collapse_evaluate::{FeatureSplits, Split};
use collapse_features::{FeatureSet, Precision};
use collapse_ood::metrics::Threshold;
use collapse_ood::{Intervals, Settings};
use collapse_random::Stream;
use collapse_results::{Results, Role, ScoreId};
use expect_test::expect;
use ndarray::{Array1, Array2};
use tempfile::TempDir;

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collapse"));
    // The user's own caches are out of bounds for tests.
    let nowhere = std::env::temp_dir().join("collapse-tests-without-cache");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env("HF_HUB_CACHE", nowhere.join("hub"))
        .env("COLLAPSE_CACHE", nowhere.join("decoded"));
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

fn features(out: &Path, name: &str) -> String {
    let folder = out.join("runs/tiny/l2/seed-01/features");
    folder
        .join(format!("{name}.safetensors"))
        .display()
        .to_string()
}

/// On the features of real images: of 1,000 draws of held-out samples, the mean share of the other in-distribution samples that
/// their threshold accepts is 95 % at least and, without ties, at most 1 / (n + 1) more; so it is within each predicted class.
fn thresholds_keep_their_promise(out: &Path) {
    const DRAWS: usize = 1000;
    const ACCEPT: f64 = 0.95;
    let set = |name: &str| collapse_features::read(features(out, name)).unwrap();
    let unseen = FeatureSet::stacked(vec![set("validation"), set("test")]).unwrap();
    let splits = FeatureSplits {
        train: Some(Split::new("train", set("train"))),
        validation: None,
        test: Split::new("test", unseen),
        ood: Vec::new(),
    };
    let splits = splits.complete(None).unwrap();
    let names = ["gmm_features", "mahalanobis", "energy"];
    let fitted = splits.fit_named(&Settings::default(), names).unwrap();
    let found = splits.evaluate(fitted, &Intervals::default()).unwrap().test;
    let logits = splits.test().features.logits.as_ref().unwrap();
    let classes: Vec<usize> = logits
        .rows()
        .into_iter()
        .map(collapse_numeric::argmax)
        .collect();
    let n_classes = logits.ncols();
    for (score, values) in &found.scores {
        let mut order: Vec<usize> = (0..values.len()).collect();
        let n = order.len() / 2;
        let mut shares = Vec::with_capacity(DRAWS);
        let mut of_class = vec![Vec::new(); n_classes];
        for draw in 0..DRAWS {
            Stream::new(1, "held-out samples", draw as u64).shuffle(&mut order);
            let (held_out, fresh) = order.split_at(n);
            let own: Vec<f64> = held_out.iter().map(|&row| values[row]).collect();
            let threshold = Threshold::conformal(&own, ACCEPT, 0.95).unwrap();
            let accepted = fresh.iter().filter(|&&row| threshold.accepts(values[row]));
            shares.push(accepted.count() as f64 / fresh.len() as f64);
            let own_classes: Vec<usize> = held_out.iter().map(|&row| classes[row]).collect();
            let by_class =
                Threshold::conformal_by_class(&own, &own_classes, n_classes, ACCEPT, 0.95).unwrap();
            for (class, threshold) in by_class.iter().enumerate() {
                let members: Vec<usize> = fresh
                    .iter()
                    .copied()
                    .filter(|&row| classes[row] == class)
                    .collect();
                let accepted = members
                    .iter()
                    .filter(|&&row| threshold.accepts(values[row]));
                if !members.is_empty() {
                    of_class[class].push(accepted.count() as f64 / members.len() as f64);
                }
            }
        }
        let mean = |shares: &[f64]| {
            let n = shares.len() as f64;
            let mean = shares.iter().sum::<f64>() / n;
            let square = shares
                .iter()
                .map(|share| (share - mean).powi(2))
                .sum::<f64>();
            (mean, (square / (n * n)).sqrt())
        };
        let (share, error) = mean(&shares);
        let promised = ACCEPT - 4.0 * error..=ACCEPT + 1.0 / (n as f64 + 1.0) + 4.0 * error;
        assert!(
            promised.contains(&share),
            "{score}: {share} ± {error} of {n}"
        );
        for (class, shares) in of_class
            .iter()
            .enumerate()
            .filter(|(_, shares)| !shares.is_empty())
        {
            let (share, error) = mean(shares);
            assert!(
                share >= ACCEPT - 4.0 * error,
                "{score}, class {class}: {share} ± {error}"
            );
        }
    }
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

#[test]
fn the_whole_way() {
    let folder = TempDir::new().unwrap();
    let whole = folder.path().join("whole");
    let first = reproduce(&whole);
    assert_eq!(first.runs.len(), 2);
    let base = first.runs.iter().find(|run| run.group == "base").unwrap();
    let evaluation = base.last_evaluation().unwrap();
    assert!(
        evaluation.accuracy > 0.3,
        "accuracy {}",
        evaluation.accuracy
    );
    assert_eq!(
        first
            .data
            .iter()
            .filter(|set| set.role == Role::Ood)
            .count(),
        2
    );
    assert!(first.tables.iter().any(|table| table.id == "main"));
    assert_eq!(first.claims.len(), 5);
    for file in [
        "report.html",
        "tables/main.md",
        "tables/main.csv",
        "tables/main.tex",
    ] {
        assert!(whole.join(file).metadata().unwrap().len() > 100, "{file}");
    }

    thresholds_keep_their_promise(&whole);

    // A second call keeps the finished runs and gives the same numbers.
    let began = std::fs::metadata(features(&whole, "train"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(reproduce(&whole).without_times(), first.without_times());
    assert_eq!(
        std::fs::metadata(features(&whole, "train"))
            .unwrap()
            .modified()
            .unwrap(),
        began
    );

    // Killed in the middle and started again: the same numbers once more.
    let killed = folder.path().join("killed");
    let mut child = xtask(&[
        "reproduce",
        "--scale",
        &tiny(),
        "--out",
        killed.to_str().unwrap(),
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::null())
    .env("RAYON_NUM_THREADS", "1")
    .spawn()
    .unwrap();
    wait_for(&killed.join("runs/tiny/l2/seed-01/result.json"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("results.json").exists());
    assert_eq!(reproduce(&killed).without_times(), first.without_times());

    score_from_files(&whole, &first, folder.path());
}

/// Writes a colour photograph, unlike the grey 28×28 images that are embedded; each `i` has another size.
fn photograph(path: &Path, i: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (width, height) = (60 + i, 90);
    let pixel = |y: u32, x: u32| [(x * i) as u8, (y * 3) as u8, (x ^ y) as u8];
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| pixel(y, x)))
        .collect();
    let colour = jpeg_encoder::ColorType::Rgb;
    jpeg_encoder::Encoder::new_file(path, 75)
        .unwrap()
        .encode(&pixels, width as u16, height as u16, colour)
        .unwrap();
}

/// A user's own pictures as in-distribution set, a folder a class.
#[test]
fn a_network_is_trained_on_own_pictures() {
    let folder = TempDir::new().unwrap();
    let pictures = folder.path().join("pictures");
    for i in 0..30 {
        photograph(&pictures.join(format!("even/{i}.jpg")), 2 * i);
        photograph(&pictures.join(format!("odd/{i}.jpg")), 2 * i + 1);
    }
    let own = format!("garden={}", pictures.display());
    let out = folder.path().join("run");
    let table = succeed(&[
        "train",
        "--width",
        "4",
        "--epochs",
        "1",
        "--id",
        &own,
        "--ood",
        "uniform-noise",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(table.contains("uniform-noise"), "{table}");
    assert!(out.join("features/ood-uniform-noise.safetensors").exists());

    refuse(
        &["train", "--id", &own, "--out", "x"],
        &["garden", "--ood uniform-noise"],
    );
    refuse(
        &["train", "--id", "cifar10", "--out", "x"],
        &["--id cifar10 needs --data"],
    );
    refuse(
        &["train", "--ood", "a/b=pictures", "--out", "x"],
        &["cannot name a set"],
    );
}

/// A user's own pictures as in-distribution set of a manifest, named from where the manifest stands.
#[test]
fn a_manifest_may_be_about_own_pictures() {
    let folder = TempDir::new().unwrap();
    for i in 0..30 {
        photograph(&folder.path().join(format!("pictures/even/{i}.jpg")), 2 * i);
        photograph(
            &folder.path().join(format!("pictures/odd/{i}.jpg")),
            2 * i + 1,
        );
    }
    let manifest = folder.path().join("garden.toml");
    let about = |id: &str| {
        let text = std::fs::read_to_string(tiny()).unwrap();
        let data = format!("id = \"{id}\"\npath = \"pictures\"\nood = [\"uniform-noise\"]");
        std::fs::write(&manifest, text.replace("id = \"embedded\"", &data)).unwrap();
    };
    about("garden");
    let (scale, out) = (manifest.to_str().unwrap(), folder.path().join("out"));
    let arguments = [
        "reproduce",
        "--scale",
        scale,
        "--group",
        "l2",
        "--out",
        out.to_str().unwrap(),
    ];
    succeed(&arguments);
    let results = results(&out);
    let trained = results
        .data
        .iter()
        .find(|set| set.role == Role::Train)
        .unwrap();
    assert_eq!((trained.name.as_str(), results.runs.len()), ("garden", 1));
    about("cifar10");
    refuse(&arguments, &["garden.toml", "a name of its own"]);
}

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
fn status_tells_once_where_nobody_watches() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let status = ["status", "--scale", &tiny(), "--out", out.to_str().unwrap()];
    let expected = expect![[r#"
        l2                   seed 1   pending
        base                 seed 1   pending
        0 of 2 done, 0 running, 0 stopped on the way, 0 stale, 0 failed, 2 pending, 0 damaged
    "#]];
    expected.assert_eq(&succeed(&status));
    expected.assert_eq(&succeed(&[&status[..], &["--once"]].concat()));
    assert!(!out.exists(), "it only looks");
}

/// A user's own pictures and a generated control, named on the command line, stand in the tables.
#[test]
fn own_pictures_become_a_column() {
    let folder = TempDir::new().unwrap();
    let pictures = folder.path().join("pictures");
    for i in 0..40 {
        photograph(&pictures.join(format!("garden/{i}.jpg")), i);
    }
    let out = folder.path().join("out");
    succeed(&[
        "reproduce",
        "--scale",
        &tiny(),
        "--group",
        "l2",
        "--ood",
        &format!("holiday={}", pictures.display()),
        "--ood",
        "uniform-noise",
        "--out",
        out.to_str().unwrap(),
    ]);
    let found = results(&out);
    let holiday = found
        .data
        .iter()
        .find(|set| set.name.as_str() == "holiday")
        .unwrap();
    assert_eq!((holiday.role, holiday.images), (Role::Ood, 40));
    for file in ["tables/main.md", "tables/main.csv", "report.html"] {
        let text = std::fs::read_to_string(out.join(file)).unwrap();
        assert!(
            text.contains("holiday") && text.contains("uniform-noise"),
            "{file}"
        );
    }
}

#[test]
fn data_commands() {
    let text = succeed(&["data", "list"]);
    for part in [
        "svhn",
        "uoft-cs/cifar10",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "170052171 bytes",
        "non-commercial",
        "Krizhevsky",
        "phase-scrambled",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let text = succeed(&["data", "verify"]);
    assert!(
        text.contains("embedded fashion-8/train: 3200 images"),
        "{text}"
    );

    let folder = TempDir::new().unwrap();
    let sheet = folder.path().join("sheet.png");
    succeed(&[
        "data",
        "show",
        "jpeg-round-trip",
        "--out",
        sheet.to_str().unwrap(),
    ]);
    let picture = std::io::BufReader::new(std::fs::File::open(&sheet).unwrap());
    let picture = png::Decoder::new(picture).read_info().unwrap();
    assert!(picture.info().width > 400);

    // What the hub's libraries have fetched needs no --data.
    let files = folder
        .path()
        .join("hub/datasets--ylecun--mnist/snapshots/1");
    std::fs::create_dir_all(&files).unwrap();
    let idx = |sizes: &[u32], content: Vec<u8>| {
        let mut out = vec![0, 0, 8, sizes.len() as u8];
        out.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        out.extend(content);
        out
    };
    let images = idx(&[10_000, 28, 28], vec![7; 10_000 * 784]);
    std::fs::write(files.join("images"), images).unwrap();
    let labels = (0..10_000).map(|i| if i % 50 == 0 { 1 } else { (i % 10) as u8 });
    std::fs::write(files.join("labels"), idx(&[10_000], labels.collect())).unwrap();
    let show = ["data", "show", "mnist", "--out", sheet.to_str().unwrap()];
    refuse(&show, &["mnist", "data fetch mnist"]);
    let output = xtask(&show)
        .env_remove("HF_HUB_CACHE")
        .env("HF_HOME", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// `score` on the run's feature files finds what the run found.
fn score_from_files(whole: &Path, results: &Results, folder: &Path) {
    let near = format!("fashion-heldout={}", features(whole, "ood-fashion-heldout"));
    let far = format!("mnist={}", features(whole, "ood-mnist"));
    let (train, test) = (features(whole, "train"), features(whole, "test"));
    let out = folder.join("scores");
    let kept = folder.join("detectors.json");
    let base = [
        "score", "--train", &train, "--test", &test, "--ood", &near, "--ood", &far,
    ];
    let with = |more: &[&str]| -> Vec<String> {
        base.iter()
            .chain(more)
            .map(|argument| (*argument).to_owned())
            .collect()
    };
    let call =
        |arguments: Vec<String>| succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let table = call(with(&[
        "--out",
        out.to_str().unwrap(),
        "--save",
        kept.to_str().unwrap(),
    ]));
    assert!(
        table.contains("gmm_features") && table.contains("fashion-heldout"),
        "{table}"
    );
    let scores: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("scores.json")).unwrap()).unwrap();
    let found = scores["ood"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["score"] == "gmm_features" && row["set"] == "mnist")
        .unwrap()["auroc"]
        .as_f64()
        .unwrap();
    let run = results.runs.iter().find(|run| run.group == "l2").unwrap();
    let expected = run
        .last_evaluation()
        .unwrap()
        .detection(&ScoreId::GMM_FEATURES, &"mnist".into())
        .unwrap()
        .auroc;
    assert!(
        (found - expected).abs() < 1e-3,
        "{found} from files, {expected} in the run"
    );
    let csv = std::fs::read_to_string(out.join("scores.csv")).unwrap();
    assert!(csv.starts_with("score,dataset,FPR@95,AUROC,AUPR_IN,AUPR_OUT,ACC\n"));

    // Kept detectors say the same.
    let again = call(with(&["--load", kept.to_str().unwrap()]));
    let rows = |text: &str| {
        text.lines()
            .filter(|line| line.contains("mnist"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&again), rows(&table));
}

fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "{} does not appear",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

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
    let text = succeed(&arguments);
    assert!(
        text.contains("AUROC") && text.contains("feature_norm"),
        "{text}"
    );
    for file in [
        "manifest.json",
        "events.jsonl",
        "checkpoint.safetensors",
        "result.json",
        "features/ood-mnist.safetensors",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    use_the_weights(&out, folder.path());
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
