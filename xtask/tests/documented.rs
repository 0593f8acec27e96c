//! The commands of README and the guide: each is understood, and those that need nothing but this repository are run.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Every page with commands for readers.
fn pages() -> Vec<PathBuf> {
    let mut found = vec![Path::new(ROOT).join("README.md")];
    let mut folders = vec![
        Path::new(ROOT).join("docs"),
        Path::new(ROOT).join("examples"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The blocks of shell commands of a page, lines that go on joined.
fn blocks(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().replace("\\\n", " "))
        .collect()
}

/// The arguments of a call of the program in a line, without what the shell takes for itself.
fn arguments(line: &str) -> Option<Vec<&str>> {
    let line = line.trim();
    let called = line
        .strip_prefix("cargo xtask ")
        .or_else(|| line.strip_prefix("collapse "))?;
    let words = called.split_whitespace();
    Some(
        words
            .take_while(|word| !word.starts_with(['#', '>', '|', '&']))
            .collect(),
    )
}

#[test]
fn every_command_of_the_pages_is_understood() {
    let mut commands = 0;
    for page in pages() {
        for line in blocks(&page).iter().flat_map(|block| block.lines()) {
            let Some(arguments) = arguments(line) else {
                continue;
            };
            // Options that are not known are told before the help is.
            let out = Command::new(XTASK)
                .args(&arguments)
                .arg("--help")
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{}: {line}\n{told}", page.display());
            commands += 1;
        }
    }
    assert!(commands > 40, "only {commands} commands were found");
}

/// A reader's folder, with a `cargo` that knows `xtask` alone.
struct Reader {
    folder: tempfile::TempDir,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        // Reproductions are cut to one seed and two epochs; all else runs as it stands.
        let program = format!(
            "case \"$1\" in\nreproduce) exec {XTASK} \"$@\" --seeds 1 --epochs-at-most 2 ;;\n*) exec {XTASK} \"$@\" ;;\nesac\n"
        );
        // `cargo xtask …` has a word more before the arguments than `collapse …`.
        for (name, first) in [("cargo", "shift\n"), ("collapse", "")] {
            let path = bin.join(name);
            std::fs::write(&path, format!("#!/usr/bin/env bash\n{first}{program}")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a page's blocks in order, without the lines that hold one of `left_out`.
    fn follow(&self, page: &str, left_out: &[&str]) {
        for block in blocks(&Path::new(ROOT).join(page)) {
            let kept: Vec<&str> = block
                .lines()
                .filter(|line| !left_out.iter().any(|words| line.contains(words)))
                .collect();
            let search = std::env::var("PATH").unwrap();
            let out = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &kept.join("\n")])
                .current_dir(self.folder.path())
                .env("PATH", format!("{}:{search}", self.path("bin").display()))
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{page}:\n{}\n{told}", kept.join("\n"));
        }
    }
}

#[test]
fn the_guide_can_be_followed() {
    let reader = Reader::new();
    // Left out: what needs image sets, and what builds the project anew.
    reader.follow(
        "docs/getting-started.md",
        &["--data DIR", "cargo install", "cargo test", "xtask verify"],
    );
    for file in [
        "target/reproduce/quick/report.html",
        "scores/report.html",
        "my-run/result.json",
    ] {
        assert!(reader.path(file).exists(), "{file} is missing");
    }

    // The run's own features, under the names of the page on features.
    let features = reader.path("target/reproduce/quick/runs/quick/r18-l2/seed-01/features");
    std::fs::create_dir(reader.path("features")).unwrap();
    for (from, to) in [
        ("train", "train"),
        ("validation", "validation"),
        ("test", "test"),
        ("ood-mnist", "svhn"),
    ] {
        let to = reader.path(&format!("features/{to}.safetensors"));
        std::fs::copy(features.join(format!("{from}.safetensors")), to).unwrap();
    }
    std::fs::write(reader.path("new.npy"), npy(3, 64)).unwrap();
    reader.follow("docs/own-features.md", &[]);
    let decisions = std::fs::read_to_string(reader.path("decisions.csv")).unwrap();
    assert!(decisions.lines().count() > 3, "{decisions}");

    pictures(&reader.path("my/pictures"));
    for class in ["rose", "tulip", "fern"] {
        pictures(&reader.path(&format!("garden/{class}")));
    }
    let manifest = std::fs::read_to_string(Path::new(ROOT).join("experiments/quick.toml")).unwrap();
    let own = "[data]\nid = \"garden\"\npath = \"garden\"\nood = [\"uniform-noise\"]";
    let manifest = manifest.replacen("[data]\nid = \"embedded\"", own, 1);
    std::fs::write(reader.path("garden.toml"), manifest).unwrap();
    std::fs::remove_dir_all(reader.path("my-run")).unwrap();
    reader.follow("docs/own-images.md", &["--data DIR"]);
    assert!(reader.path("garden-results/report.html").exists());
}

/// A NumPy file of `n` rows of `d` values.
fn npy(n: usize, d: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {d}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..n * d).flat_map(|i| ((i as f32) * 0.37).sin().to_le_bytes()));
    bytes
}

/// Twelve small pictures of random colours.
fn pictures(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for index in 0..12usize {
        let file = std::fs::File::create(folder.join(format!("{index}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 40, 30);
        encoder.set_color(png::ColorType::Rgb);
        let pixels: Vec<u8> = (0..40 * 30 * 3)
            .map(|i| (i * 31 + index * 97 + folder.as_os_str().len() * 13) as u8)
            .collect();
        encoder
            .write_header()
            .unwrap()
            .write_image_data(&pixels)
            .unwrap();
    }
}
