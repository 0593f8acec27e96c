//! Bytes in memory that several owners share parts of.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// A part of a buffer; cheap to clone and to cut further.
#[derive(Clone)]
pub(crate) struct SharedBytes {
    buffer: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl SharedBytes {
    /// The part at `range`, counted from this part's beginning; `None` where it ends outside.
    pub(crate) fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let start = self.range.start;
        Some(Self {
            buffer: Arc::clone(&self.buffer),
            range: start + range.start..start + range.end,
        })
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self {
            buffer: Arc::new(bytes),
            range,
        }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}
