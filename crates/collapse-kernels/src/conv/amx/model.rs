//! The tiles in plain Rust, as the instruction set reference describes them.
#![allow(unsafe_code)]

use super::{OPERAND, Strip, TILE, Tiles};
use crate::conv::kernel::finish;
use crate::element::Element;
use crate::path::Level;
use crate::shape::LANES;
use half::bf16;
use std::cell::Cell;

thread_local! {
    /// Depth the thread is configured for; 0 when it is not.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

pub(crate) struct Model {
    sums: [[[f32; TILE]; 2]; 2],
    depth: usize,
}

pub(crate) struct Configured;

impl Drop for Configured {
    fn drop(&mut self) {
        DEPTH.set(0);
    }
}

impl Tiles for Model {
    const LEVEL: Level = Level::Base;
    type Session = Configured;

    fn configure(depth: usize) -> Configured {
        assert!(depth == 16 || depth == 32);
        assert_eq!(
            DEPTH.replace(depth),
            0,
            "a thread configures its tiles once at a time"
        );
        Configured
    }

    unsafe fn zeroed() -> Self {
        let depth = DEPTH.get();
        assert_ne!(depth, 0, "tiles used outside a session");
        Self {
            sums: [[[0.0; TILE]; 2]; 2],
            depth,
        }
    }

    unsafe fn multiply<const R: usize, const C: usize>(&mut self, strip: Strip) {
        for step in 0..strip.steps {
            for r in 0..R {
                for c in 0..C {
                    for i in 0..16 {
                        for k in 0..self.depth {
                            let at = (step * strip.left_step + i * strip.left_stride) / 2 + k;
                            // SAFETY: the caller says the operand tiles are readable.
                            let left = unsafe { *strip.left[r].add(at) }.widen();
                            for j in 0..LANES {
                                let at = step * strip.right_step / 2 + k / 2 * 32 + 2 * j + k % 2;
                                // SAFETY: as above.
                                let right = unsafe { *strip.right[c].add(at) }.widen();
                                self.sums[r][c][i * LANES + j] += left * right;
                            }
                        }
                    }
                }
            }
        }
    }

    unsafe fn load<const R: usize, const C: usize>(&mut self, from: [[*const f32; 2]; 2]) {
        for r in 0..R {
            for c in 0..C {
                // SAFETY: the caller says these 256 values are readable.
                self.sums[r][c] = unsafe { *from[r][c].cast() };
            }
        }
    }

    unsafe fn store<const R: usize, const C: usize>(&self, to: [[*mut f32; 2]; 2]) {
        for r in 0..R {
            for c in 0..C {
                // SAFETY: the caller says these 256 values are writable.
                unsafe { *to[r][c].cast() = self.sums[r][c] };
            }
        }
    }

    unsafe fn write_back(sums: &[f32; TILE], target: *mut bf16, stride: usize, accumulate: bool) {
        for (r, sums) in sums.as_chunks::<LANES>().0.iter().enumerate() {
            // SAFETY: the caller says the rows are ours.
            let row = unsafe { std::slice::from_raw_parts_mut(target.add(r * stride), LANES) };
            finish::<bf16>(row, sums, accumulate);
        }
    }

    fn transpose<'a>(images: impl ExactSizeIterator<Item = &'a [bf16]>, tile: &mut [bf16]) {
        tile[..OPERAND].fill(bf16::ZERO);
        for (image, lanes) in images.enumerate() {
            for (j, &v) in lanes.iter().enumerate() {
                tile[j * 32 + image] = v;
            }
        }
    }
}
