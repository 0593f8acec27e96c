//! Files of every format, written by the tests themselves.
#![allow(clippy::unwrap_used, dead_code)] // a failed step of a test is a failed test; not every test uses all

use std::io::{Cursor, Write};

pub fn png(side: u32, shift: u8) -> Vec<u8> {
    encoded(side, shift, image::ImageFormat::Png)
}

pub fn jpeg(side: u32, shift: u8) -> Vec<u8> {
    encoded(side, shift, image::ImageFormat::Jpeg)
}

fn encoded(side: u32, shift: u8, format: image::ImageFormat) -> Vec<u8> {
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        image::Rgb([(x * 9) as u8 ^ shift, (y * 7) as u8, shift])
    });
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An uncompressed tar; names are stored as they are, also such that leave the archive.
pub fn tar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// CIFAR records: `label_bytes` copies of the label, then planes in which red is the column, green the row.
pub fn cifar_records(labels: &[u8], label_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for &label in labels {
        out.extend(std::iter::repeat_n(label, label_bytes));
        out.extend((0..1024).map(|i| (i % 32) as u8));
        out.extend((0..1024).map(|i| (i / 32) as u8));
        out.extend(std::iter::repeat_n(label, 1024));
    }
    out
}

/// An IDX array of unsigned bytes.
pub fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 8, sizes.len() as u8];
    out.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    out.extend_from_slice(content);
    out
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

/// A MATLAB 5 file like SVHN's: X [side, side, 3, N], counting up, and y.
pub fn mat(side: i32, labels: &[u8], compressed: bool) -> Vec<u8> {
    let mut file = b"MATLAB 5.0 MAT-file, test".to_vec();
    file.resize(124, b' ');
    file.extend_from_slice(&[0, 1, b'I', b'M']);
    let n = labels.len() as i32;
    let pixels: Vec<u8> = (0..side * side * 3 * n).map(|i| i as u8).collect();
    for matrix in [
        mat_matrix("X", &[side, side, 3, n], &pixels),
        mat_matrix("y", &[n, 1], labels),
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
