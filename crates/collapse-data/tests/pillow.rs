//! Resizing and luma against Pillow's own output on synthetic images (`pillow_bilinear.txt`), to the bit.
#![allow(clippy::unwrap_used)]

use collapse_data::{Fit, ImageSet, ImageShape, Part};

fn noise(shape: ImageShape, seed: u64) -> Vec<u8> {
    let mut x = seed;
    (0..shape.bytes().unwrap())
        .map(|_| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

#[test]
fn bilinear_resizing_equals_pillow() {
    let mut checked = 0;
    for line in include_str!("pillow_bilinear.txt")
        .lines()
        .filter(|l| l.starts_with(|c: char| c.is_ascii_digit()))
    {
        let fields: Vec<&str> = line.split(' ').collect();
        let n: Vec<usize> = fields[..5].iter().map(|f| f.parse().unwrap()).collect();
        let shape = ImageShape::new(n[0], n[1], n[2]);
        let pixels = noise(shape, (n[0] * 1000 + n[1]) as u64);
        let set = ImageSet::new("noise", Part::Test, shape, pixels, None, Vec::new()).unwrap();
        let resized = set
            .converted(ImageShape::new(n[3], n[4], n[2]), Fit::Resize)
            .unwrap();
        assert_eq!(
            resized.pixels(),
            bytes(fields[5]),
            "{shape} to {}×{}",
            n[3],
            n[4]
        );
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn luma_equals_pillow_and_grey_is_repeated() {
    let line = include_str!("pillow_bilinear.txt")
        .lines()
        .find_map(|l| l.strip_prefix("luma "))
        .unwrap();
    let shape = ImageShape::new(8, 8, 3);
    let set = ImageSet::new(
        "noise",
        Part::Test,
        shape,
        noise(shape, 7),
        None,
        Vec::new(),
    )
    .unwrap();
    let grey = set
        .converted(ImageShape::new(8, 8, 1), Fit::Resize)
        .unwrap();
    assert_eq!(grey.pixels(), bytes(line));
    let back = grey.converted(shape, Fit::Resize).unwrap();
    assert!(
        back.pixels()
            .chunks(3)
            .zip(grey.pixels())
            .all(|(p, g)| p == [*g; 3])
    );
    let padded = grey
        .converted(ImageShape::new(12, 12, 1), Fit::Pad)
        .unwrap();
    assert_eq!(padded.image(0).unwrap()[2 * 12 + 2], grey.pixels()[0]);
    assert!(grey.converted(ImageShape::new(4, 12, 1), Fit::Pad).is_err());
}

#[test]
fn parquet_as_pyarrow_writes_it() {
    use collapse_data::readers::parquet;
    for (bytes, labels) in [
        (
            &include_bytes!("small_snappy.parquet")[..],
            [0, 1, 2, 0, 1, 2],
        ),
        (include_bytes!("small_plain.parquet"), [0, 1, 2, 0, 1, 2]),
        (include_bytes!("small_gzip.parquet"), [0, 0, 1, 1, 0, 2]),
        // Version 2 pages, Zstandard, and labels that are words.
        (include_bytes!("small_zstd.parquet"), [0, 1, 2, 0, 1, 2]),
    ] {
        let set = parquet::read(
            bytes,
            "farm",
            Part::Test,
            "memory",
            &parquet::Options::default(),
        )
        .unwrap();
        assert_eq!(set.labels().unwrap(), labels);
        assert_eq!(set.classes(), ["ant", "bee", "cow"]);
        // The first image is a PNG with green = 9 × column, so a transposed image would show.
        let first: Vec<u8> = set.image(0).unwrap()[..36]
            .chunks(3)
            .map(|p| p[1])
            .collect();
        assert_eq!(first, (0..12).map(|x| x * 9).collect::<Vec<u8>>());
    }
}
