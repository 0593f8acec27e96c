//! Files of every format, written by the tests themselves.
#![allow(clippy::unwrap_used, dead_code)] // a failed step of a test is a failed test; not every test uses all

use std::io::{Cursor, Write};
use std::path::Path;

/// Writes a file below a folder.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Red the column, green the row, blue `shift`.
fn picture(side: u32, shift: u8) -> Vec<u8> {
    let at = |y: u32, x: u32| [(x * 9) as u8 ^ shift, (y * 7) as u8, shift];
    let pixels = (0..side).flat_map(|y| (0..side).flat_map(move |x| at(y, x)));
    pixels.collect()
}

pub fn png(side: u32, shift: u8) -> Vec<u8> {
    png_with_exif(side, shift, None)
}

/// A PNG that says how it is to be turned.
pub fn png_with_exif(side: u32, shift: u8, orientation: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut info = png::Info::with_size(side, side);
    info.color_type = png::ColorType::Rgb;
    info.exif_metadata = orientation.map(|o| exif(o).into());
    let encoder = png::Encoder::with_info(&mut out, info).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&picture(side, shift)).unwrap();
    writer.finish().unwrap();
    out
}

/// EXIF metadata that hold an orientation alone.
pub fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
    tiff
}

pub fn jpeg(side: u32, shift: u8) -> Vec<u8> {
    jpeg_with_exif(side, shift, None)
}

/// A JPEG that says how it is to be turned.
pub fn jpeg_with_exif(side: u32, shift: u8, orientation: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut out, 75);
    if let Some(orientation) = orientation {
        let segment = [b"Exif\0\0".to_vec(), exif(orientation)].concat();
        encoder.add_app_segment(1, segment).unwrap();
    }
    let side = side as u16;
    let pixels = picture(u32::from(side), shift);
    encoder
        .encode(&pixels, side, side, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    out
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

fn mat_matrix(name: &str, sizes: &[i32], kind: u32, content: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|s| s.to_le_bytes()).collect();
    let body = [
        mat_element(6, &[9, 0, 0, 0, 0, 0, 0, 0]),
        mat_element(5, &sizes),
        mat_element(1, name.as_bytes()),
        mat_element(kind, content),
    ]
    .concat();
    mat_element(14, &body)
}

/// MATLAB's element types of unsigned bytes, of single and of 64-bit integers.
pub const MAT_UINT8: u32 = 2;
pub const MAT_SINGLE: u32 = 7;
pub const MAT_INT64: u32 = 12;

/// The array `X` [side, side, 3, N] of SVHN, counting up.
pub fn mat_x(side: i32, n: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (0..side * side * 3 * n as i32).map(|i| i as u8).collect();
    mat_matrix("X", &[side, side, 3, n as i32], MAT_UINT8, &pixels)
}

/// The array `y` [N, 1] of SVHN, stored as a type.
pub fn mat_y(labels: &[u8], kind: u32) -> Vec<u8> {
    let stored: Vec<u8> = match kind {
        MAT_SINGLE => labels
            .iter()
            .flat_map(|&l| f32::from(l).to_le_bytes())
            .collect(),
        MAT_INT64 => labels
            .iter()
            .flat_map(|&l| i64::from(l).to_le_bytes())
            .collect(),
        _ => labels.to_vec(),
    };
    mat_matrix("y", &[labels.len() as i32, 1], kind, &stored)
}

/// A MATLAB 5 file of these arrays.
pub fn mat_file(arrays: &[Vec<u8>], compressed: bool) -> Vec<u8> {
    let mut file = b"MATLAB 5.0 MAT-file, test".to_vec();
    file.resize(124, b' ');
    file.extend_from_slice(&[0, 1, b'I', b'M']);
    for array in arrays {
        if compressed {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(array).unwrap();
            let content = encoder.finish().unwrap();
            file.extend_from_slice(&15u32.to_le_bytes());
            file.extend_from_slice(&(content.len() as u32).to_le_bytes());
            file.extend_from_slice(&content);
        } else {
            file.extend_from_slice(array);
        }
    }
    file
}

/// A MATLAB 5 file like SVHN's.
pub fn mat(side: i32, labels: &[u8], compressed: bool) -> Vec<u8> {
    mat_file(
        &[mat_x(side, labels.len()), mat_y(labels, MAT_UINT8)],
        compressed,
    )
}
