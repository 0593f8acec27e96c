//! Weights in microkernel order, for both directions in one pass over them.
//!
//! A panel holds 16 columns (channels of the target): `[panel][tap][k / group][16][group]`, k over the channels of the
//! source. Pairs (group 2) are what `vdpbf16ps` multiplies, and 16 of their rows are one AMX tile.

#![allow(unsafe_code)]

use super::Conv;
use super::geometry::{Direction, MAX_TAPS};
use crate::element::{Element, Float};
use crate::path::{Level, multiversion};
use crate::shape::LANES;
use crate::shared::SharedMut;
use half::bf16;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Extent of packed weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelLayout {
    /// Source channels with their padding.
    pub(crate) depth: usize,
    pub(crate) taps: usize,
    pub(crate) panels: usize,
}

impl PanelLayout {
    pub(crate) fn new(conv: Conv, direction: Direction, group: usize) -> Self {
        let (source, target) = direction.channels(conv);
        let depth = if group == 1 {
            source
        } else {
            source.next_multiple_of(LANES)
        };
        Self {
            depth,
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

/// What becomes of a master weight in a panel.
pub(crate) trait Packing: Copy + Sync {
    type Master: Float;
    type Stored: bytemuck::Pod + Send + Sync;
    /// Source channels multiplied together.
    const GROUP: usize;

    fn narrow(weight: Self::Master) -> Self::Stored;
}

/// Kept as it is.
#[derive(Clone, Copy)]
pub(crate) struct Exact<P>(pub(crate) PhantomData<P>);

/// Rounded to bf16, stored as f32.
#[derive(Clone, Copy)]
pub(crate) struct Rounded;

/// Rounded to bf16, in pairs.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Paired;

impl<P: Float> Packing for Exact<P> {
    type Master = P;
    type Stored = P;
    const GROUP: usize = 1;

    #[inline(always)]
    fn narrow(weight: P) -> P {
        weight
    }
}

impl Packing for Rounded {
    type Master = f32;
    type Stored = f32;
    const GROUP: usize = 1;

    #[inline(always)]
    fn narrow(weight: f32) -> f32 {
        bf16::narrow(weight).widen()
    }
}

#[cfg(target_arch = "x86_64")]
impl Packing for Paired {
    type Master = f32;
    type Stored = bf16;
    const GROUP: usize = 2;

    #[inline(always)]
    fn narrow(weight: f32) -> bf16 {
        bf16::narrow(weight)
    }
}

/// All taps of sixteen source by sixteen target channels, `[tap][source][target]`; zeros where there is no such channel or tap.
pub(crate) struct Squares<P> {
    pub(crate) taps: [[[P; LANES]; LANES]; MAX_TAPS],
    /// Real source channels among the sixteen.
    pub(crate) sources: usize,
}

impl<P: Float> Squares<P> {
    fn new() -> Self {
        Self {
            taps: [[[P::ZERO; LANES]; LANES]; MAX_TAPS],
            sources: 0,
        }
    }
}

/// What receives the weights of one direction, sixteen by sixteen channels at a time, from several threads: each pair of panels once.
pub(crate) trait Sink<P>: Sync {
    /// Takes the squares of a source and a target panel.
    fn take(&self, source: usize, target: usize, squares: &Squares<P>);
}

/// Hands `scale · weight` of every weight to the sinks of both directions.
pub(crate) fn pack<P: Float>(
    level: Level,
    conv: Conv,
    oihw: &[P],
    scale: P,
    forward: &dyn Sink<P>,
    to_input: &dyn Sink<P>,
) {
    const WEIGHTS_PER_TASK: usize = 16 * 1024;
    let (out_panels, in_panels) = (
        conv.out_channels.div_ceil(LANES),
        conv.in_channels.div_ceil(LANES),
    );
    let panel_len = conv.taps() * conv.in_channels * LANES;
    (0..out_panels)
        .into_par_iter()
        .with_min_len((WEIGHTS_PER_TASK / panel_len).max(1))
        .for_each(|p| {
            let (mut squares, mut turned) = (Squares::new(), Squares::new());
            for q in 0..in_panels {
                read(level, conv, oihw, scale, (p, q), &mut squares);
                forward.take(q, p, &squares);
                transpose(level, conv, p, &squares, &mut turned);
                to_input.take(p, q, &turned);
            }
        });
}

/// Writes one panel of one direction, unscaled: as [`pack`] does.
pub(crate) fn pack_panel<P: Float>(
    level: Level,
    conv: Conv,
    direction: Direction,
    index: usize,
    oihw: &[P],
    panel: &mut [P],
) {
    let sink = Panels::new(Exact(PhantomData), level, conv, direction, panel);
    let (mut squares, mut turned) = (Squares::new(), Squares::new());
    match direction {
        Direction::Forward => (0..conv.in_channels.div_ceil(LANES)).for_each(|q| {
            read(level, conv, oihw, P::ONE, (index, q), &mut squares);
            sink.take(q, 0, &squares);
        }),
        Direction::ToInput => (0..conv.out_channels.div_ceil(LANES)).for_each(|p| {
            read(level, conv, oihw, P::ONE, (p, index), &mut squares);
            transpose(level, conv, p, &squares, &mut turned);
            sink.take(p, 0, &turned);
        }),
    }
}

/// The panels of the direct kernels.
pub(crate) struct Panels<'a, K: Packing> {
    kind: K,
    level: Level,
    layout: PanelLayout,
    memory: SharedMut<'a, K::Stored>,
}

impl<'a, K: Packing> Panels<'a, K> {
    pub(crate) fn new(
        kind: K,
        level: Level,
        conv: Conv,
        direction: Direction,
        memory: &'a mut [K::Stored],
    ) -> Self {
        Self {
            kind,
            level,
            layout: PanelLayout::new(conv, direction, K::GROUP),
            memory: SharedMut::new(memory),
        }
    }
}

impl<K: Packing> Sink<K::Master> for Panels<'_, K> {
    fn take(&self, source: usize, target: usize, squares: &Squares<K::Master>) {
        // Rows of padding exist where rows are multiplied in groups.
        let rows = if K::GROUP == 1 {
            squares.sources
        } else {
            LANES
        };
        for (tap, square) in squares.taps.iter().take(self.layout.taps).enumerate() {
            let start = target * self.layout.panel_len()
                + tap * self.layout.tap_len()
                + source * LANES * LANES;
            // SAFETY: the rows of these channels, which come once.
            let rows = unsafe { self.memory.slice(start, rows * LANES) };
            store(self.level, self.kind, square, rows);
        }
    }
}

multiversion! {
    /// Source × target channels in the order of the panel.
    fn store<'a, K: Packing>(_kind: K, square: &[[K::Master; LANES]; LANES], panel: &'a mut [K::Stored]) {
        for (rows, panel) in square.chunks_exact(K::GROUP).zip(panel.chunks_exact_mut(LANES * K::GROUP)) {
            for (j, group) in panel.chunks_exact_mut(K::GROUP).enumerate() {
                for (row, value) in rows.iter().zip(group) {
                    *value = K::narrow(row[j]);
                }
            }
        }
    }
}

