//! Weights in microkernel order, for both directions in one pass over them.
//!
//! A panel holds 16 columns (channels of the target): `[panel][tap][k / group][16][group]`, k over the channels of the
//! source. Pairs (group 2) are what `vdpbf16ps` multiplies, and 16 of their rows are one AMX tile.

#![allow(unsafe_code)]

use super::Conv;
use super::geometry::{Direction, MAX_TAPS};
use crate::act::LANES;
use crate::element::{Element, Float};
use crate::path::{Level, multiversion};
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
pub(crate) trait Packed: Copy + Sync {
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

impl<P: Float> Packed for Exact<P> {
    type Master = P;
    type Stored = P;
    const GROUP: usize = 1;

    #[inline(always)]
    fn narrow(weight: P) -> P {
        weight
    }
}

impl Packed for Rounded {
    type Master = f32;
    type Stored = f32;
    const GROUP: usize = 1;

    #[inline(always)]
    fn narrow(weight: f32) -> f32 {
        bf16::narrow(weight).widen()
    }
}

#[cfg(target_arch = "x86_64")]
impl Packed for Paired {
    type Master = f32;
    type Stored = bf16;
    const GROUP: usize = 2;

    #[inline(always)]
    fn narrow(weight: f32) -> bf16 {
        bf16::narrow(weight)
    }
}

/// Writes `scale · weight` of every weight into the panels of both directions, zeros elsewhere.
pub(crate) fn pack<K: Packed>(
    kind: K,
    level: Level,
    conv: Conv,
    oihw: &[K::Master],
    scale: K::Master,
    forward: &mut [K::Stored],
    to_input: &mut [K::Stored],
) {
    const WEIGHTS_PER_TASK: usize = 16 * 1024;
    let layouts = Layouts::new::<K>(conv);
    let (forward, to_input) = (SharedMut::new(forward), SharedMut::new(to_input));
    (0..layouts.forward.panels)
        .into_par_iter()
        .with_min_len((WEIGHTS_PER_TASK / layouts.forward.panel_len()).max(1))
        .for_each(|p| {
            let forward = Target::new(&forward, p * layouts.forward.panel_len());
            for q in 0..layouts.to_input.panels {
                let to_input = Target::new(&to_input, q * layouts.to_input.panel_len());
                block(
                    level,
                    kind,
                    conv,
                    &layouts,
                    oihw,
                    scale,
                    (p, q),
                    Some(forward),
                    Some(to_input),
                );
            }
        });
}

/// Writes one panel of one direction, unscaled: as [`pack`] does.
pub(crate) fn pack_panel<K: Packed>(
    kind: K,
    level: Level,
    conv: Conv,
    direction: Direction,
    index: usize,
    oihw: &[K::Master],
    panel: &mut [K::Stored],
) {
    let layouts = Layouts::new::<K>(conv);
    let panel = SharedMut::new(panel);
    let target = Some(Target::new(&panel, 0));
    let one = K::Master::ONE;
    match direction {
        Direction::Forward => (0..layouts.to_input.panels).for_each(|q| {
            block(
                level,
                kind,
                conv,
                &layouts,
                oihw,
                one,
                (index, q),
                target,
                None,
            )
        }),
        Direction::ToInput => (0..layouts.forward.panels).for_each(|p| {
            block(
                level,
                kind,
                conv,
                &layouts,
                oihw,
                one,
                (p, index),
                None,
                target,
            )
        }),
    }
}

/// A panel in memory that tasks share; a task writes the rows of its own output channels, and those of no other.
#[derive(Clone, Copy)]
struct Target<'a, S> {
    memory: &'a SharedMut<'a, S>,
    panel: usize,
}

impl<'a, S: bytemuck::Pod> Target<'a, S> {
    fn new(memory: &'a SharedMut<'a, S>, panel: usize) -> Self {
        Self { memory, panel }
    }

    /// Source × target channels in the order of the panel, `real` source channels of them; rows of padding exist where rows are
    /// multiplied in groups.
    #[inline(always)]
    fn store<K: Packed<Stored = S>>(
        &self,
        start: usize,
        square: &[[K::Master; LANES]; LANES],
        real: usize,
    ) {
        let rows = if K::GROUP == 1 { real } else { LANES };
        // SAFETY: rows of this task, says the type's promise.
        let target = unsafe { self.memory.slice(self.panel + start, rows * LANES) };
        for (rows, target) in square
            .chunks_exact(K::GROUP)
            .zip(target.chunks_exact_mut(LANES * K::GROUP))
        {
            for (j, group) in target.chunks_exact_mut(K::GROUP).enumerate() {
                for (row, value) in rows.iter().zip(group) {
                    *value = K::narrow(row[j]);
                }
            }
        }
    }
}

struct Layouts {
    forward: PanelLayout,
    to_input: PanelLayout,
}

impl Layouts {
    fn new<K: Packed>(conv: Conv) -> Self {
        Self {
            forward: PanelLayout::new(conv, Direction::Forward, K::GROUP),
            to_input: PanelLayout::new(conv, Direction::ToInput, K::GROUP),
        }
    }
}

multiversion! {
    /// All taps of sixteen output channels by sixteen input channels, into the panels that `place` numbers.
    fn block<'a, K: Packed>(
        _kind: K,
        conv: Conv,
        layouts: &Layouts,
        oihw: &[K::Master],
        scale: K::Master,
        place: (usize, usize),
        forward: Option<Target<'a, K::Stored>>,
        to_input: Option<Target<'a, K::Stored>>,
    ) {
        let taps = conv.taps();
        let (first_out, first_in) = (place.0 * LANES, place.1 * LANES);
        let outputs = LANES.min(conv.out_channels - first_out);
        let inputs = LANES.min(conv.in_channels - first_in);

        // Read in one go, with nothing between that would keep the memory waiting.
        let mut rows = [[K::Master::ZERO; LANES * MAX_TAPS]; LANES];
        for (o, row) in rows[..outputs].iter_mut().enumerate() {
            let start = ((first_out + o) * conv.in_channels + first_in) * taps;
            for (value, &weight) in row.iter_mut().zip(&oihw[start..][..inputs * taps]) {
                *value = scale * weight;
            }
        }
        // Input channels and taps of an output channel follow each other in memory: transposed, a row for each.
        let mut columns = [[K::Master::ZERO; LANES]; LANES * MAX_TAPS];
        for first in (0..inputs * taps).step_by(LANES) {
            let mut square = [[K::Master::ZERO; LANES]; LANES];
            for (square, row) in square.iter_mut().zip(&rows) {
                square.copy_from_slice(&row[first..][..LANES]);
            }
            columns[first..][..LANES].copy_from_slice(&transposed(&square));
        }

        for tap in 0..taps {
            let mut square = [[K::Master::ZERO; LANES]; LANES];
            for (i, row) in square.iter_mut().enumerate() {
                *row = columns[i * taps + tap];
            }
            if let Some(panel) = forward {
                let start = tap * layouts.forward.tap_len() + first_in * LANES;
                panel.store::<K>(start, &square, inputs);
            }
            if let Some(panel) = to_input {
                let start = tap * layouts.to_input.tap_len() + first_out * LANES;
                panel.store::<K>(start, &transposed(&square), outputs);
            }
        }
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
