//! Every reader under seeded damage: truncations, flipped bytes, oversized lengths, spliced blocks. Each
//! file must end in a typed error or in a set that is consistent, without panic, hang or large allocation.
//! `COLLAPSE_MUTATIONS` sets the number a format (default 2,000, and 400 truncations; from 100,000 on, a truncation at
//! every byte): `COLLAPSE_MUTATIONS=100000 cargo test -p collapse-data --test mutations -- --nocapture`.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};

use collapse_data::readers::{
    Limits, archive, cifar, folder, idx as idx_reader, mat as mat_reader, parquet,
};
use collapse_data::{Error, ImageSet, Part};

mod common;
use common::{gzip, idx, jpeg, mat, png, tar, zip};

/// Largest single request seen; the readers may not ask for more than [`LIMIT`].
static LARGEST: AtomicUsize = AtomicUsize::new(0);
const LIMIT: usize = 320 << 20;

struct Watching;

#[allow(unsafe_code)]
// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn mutate(original: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=draw.below(4) {
        let n = bytes.len();
        // Headers and footers steer the readers, so half of the damage falls on the first or last 200 bytes.
        let at = match draw.below(4) {
            0 => draw.below(n.min(200)),
            1 => n - 1 - draw.below(n.min(200)),
            _ => draw.below(n),
        };
        match draw.below(6) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.next() as u8,
            2 => bytes.truncate(at.max(1)),
            3 => bytes[at..(at + 4).min(n)].fill(0xff),
            4 => {
                let from = draw.below(n);
                let length = draw.below(64).min(n - from).min(n - at);
                let block = bytes[from..from + length].to_vec();
                bytes[at..at + length].copy_from_slice(&block);
            }
            _ => bytes[at..(at + 4).min(n)].fill(if draw.below(2) == 0 { 0x7f } else { 0 }),
        }
    }
    bytes
}

fn check(format: &str, original: &[u8], read: impl Fn(&[u8]) -> Result<ImageSet, Error>) {
    read(original).unwrap_or_else(|e| panic!("{format}: the undamaged file fails: {e}"));
    let count: u64 = std::env::var("COLLAPSE_MUTATIONS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(2_000);
    LARGEST.store(0, Ordering::Relaxed);
    let (mut errors, mut sets) = (0, 0);
    let start = std::time::Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    let mut attempt = |bytes: &[u8]| {
        let began = std::time::Instant::now();
        let result = read(bytes);
        slowest = slowest.max(began.elapsed());
        match result {
            Ok(set) => {
                let labels = set.labels().unwrap_or_default();
                assert!(labels.iter().all(|&l| l < set.n_classes()));
                assert_eq!(set.pixels().len(), set.len() * set.shape().bytes().unwrap());
                sets += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                errors += 1;
            }
        }
    };
    let step = if count >= 100_000 {
        1
    } else {
        (original.len() / 400).max(1)
    };
    for cut in (0..original.len()).step_by(step) {
        attempt(&original[..cut]);
    }
    for seed in 0..count {
        attempt(&mutate(original, &mut Draw(seed ^ 0x5eed)));
    }
    let largest = LARGEST.load(Ordering::Relaxed);
    println!(
        "{format}: {errors} errors, {sets} sets, largest request {largest} bytes, slowest {slowest:?}, {:?} in all",
        start.elapsed()
    );
    // Far above what a loaded machine needs for these few kilobytes, far below a hang.
    assert!(
        slowest.as_secs() < 20,
        "{format}: one file took {slowest:?}"
    );
    assert!(largest <= LIMIT, "{format}: a request of {largest} bytes");
}

fn limits() -> Limits {
    Limits {
        file_bytes: 64 << 20,
        set_bytes: 64 << 20,
        side: 4096,
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

const DIGITS: [u8; 5] = [10, 1, 2, 9, 10];

#[test]
fn mat_survives_and_label_ten_is_digit_zero() {
    let set = mat_reader::read(&mat(4, &DIGITS, true), "svhn", Part::Test, &limits()).unwrap();
    assert_eq!(set.labels().unwrap(), [0, 1, 2, 9, 0]);
    // Column-major: the pixel below the first one comes next in the file.
    assert_eq!(set.image(0).unwrap()[4 * 3], 1);
    assert_eq!(set.image(0).unwrap()[3], 4);
    assert_eq!(set.image(0).unwrap()[1], 16);
    for compressed in [false, true] {
        check("MATLAB 5", &mat(4, &DIGITS, compressed), |b| {
            mat_reader::read(b, "svhn", Part::Test, &limits())
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
fn archives_survive_and_escapes_are_refused() {
    let member = |name| [(name, records())];
    check("tar", &tar(&member("a/data.bin")), archive_set);
    check("tar.gz", &gzip(&tar(&member("a/data.bin"))), archive_set);
    check("zip", &zip(&member("a/data.bin")), archive_set);
    for name in ["../evil.bin", "/etc/evil.bin", "a/../../evil.bin"] {
        for bytes in [
            tar(&member(name)),
            gzip(&tar(&member(name))),
            zip(&member(name)),
        ] {
            let error = archive_set(&bytes).unwrap_err();
            assert!(matches!(error, Error::PathEscape { .. }), "{name}: {error}");
        }
    }
}

/// Archives of images from a file, as a user names one on the command line.
#[test]
fn archives_of_images_survive() {
    let scratch = tempfile::tempdir().unwrap();
    let options = folder::Options {
        limits: limits(),
        ..folder::Options::default()
    };
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
        check(name, &bytes, |b| {
            std::fs::write(&path, b).unwrap();
            folder::read(&path, "x", Part::Test, &options)
        });
    }
}

#[test]
fn images_survive() {
    let scratch = tempfile::tempdir().unwrap();
    let options = folder::Options {
        limits: limits(),
        ..folder::Options::default()
    };
    for (name, file, bytes) in [
        ("PNG", "a/x.png", png(12, 3)),
        ("JPEG", "a/x.jpg", jpeg(24, 3)),
    ] {
        let path = scratch.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        check(name, &bytes, |b| {
            std::fs::write(&path, b).unwrap();
            folder::read(path.parent().unwrap(), "x", Part::Test, &options)
        });
        std::fs::remove_file(&path).unwrap();
    }
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
    let options = folder::Options {
        limits: limits(),
        ..folder::Options::default()
    };
    assert!(folder::read(scratch.path(), "x", Part::Test, &options).is_err());
}