multiversion! {
    /// The weights of sixteen output channels by sixteen input channels, as the forward pass sees them.
    fn read<'a, P: Float>(
        conv: Conv,
        oihw: &'a [P],
        scale: P,
        place: (usize, usize),
        squares: &mut Squares<P>,
    ) {
        let taps = conv.taps();
        let (first_out, first_in) = (place.0 * LANES, place.1 * LANES);
        let outputs = LANES.min(conv.out_channels - first_out);
        let inputs = LANES.min(conv.in_channels - first_in);

        // Read in one go, with nothing between that would keep the memory waiting.
        let mut rows = [[P::ZERO; LANES * MAX_TAPS]; LANES];
        for (o, row) in rows[..outputs].iter_mut().enumerate() {
            let start = ((first_out + o) * conv.in_channels + first_in) * taps;
            for (value, &weight) in row.iter_mut().zip(&oihw[start..][..inputs * taps]) {
                *value = scale * weight;
            }
        }
        // Input channels and taps of an output channel follow each other in memory: transposed, a row for each.
        let mut columns = [[P::ZERO; LANES]; LANES * MAX_TAPS];
        for first in (0..inputs * taps).step_by(LANES) {
            let mut square = [[P::ZERO; LANES]; LANES];
            for (square, row) in square.iter_mut().zip(&rows) {
                square.copy_from_slice(&row[first..][..LANES]);
            }
            columns[first..][..LANES].copy_from_slice(&transposed(&square));
        }
        for (tap, square) in squares.taps[..taps].iter_mut().enumerate() {
            for (i, row) in square.iter_mut().enumerate() {
                *row = columns[i * taps + tap];
            }
        }
        squares.sources = inputs;
    }
}

multiversion! {
    /// As the gradient to the input sees the weights of an output panel.
    fn transpose<'a, P: Float>(conv: Conv, panel: usize, squares: &'a Squares<P>, turned: &mut Squares<P>) {
        for (to, from) in turned.taps[..conv.taps()].iter_mut().zip(&squares.taps) {
            *to = transposed(from);
        }
        turned.sources = LANES.min(conv.out_channels - panel * LANES);
    }
}

/// Four perfect shuffles of the 256 values: each rotates (row, lane), as a number of eight bits, by one bit.
#[inline(always)]
fn transposed<P: Float>(square: &[[P; LANES]; LANES]) -> [[P; LANES]; LANES] {
    let (mut a, mut b) = ([[P::ZERO; LANES]; LANES], [[P::ZERO; LANES]; LANES]);
    shuffle(square, &mut a);
    shuffle(&a, &mut b);
    shuffle(&b, &mut a);
    shuffle(&a, &mut b);
    b
}

/// Interleaves the first eight rows with the last eight. Written lane by lane, in place, because that becomes shuffles of
/// whole vectors.
#[inline(always)]
fn shuffle<P: Copy>(from: &[[P; LANES]; LANES], to: &mut [[P; LANES]; LANES]) {
    const HALF: usize = LANES / 2;
    for i in 0..HALF {
        let (even, odd) = (&from[i], &from[i + HALF]);
        for j in 0..HALF {
            to[2 * i][2 * j] = even[j];
            to[2 * i][2 * j + 1] = odd[j];
        }
        for j in 0..HALF {
            to[2 * i + 1][2 * j] = even[HALF + j];
            to[2 * i + 1][2 * j + 1] = odd[HALF + j];
        }
    }
}
