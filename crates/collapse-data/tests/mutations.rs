//! Every format that is read, and every file that is written, under seeded damage: each copy must end in a typed error or
//! in a consistent set, without panic, hang or large allocation; the cache, which is sealed, never in another set.
//! A long run: `COLLAPSE_MUTATIONS=10000 cargo test -p collapse-data --test mutations`.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;
use std::path::{Path, PathBuf};

use collapse_data::readers::{
    Limits, archive, cifar, folder, idx as idx_reader, mat as mat_reader, parquet,
};
use collapse_data::{Cache, ContentHash, Error, ImageSet, Part};
use collapse_testing::{Harness, Kind, PeakAlloc};

mod common;
use common::{gzip, idx, jpeg, mat, png, tar, zip};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// A consistent set, by its content.
fn content(set: &ImageSet) -> ContentHash {
    let labels = set.labels().unwrap_or_default();
    assert!(labels.iter().all(|&l| l < set.n_classes()));
    assert_eq!(set.pixels().len(), set.len() * set.shape().bytes().unwrap());
    set.content_hash()
}

fn check(format: &str, original: &[u8], read: impl Fn(&[u8]) -> Result<ImageSet, Error>) {
    let tally = Harness::new(format, Kind::Foreign)
        .memory(320 << 20)
        .run(original, |bytes| read(bytes).map(|set| content(&set)));
    assert_eq!(tally.panics, 0);
}

/// As [`check`], for a reader of paths.
fn check_file(
    format: &str,
    path: &Path,
    original: &[u8],
    read: impl Fn() -> Result<ImageSet, Error>,
) {
    check(format, original, |bytes| {
        std::fs::write(path, bytes).unwrap();
        read()
    });
}

fn limits() -> Limits {
    Limits {
        file_bytes: 64 << 20,
        set_bytes: 64 << 20,
        side: 4096,
    }
}

fn folder_options() -> folder::Options {
    folder::Options {
        limits: limits(),
        ..folder::Options::default()
    }
}

#[test]
fn parquet_survives() {
    // Written by pyarrow: 6 PNG and JPEG images of 12×12 in two row groups; version 1 and 2 pages, dictionary and plain.
    let options = parquet::Options {
        limits: limits(),
        ..parquet::Options::default()
    };
    for (name, bytes) in [
        (
            "parquet, snappy",
            &include_bytes!("small_snappy.parquet")[..],
        ),
        ("parquet, plain", include_bytes!("small_plain.parquet")),
        ("parquet, gzip", include_bytes!("small_gzip.parquet")),
        ("parquet, zstd", include_bytes!("small_zstd.parquet")),
    ] {
        check(name, bytes, |b| {
            parquet::read(b, "x", Part::Test, "memory", &options)
        });
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("x.parquet");
    let bytes = include_bytes!("small_snappy.parquet");
    check_file("parquet from a file", &path, bytes, || {
        parquet::read_file(&path, "x", Part::Test, &options)
    });
}

#[test]
fn idx_survives() {
    let images = idx(&[4, 5, 6], &(0..120).collect::<Vec<u8>>());
    let labels = idx(&[4], &[1, 0, 2, 1]);
    check("IDX", &images, |b| {
        idx_reader::read(b, &labels, "x", Part::Test, &limits())
    });
    check("IDX labels", &labels, |b| {
        idx_reader::read(&images, b, "x", Part::Test, &limits())
    });
    check("IDX, gzip", &gzip(&images), |b| {
        idx_reader::read(b, &labels, "x", Part::Test, &limits())
    });
}

#[test]
fn cifar_binary_survives() {
    check("CIFAR-10 binary", &records(), |b| {
        cifar::read(b, cifar::Variant::Cifar10, Part::Test)
    });
    check(
        "CIFAR-100 binary",
        &common::cifar_records(&[3, 99], 2),
        |b| cifar::read(b, cifar::Variant::Cifar100, Part::Test),
    );
}

#[test]
fn mat_survives() {
    for compressed in [false, true] {
        check("MATLAB 5", &mat(4, &[10, 1, 2, 9, 10], compressed), |b| {
            mat_reader::read(b, "svhn", Part::Test, "memory", &limits())
        });
    }
}

fn archive_set(bytes: &[u8]) -> Result<ImageSet, Error> {
    let mut images = Vec::new();
    archive::for_each_in(
        Cursor::new(bytes),
        "memory",
        &limits(),
        |n| n.ends_with(".bin"),
        |_, b| {
            images.extend(b);
            Ok(true)
        },
    )?;
    cifar::read(&images, cifar::Variant::Cifar10, Part::Test)
}

fn records() -> Vec<u8> {
    common::cifar_records(&[0, 1, 2], 1)
}

#[test]
fn archives_survive() {
    let member = || [("a/data.bin", records())];
    check("tar", &tar(&member()), archive_set);
    check("tar.gz", &gzip(&tar(&member())), archive_set);
    check("zip", &zip(&member()), archive_set);
}

/// Archives of images from a file, as a user names one on the command line.
#[test]
fn archives_of_images_survive() {
    let scratch = tempfile::tempdir().unwrap();
    let members = [
        ("set/ant/1.png", png(6, 1)),
        ("set/ant/2.jpg", jpeg(6, 2)),
        ("set/bee/1.png", png(6, 3)),
    ];
    for (name, bytes) in [
        ("zip of images", zip(&members)),
        ("tar.gz of images", gzip(&tar(&members))),
    ] {
        let path = scratch.path().join("archive");
        check_file(name, &path, &bytes, || {
            folder::read(&path, "x", Part::Test, &folder_options())
        });
    }
}

#[test]
fn images_survive() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, file, bytes) in [
        ("PNG", "png/x.png", common::png_with_exif(12, 3, Some(6))),
        ("JPEG", "jpg/x.jpg", common::jpeg_with_exif(24, 3, Some(8))),
    ] {
        let path = scratch.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        check_file(name, &path, &bytes, || {
            folder::read(path.parent().unwrap(), "x", Part::Test, &folder_options())
        });
    }
}

