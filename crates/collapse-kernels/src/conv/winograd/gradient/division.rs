//! How the gradient to the weights divides into tasks.

use super::super::blocks::{Blocks, Tiling, padded};
use super::super::kernel::{BLOCK_ROWS, Kernel, Param};
use crate::act::Act;
use crate::conv::Conv;
use crate::shape::LANES;

/// Input channels whose sums a task keeps in its second-level cache.
pub(super) const PART: usize = 64;
/// Sums up to this size are kept several times.
const SEVERAL_BYTES: usize = 3 << 20;
/// Bytes of all sets of sums together, and sets at most.
const SETS_BYTES: usize = 10 << 20;
const MAX_SETS: usize = 16;
/// Sums up to this size stay in the second-level cache.
const SECOND_LEVEL_BYTES: usize = 768 << 10;
/// V and Y that tasks make together: little while the sums stay in a common third-level cache, else as much as fits it, since every
/// stretch reads and writes all sums.
const RESIDENT_BYTES: usize = 16 << 20;
const STRETCH_RESIDENT: usize = 3 << 20;
const STRETCH_STREAMED: usize = 20 << 20;
/// Rows transformed by a task of [`by_channels`].
pub(super) const ROWS_PER_TASK: usize = 16;

/// How the work divides. Depends on shapes alone, because the order of summation does.
pub(super) struct Division {
    pub(super) tiling: Tiling,
    pub(super) blocks: Blocks,
    /// Sets of sums; 0 if there is one that all tasks share.
    pub(super) sets: usize,
    /// Parts of the input channels, groups of the output channels.
    pub(super) parts: usize,
    pub(super) groups: usize,
    pub(super) x_panels: usize,
    pub(super) dy_panels: usize,
    /// Sums of one part and group.
    pub(super) len: usize,
    /// Elements from point to point of V and of Y.
    pub(super) v_point: usize,
    pub(super) y_point: usize,
    pub(super) in_channels: usize,
}

impl Division {
    pub(super) fn new<K: Kernel, const A: usize, const M: usize>(
        conv: Conv,
        dy: &Act<K::E>,
    ) -> Self {
        let (x_panels, dy_panels) = (
            conv.in_channels.div_ceil(LANES),
            conv.out_channels.div_ceil(LANES),
        );
        let tiling = Tiling::new(dy.shape(), M);
        let images = dy.shape().n.next_multiple_of(K::GROUP);
        let (parts, groups) = (conv.in_channels.div_ceil(PART), dy_panels.div_ceil(2));
        let rows_of_part = conv.in_channels.next_multiple_of(BLOCK_ROWS).min(PART);
        let len = A * A * rows_of_part * 2 * LANES;
        let set_bytes = parts * groups * len * size_of::<Param<K>>();
        let row_bytes = A * A * (x_panels + dy_panels) * LANES * size_of::<K::E>();
        let several = set_bytes <= SEVERAL_BYTES;
        let rows = if !several {
            let resident = set_bytes <= RESIDENT_BYTES;
            (if resident {
                STRETCH_RESIDENT
            } else {
                STRETCH_STREAMED
            }) / row_bytes
        } else if set_bytes <= SECOND_LEVEL_BYTES {
            ROWS_PER_TASK
        } else {
            // As much traffic for V and Y as for the sums.
            set_bytes / row_bytes
        };
        let rows = (rows / ROWS_PER_TASK * ROWS_PER_TASK).max(ROWS_PER_TASK);
        let blocks = Blocks::new(images, tiling.count, rows);
        let sets = if several {
            (SETS_BYTES / set_bytes)
                .clamp(1, MAX_SETS)
                .min(blocks.len())
        } else {
            0
        };
        let lines = blocks.rows().next_multiple_of(BLOCK_ROWS * K::GROUP);
        Self {
            tiling,
            blocks,
            sets,
            parts,
            groups,
            x_panels,
            dy_panels,
            len,
            v_point: padded::<K::E>(lines * x_panels * LANES),
            y_point: padded::<K::E>(lines * dy_panels * LANES),
            in_channels: conv.in_channels,
        }
    }

    /// Pairs of a part of the input channels and a group of the output channels, each with sums of its own.
    pub(super) fn jobs(&self) -> usize {
        self.parts * self.groups
    }

    /// Part and group of a job. Jobs of a part follow each other, so that V stays in cache.
    pub(super) fn job(&self, job: usize) -> (usize, usize) {
        (job / self.groups, job % self.groups)
    }

    /// Output channels of a group with their padding.
    pub(super) fn columns(&self, group: usize) -> usize {
        (self.dy_panels - 2 * group).min(2) * LANES
    }

    /// Input channels of a part, in whole blocks of eight.
    pub(super) fn channels(&self, part: usize) -> usize {
        (self.in_channels - part * PART)
            .min(PART)
            .next_multiple_of(BLOCK_ROWS)
    }
}
