//! Work that never changes, against which hot paths are measured.

use std::hint::black_box;

use anyhow::Result;
use collapse_kernels::{KernelPath, Precision, register_loop};

use crate::case::{Prepare, Work};
use crate::inputs::normals;

/// Bytes of the larger buffers that a copy goes through again and again.
const COPIED_AT_ONCE: usize = 8 << 20;

/// Fixed work of the same nature as a hot path.
pub struct Yardstick {
    /// What it is, for tables.
    pub name: &'static str,
    prepare: Prepare,
}

impl Yardstick {
    /// A yardstick of one's own.
    pub(crate) fn new(name: &'static str, prepare: impl Fn() -> Result<Work> + 'static) -> Self {
        Self {
            name,
            prepare: Box::new(prepare),
        }
    }

    /// So many floating-point operations on registers, then a copy of so many bytes: what the work would take without waiting for
    /// anything else.
    pub(crate) fn roofline(
        path: KernelPath,
        precision: Precision,
        flops: f64,
        bytes: usize,
    ) -> Self {
        Self::new("register products and a copy", move || {
            let mut copy = copy_of(bytes);
            Ok(Box::new(move || {
                register_loop(path, precision, flops)?;
                copy();
                Ok(())
            }))
        })
    }

    /// As [`roofline`](Self::roofline) for f64, of which a register holds half as many.
    pub(crate) fn roofline_f64(path: KernelPath, flops: f64, bytes: usize) -> Self {
        Self::roofline(path, Precision::F32, 2.0 * flops, bytes)
    }

    /// A copy of so many bytes.
    pub(crate) fn copy(bytes: usize) -> Self {
        Self::new("memory copy", move || {
            let mut copy = copy_of(bytes);
            Ok(Box::new(move || {
                copy();
                Ok(())
            }))
        })
    }

    /// The standard library's sort of so many numbers.
    pub(crate) fn sort(n: usize) -> Self {
        Self::new("std's sort", move || {
            let values = normals(1, "bench-sort", n);
            Ok(Box::new(move || {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                black_box(&sorted);
                Ok(())
            }))
        })
    }

    /// FNV-1a over so many bytes, one after the other.
    pub(crate) fn checksum(bytes: usize) -> Self {
        Self::new("naive checksum", move || {
            let content = vec![0x5au8; bytes];
            Ok(Box::new(move || {
                let mut hash = 0xcbf2_9ce4_8422_2325_u64;
                for byte in black_box(&content) {
                    hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
                black_box(hash);
                Ok(())
            }))
        })
    }

    /// Makes what it works on.
    ///
    /// # Errors
    /// If this machine cannot run the kernel path.
    pub fn prepare(&self) -> Result<Work> {
        let mut work = (self.prepare)()?;
        work()?;
        Ok(work)
    }
}

/// Copies so many bytes at each call, between buffers that are no larger than [`COPIED_AT_ONCE`].
fn copy_of(bytes: usize) -> impl FnMut() {
    let at_once = bytes.clamp(1, COPIED_AT_ONCE);
    let (from, mut to) = (vec![1u8; at_once], vec![0u8; at_once]);
    move || {
        let mut left = bytes;
        while left > 0 {
            let now = left.min(at_once);
            to[..now].copy_from_slice(black_box(&from[..now]));
            black_box(&mut to);
            left -= now;
        }
    }
}
