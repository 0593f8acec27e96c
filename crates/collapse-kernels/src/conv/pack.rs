//! Weights in microkernel order.
//!
//! A panel holds 16 columns (channels of the target): `[panel][tap][k / group][16][group]`, k over the channels of the
//! source. Pairs (group 2) are what `vdpbf16ps` multiplies, and 16 of their rows are one AMX tile.

use super::{Conv, geometry::Direction};
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
        let depth = if group == 1 { source } else { source.next_multiple_of(LANES) };
        Self { depth, group, taps: conv.taps(), panels: target.div_ceil(LANES) }
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
    panels.par_chunks_exact_mut(layout.panel_len()).with_min_len(per_task).enumerate().for_each(|(p, panel)| {
        let first = p * LANES;
        let width = LANES.min(columns - first);
        if width < LANES || layout.depth > rows {
            panel.fill(S::zeroed());
        }
        for k in 0..rows {
            let base = k / group * LANES * group + k % group;
            for column in 0..width {
                let (o, i) = match direction {
                    Direction::Forward => (first + column, k),
                    Direction::ToInput => (k, first + column),
                };
                let source = &oihw[(o * conv.in_channels + i) * taps..][..taps];
                let target = base + column * group;
                for (t, &w) in source.iter().enumerate() {
                    panel[t * tap_len + target] = narrow(scale * w);
                }
            }
        }
    });
}
