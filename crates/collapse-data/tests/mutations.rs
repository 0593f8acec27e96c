//! Every reader under seeded damage: truncations, flipped bytes, oversized lengths, spliced blocks. Each
//! file must end in a typed error or in a set that is consistent, without panic, hang or large allocation.
//! `COLLAPSE_MUTATIONS` sets the number a format (default 2,000).
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Cursor, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use collapse_data::readers::{Limits, archive, cifar, idx, mat, parquet};
use collapse_data::{Error, ImageSet, Part};

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
    let mut attempt = |bytes: &[u8]| match read(bytes) {
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
    };
    for cut in (0..original.len()).step_by((original.len() / 400).max(1)) {
        attempt(&original[..cut]);
    }
    for seed in 0..count {
        attempt(&mutate(original, &mut Draw(seed ^ 0x5eed)));
    }
    let largest = LARGEST.load(Ordering::Relaxed);
    println!(
        "{format}: {errors} errors, {sets} sets, largest request {largest} bytes, {:?}",
        start.elapsed()
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

fn png(side: u32, shift: u8) -> Vec<u8> {
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 9) as u8 ^ shift, (y * 7) as u8, shift])
    });
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

fn jpeg(side: u32, shift: u8) -> Vec<u8> {
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 3) as u8 ^ shift, (y * 5) as u8, shift])
    });
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
    out.into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn parquet_survives() {
    // Written by pyarrow: 6 PNG and JPEG images of 12×12 in two row groups, Snappy, dictionary and plain pages.
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
    ] {
        check(name, bytes, |b| {
            parquet::read(b, "x", Part::Test, "memory", &options)
        });
    }
}

#[test]
fn idx_survives() {
    let mut images = vec![0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6];
    images.extend((0..120).map(|i| i as u8));
    let labels = [0, 0, 8, 1, 0, 0, 0, 4, 1, 0, 2, 1];
    check("IDX", &images, |b| {
        idx::read(b, &labels, "x", Part::Test, &limits())
    });
    check("IDX labels", &labels, |b| {
        idx::read(&images, b, "x", Part::Test, &limits())
    });
    check("IDX, gzip", &gzip(&images), |b| {
        idx::read(b, &labels, "x", Part::Test, &limits())
    });
}

#[test]
fn cifar_binary_survives() {
    let records: Vec<u8> = (0..4u32)
        .flat_map(|i| std::iter::once(i as u8).chain((0..3072).map(move |p| (p * i) as u8)))
        .collect();
    check("CIFAR binary", &records, |b| {
        cifar::read(b, cifar::Variant::Cifar10, Part::Test)
    });
}

fn mat_element(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut out = [kind.to_le_bytes(), (content.len() as u32).to_le_bytes()].concat();
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fn mat_matrix(name: &str, sizes: &[i32], content: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|s| s.to_le_bytes()).collect();
    let body = [
        mat_element(6, &[9, 0, 0, 0, 0, 0, 0, 0]),
        mat_element(5, &sizes),
        mat_element(1, name.as_bytes()),
        mat_element(2, content),
    ]
    .concat();
    mat_element(14, &body)
}

fn mat_file(compressed: bool) -> Vec<u8> {
    let mut file = b"MATLAB 5.0 MAT-file, test".to_vec();
    file.resize(124, b' ');
    file.extend_from_slice(&[0, 1, b'I', b'M']);
    let pixels: Vec<u8> = (0..4 * 4 * 3 * 5).map(|i| i as u8).collect();
    for matrix in [
        mat_matrix("X", &[4, 4, 3, 5], &pixels),
        mat_matrix("y", &[5, 1], &[10, 1, 2, 9, 10]),
    ] {
        if compressed {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&matrix).unwrap();
            let content = encoder.finish().unwrap();
            file.extend_from_slice(&15u32.to_le_bytes());
            file.extend_from_slice(&(content.len() as u32).to_le_bytes());
            file.extend_from_slice(&content);
        } else {
            file.extend_from_slice(&matrix);
        }
    }
    file
}

#[test]
fn mat_survives_and_label_ten_is_digit_zero() {
    let set = mat::read(&mat_file(true), "svhn", Part::Test, &limits()).unwrap();
    assert_eq!(set.labels().unwrap(), [0, 1, 2, 9, 0]);
    // Column-major: the pixel below the first one comes next in the file.
    assert_eq!(set.image(0).unwrap()[4 * 3], 1);
    assert_eq!(set.image(0).unwrap()[3], 4);
    assert_eq!(set.image(0).unwrap()[1], 16);
    for compressed in [false, true] {
        check("MATLAB 5", &mat_file(compressed), |b| {
            mat::read(b, "svhn", Part::Test, &limits())
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
    (0..3u32)
        .flat_map(|i| std::iter::once(i as u8).chain((0..3072).map(move |p| (p * i) as u8)))
        .collect()
}

fn tar_with(name: &str) -> Vec<u8> {
    let records = records();
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(records.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &records[..]).unwrap();
    tar.into_inner().unwrap()
}

fn zip_with(name: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(&records()).unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_survive_and_escapes_are_refused() {
    check("tar", &tar_with("a/data.bin"), archive_set);
    check("tar.gz", &gzip(&tar_with("a/data.bin")), archive_set);
    check("zip", &zip_with("a/data.bin"), archive_set);
    for name in ["../evil.bin", "/etc/evil.bin", "a/../../evil.bin"] {
        for bytes in [tar_with(name), gzip(&tar_with(name)), zip_with(name)] {
            let error = archive_set(&bytes).unwrap_err();
            assert!(matches!(error, Error::PathEscape { .. }), "{name}: {error}");
        }
    }
}

#[test]
fn images_survive() {
    let folder = tempfile::tempdir().unwrap();
    let options = collapse_data::readers::folder::Options {
        limits: limits(),
        ..Default::default()
    };
    for (name, file, bytes) in [
        ("PNG", "a/x.png", png(12, 3)),
        ("JPEG", "a/x.jpg", jpeg(24, 3)),
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        check(name, &bytes, |b| {
            std::fs::write(&path, b).unwrap();
            collapse_data::readers::folder::read(path.parent().unwrap(), "x", Part::Test, &options)
        });
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn decompression_bombs_are_refused() {
    let bomb = gzip(&vec![0u8; 80 << 20]);
    assert!(matches!(
        idx::parse(&bomb, "bomb", &limits()),
        Err(Error::TooLarge { .. })
    ));
    let folder = tempfile::tempdir().unwrap();
    // A PNG that declares 60,000 × 60,000 pixels.
    let mut bytes = png(4, 0);
    bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    std::fs::write(folder.path().join("x.png"), bytes).unwrap();
    let options = collapse_data::readers::folder::Options {
        limits: limits(),
        ..Default::default()
    };
    assert!(
        collapse_data::readers::folder::read(folder.path(), "x", Part::Test, &options).is_err()
    );
}
