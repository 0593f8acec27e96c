//! Weights in microkernel order.
//!
//! A panel holds 16 columns (channels of the target): `[panel][tap][k / group][16][group]`, k over the channels of the
//! source. Pairs (group 2) are what `vdpbf16ps` multiplies, and 16 of their rows are one AMX tile.

use super::Conv;
use super::geometry::{Direction, MAX_TAPS};
use super::kernel::TILE;
use crate::act::LANES;
use crate::element::Float;
use rayon::prelude::*;

/// Extent of packed weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelLayout {
    /// Source channels with their padding.
    pub(crate) depth: usize,
    /// Source channels multiplied together: 1 or 2.
    pub(crate) group: usize,
    pub(crate) taps: usize,
    pub(crate) panels: usize,
}

impl PanelLayout {
    pub(crate) fn new(conv: Conv, direction: Direction, group: usize) -> Self {
        let (source, target) = match direction {
            Direction::Forward => (conv.in_channels, conv.out_channels),
            Direction::ToInput => (conv.out_channels, conv.in_channels),
        };
        let depth = if group == 1 {
            source
        } else {
            source.next_multiple_of(LANES)
        };
        Self {
            depth,
            group,
            taps: conv.taps(),
            panels: target.div_ceil(LANES),
        }
    }

    pub(crate) fn tap_len(&self) -> usize {
        self.depth * LANES
    }

    pub(crate) fn panel_len(&self) -> usize {
        self.taps * self.tap_len()
    }

    pub(crate) fn len(&self) -> usize {
        self.panels * self.panel_len()
    }
}

/// Writes `narrow(scale * weight)` for every weight, zeros elsewhere.
pub(crate) fn pack<P: Float, S: bytemuck::Pod + Send>(
    conv: Conv,
    direction: Direction,
    layout: PanelLayout,
    oihw: &[P],
    panels: &mut [S],
    narrow: impl Fn(P) -> S + Sync,
    scale: P,
) {
    let (rows, columns) = match direction {
        Direction::Forward => (conv.in_channels, conv.out_channels),
        Direction::ToInput => (conv.out_channels, conv.in_channels),
    };
    let (taps, group, tap_len) = (layout.taps, layout.group, layout.tap_len());
    let per_task = (16 * 1024 / layout.panel_len()).max(1);
    panels
        .par_chunks_exact_mut(layout.panel_len())
        .with_min_len(per_task)
        .enumerate()
        .for_each(|(p, panel)| {
            let first = p * LANES;
            let width = LANES.min(columns - first);
            if layout.depth > rows {
                panel.fill(S::zeroed());
            }
            // Sixteen source channels at a time through a block that stays in cache: taps of a panel lie whole pages apart.
            let mut block = [S::zeroed(); MAX_TAPS * TILE];
            for first_row in (0..rows).step_by(LANES) {
                let height = LANES.min(rows - first_row);
                // Weights run through memory along k forward, along the columns backward.
                let (outer, inner) = match direction {
                    Direction::Forward => (width, height),
                    Direction::ToInput => (height, width),
                };
                for a in 0..outer {
                    let start = match direction {
                        Direction::Forward => (first + a) * conv.in_channels + first_row,
                        Direction::ToInput => (first_row + a) * conv.in_channels + first,
                    };
                    let run = &oihw[start * taps..][..inner * taps];
                    let target = |b: usize| {
                        let (k, column) = if direction == Direction::Forward {
                            (b, a)
                        } else {
                            (a, b)
                        };
                        k / group * LANES * group + column * group + k % group
                    };
                    match taps {
                        9 => spread::<P, S, 9>(run, &mut block, target, |w| narrow(scale * w)),
                        _ => spread::<P, S, 1>(run, &mut block, target, |w| narrow(scale * w)),
                    }
                }
                let len = height.next_multiple_of(group) * LANES;
                for t in 0..taps {
                    panel[t * tap_len + first_row * LANES..][..len]
                        .copy_from_slice(&block[t * TILE..][..len]);
                }
                block = [S::zeroed(); MAX_TAPS * TILE];
            }
        });
}

/// Writes the `T` taps of every weight of a run into their tiles.
#[inline(always)]
fn spread<P: Float, S, const T: usize>(
    run: &[P],
    block: &mut [S; MAX_TAPS * TILE],
    target: impl Fn(usize) -> usize,
    narrow: impl Fn(P) -> S,
) {
    for (b, weights) in run.as_chunks::<T>().0.iter().enumerate() {
        let at = target(b);
        for t in 0..T {
            block[t * TILE + at] = narrow(weights[t]);
        }
    }
}
