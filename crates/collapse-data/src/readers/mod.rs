//! Readers of the formats image sets come in. Each takes bytes or a path and ends in correct data or a
//! typed error; sizes declared by a file are checked against [`Limits`] before anything is allocated.

pub mod archive;
pub mod cifar;
pub mod folder;
pub mod idx;
pub mod mat;
pub mod parquet;
pub(crate) mod parts;

pub(crate) mod decode;
pub(crate) mod foreign;
mod orientation;

use crate::{Error, ImageShape};

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file after decompression.
    pub file_bytes: u64,
    /// Bytes of the decoded images of one set.
    pub set_bytes: u64,
    /// Rows or columns of one encoded image.
    pub side: u32,
}

impl Default for Limits {
    /// 4 GiB a file, 8 GiB a set, 16,384 pixels a side.
    fn default() -> Self {
        Self {
            file_bytes: 4 << 30,
            set_bytes: 8 << 30,
            side: 16_384,
        }
    }
}

impl Limits {
    /// Bytes of `count` images of `shape`, if within the limit.
    pub(crate) fn set_size(
        &self,
        origin: &str,
        shape: ImageShape,
        count: usize,
    ) -> Result<usize, Error> {
        let size = shape.bytes().and_then(|b| b.checked_mul(count));
        match size {
            Some(size) if size as u64 <= self.set_bytes => Ok(size),
            _ => Err(Error::TooLarge {
                origin: origin.to_string(),
                what: "decoded images",
                size: size.map_or(u64::MAX, |s| s as u64),
                limit: self.set_bytes,
            }),
        }
    }
}

/// "0", "1", … up to the largest label.
pub(crate) fn numbered_classes(labels: &[usize]) -> Vec<String> {
    let count = labels.iter().max().map_or(0, |&largest| largest + 1);
    (0..count).map(|class| class.to_string()).collect()
}
