//! Checkpoints as `torch.save` writes them, made by hand.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A pickle of protocol 2 in the making.
#[derive(Clone)]
pub struct Pickle(Vec<u8>);

/// What a pickled tensor says of itself.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    pub class: &'a str,
    pub key: &'a str,
    /// Numbers of the storage.
    pub len: i32,
    pub offset: i32,
    pub shape: &'a [i32],
    pub strides: &'a [i32],
}

impl Pickle {
    pub fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        let length = (text.len() as u32).to_le_bytes();
        self.raw(b"X").raw(&length).raw(text.as_bytes())
    }

    fn integers(self, values: &[i32]) -> Self {
        let all = values.iter().fold(self.raw(b"("), |pickle, value| {
            pickle.raw(b"J").raw(&value.to_le_bytes())
        });
        all.raw(b"t")
    }

    pub fn tensor(self, tensor: Tensor<'_>) -> Self {
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((")
            .text("storage")
            .raw(format!("ctorch\n{}\n", tensor.class).as_bytes())
            .text(tensor.key)
            .text("cpu")
            .raw(b"J")
            .raw(&tensor.len.to_le_bytes())
            .raw(b"tQJ")
            .raw(&tensor.offset.to_le_bytes())
            .integers(tensor.shape)
            .integers(tensor.strides)
            .raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }

    /// A dictionary of f32 vectors, each named by its storage `0`, `1`, ….
    pub fn vectors(self, names: &[&str], len: i32) -> Self {
        let keys: Vec<String> = (0..names.len()).map(|i| i.to_string()).collect();
        let dict = names
            .iter()
            .zip(&keys)
            .fold(self.raw(b"}("), |pickle, (name, key)| {
                pickle.text(name).tensor(Tensor {
                    class: "FloatStorage",
                    key,
                    len,
                    offset: 0,
                    shape: &[len],
                    strides: &[1],
                })
            });
        dict.raw(b"u")
    }

    pub fn finish(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// The archive of a pickle and its storages.
pub fn archive(pickle: &[u8], storages: &[&[u8]], byteorder: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut put = |name: &str, bytes: &[u8]| {
        writer.start_file(name, stored).unwrap();
        writer.write_all(bytes).unwrap();
    };
    put("archive/data.pkl", pickle);
    put("archive/byteorder", byteorder);
    for (key, bytes) in storages.iter().enumerate() {
        put(&format!("archive/data/{key}"), bytes);
    }
    put("archive/version", b"3\n");
    writer.finish().unwrap().into_inner()
}

pub fn numbers(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}
