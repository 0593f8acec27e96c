//! Own pictures, and sets of the registry.

use std::path::Path;
use std::process::Output;

use collapse_results::Role;
use tempfile::TempDir;

use super::{refuse, results, run, succeed, tiny, xtask};

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

    // Other images of as many classes are told, others of another number of classes refused.
    let checkpoint = out.join("checkpoint.safetensors").display().to_string();
    let extract = |id: &str| {
        let found = folder.path().join("extracted").display().to_string();
        let start = ["extract", &checkpoint, "--ood", "uniform-noise"];
        let rest = ["--id", id, "--out", &found];
        run(&[&start[..], &rest].concat())
    };
    let of = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let same = extract(&own);
    assert!(same.status.success() && of(&same).is_empty(), "{same:?}");
    photograph(&pictures.join("even/30.jpg"), 90);
    let other = extract(&own);
    assert!(other.status.success(), "{other:?}");
    assert!(of(&other).contains("trained on other data than garden"));
    photograph(&pictures.join("third/0.jpg"), 91);
    photograph(&pictures.join("third/1.jpg"), 92);
    let third = extract(&own);
    let error = of(&third);
    assert!(!third.status.success(), "{third:?}");
    assert!(
        error.contains("trained on 2 classes and garden has 3; give --data and --id"),
        "{error}"
    );
    std::fs::remove_dir_all(pictures.join("third")).unwrap();

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