/// Lists that steer which images are read.
#[test]
fn lists_of_images_survive() {
    let scratch = tempfile::tempdir().unwrap();
    for (root, list, text, images) in [
        (
            "tiny",
            "val/val_annotations.txt",
            "a.png\tn02\t0\t0\t5\t5\nb.png\tn01\t0\t0\t5\t5\n",
            ["val/images/a.png", "val/images/b.png"],
        ),
        (
            "dtd",
            "labels/test1.txt",
            "banded/a.png\nwoven/b.png\n",
            ["images/banded/a.png", "images/woven/b.png"],
        ),
    ] {
        let root = scratch.path().join(root);
        for image in images {
            common::write(&root, image, &png(6, 2));
        }
        let path = root.join(list);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        check_file(list, &path, text.as_bytes(), || {
            folder::read(&root, "x", Part::Test, &folder_options())
        });
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A damaged cache file or stamp is noticed or harmless: the set is the same, and its content hash is of its pixels.
#[test]
fn the_cache_is_never_silently_another_set() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("source");
    std::fs::write(&source, records()).unwrap();
    let cache = Cache::new(scratch.path().join("cache")).telling(|_| {});
    let decode = || cifar::read(&records(), cifar::Variant::Cifar10, Part::Test);
    let load = || cache.get_or_decode(std::slice::from_ref(&source), "test", decode);
    let genuine = load().unwrap();
    for folder in ["cache", "cache/stamps"] {
        let files = files_in(&scratch.path().join(folder));
        let file = files.iter().find(|file| file.is_file()).unwrap();
        let original = std::fs::read(file).unwrap();
        let tally = Harness::new(folder, Kind::Sealed).run(&original, |bytes| {
            std::fs::write(file, bytes).unwrap();
            load().map(|set| (content(&set), set.pixels().to_vec(), set.part()))
        });
        assert_eq!(tally.same, tally.copies, "the cache is no reason to fail");
    }
    assert_eq!(load().unwrap().pixels(), genuine.pixels());
}

#[test]
fn decompression_bombs_are_refused() {
    let bomb = gzip(&vec![0u8; 80 << 20]);
    assert!(matches!(
        idx_reader::parse(&bomb, "bomb", &limits()),
        Err(Error::TooLarge { .. })
    ));
    let scratch = tempfile::tempdir().unwrap();
    // A PNG that declares 60,000 × 60,000 pixels.
    let mut bytes = png(4, 0);
    bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    std::fs::write(scratch.path().join("x.png"), bytes).unwrap();
    assert!(folder::read(scratch.path(), "x", Part::Test, &folder_options()).is_err());
}
