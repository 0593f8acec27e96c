//! Files as other programs write them.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test
#![allow(dead_code)] // each test program needs a part of it

use std::io::Write;

/// A tensor: name, type, shape, bytes.
pub type Tensor<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

/// A safetensors file of these tensors, with the metadata `l2` where given.
pub fn safetensors(l2: Option<&str>, tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    if let Some(l2) = l2 {
        header.insert("__metadata__".into(), serde_json::json!({ "l2": l2 }));
    }
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(
            (*name).into(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}),
        );
        data.extend_from_slice(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let length = (header.len() as u64).to_le_bytes();
    [length.as_slice(), &header, &data].concat()
}

/// A version 1 `.npy` file.
pub fn npy(descr: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (text.len() + 11) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    file.extend(bytes);
    file
}

/// A `.npz` archive of `.npy` files.
pub fn npz(method: zip::CompressionMethod, arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The bytes of numbers.
pub fn bytes<const B: usize, T: Copy>(values: &[T], encode: impl Fn(T) -> [u8; B]) -> Vec<u8> {
    values.iter().flat_map(|&value| encode(value)).collect()
}
