//! bf16 microkernel on AMX tiles.
//!
//! Four accumulator tiles make a block of 32 × 32; a step multiplies two operand tiles of 16 rows with two of 16 columns. The
//! panels of packed pairs are tiles as they stand. The kernel is written against [`Tiles`]: the hardware
//! ([`hardware`]) or a model of it in plain Rust ([`model`]), so that loops, strides and packing are tested on any machine.
#![allow(unsafe_code)]

pub(crate) mod hardware;
#[cfg(test)]
mod model;

use super::avx512::pack_pairs;
use super::kernel::{Microkernel, OuterTile, RowOfPixels, TILE, Tile};
use crate::path::Level;
use crate::shape::LANES;
use half::bf16;
use std::marker::PhantomData;

/// Elements of a full operand tile.
const OPERAND: usize = 16 * 32;

/// The strip a call of [`Tiles::multiply`] walks: `steps` operand tiles on each side.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    /// First left tiles: upper and lower half of the block.
    pub(crate) left: [*const bf16; 2],
    /// Bytes between rows of a left tile.
    pub(crate) left_stride: usize,
    /// Bytes from a left tile to the next.
    pub(crate) left_step: usize,
    /// First right tiles: left and right half of the block; rows 64 bytes apart.
    pub(crate) right: [*const bf16; 2],
    /// Bytes from a right tile to the next.
    pub(crate) right_step: usize,
    pub(crate) steps: usize,
}

/// Four f32 accumulators of 16 × 16, `[upper][left], [upper][right], [lower][left], [lower][right]`, and what can be done with
/// them. `R` and `C` (1 or 2) say how many halves of rows and columns take part.
pub(crate) trait Tiles: Sized {
    /// Instructions beside the tiles.
    const LEVEL: Level;

    /// Accumulators, all zero.
    ///
    /// # Safety
    /// The thread's tiles are configured, and no other value of this type is in use on it.
    unsafe fn zeroed() -> Self;

    /// Adds the products of a strip.
    ///
    /// # Safety
    /// The operand tiles named by the strip are readable; as [`Tiles::zeroed`].
    unsafe fn multiply<const R: usize, const C: usize>(&mut self, strip: Strip);

    /// Loads accumulators from 16 × 16 f32 each.
    ///
    /// # Safety
    /// `from[..R][..C]` are readable; as [`Tiles::zeroed`].
    unsafe fn load<const R: usize, const C: usize>(&mut self, from: [[*const f32; 2]; 2]);

    /// Stores accumulators as 16 × 16 f32 each.
    ///
    /// # Safety
    /// `to[..R][..C]` are writable; as [`Tiles::zeroed`].
    unsafe fn store<const R: usize, const C: usize>(&self, to: [[*mut f32; 2]; 2]);

    /// Rounds 16 × 16 sums and writes them, or adds them, to rows `stride` elements apart.
    ///
    /// # Safety
    /// The target is ours; the machine has the instructions of the path.
    unsafe fn write_back(sums: &[f32; TILE], target: *mut bf16, stride: usize, accumulate: bool);

    /// Writes one left operand tile of a weight gradient: `tile[channel][image]` of the 16 channels of up to 32 images.
    fn transpose<'a>(images: impl ExactSizeIterator<Item = &'a [bf16]>, tile: &mut [bf16]);

    /// Tile configuration of a thread, undone when dropped.
    type Session;

    /// Configures the calling thread for left tiles of 16 × `depth` and right tiles of `depth` × 16; `depth` is 16 or 32.
    fn configure(depth: usize) -> Self::Session;
}

pub(crate) struct Amx<U> {
    /// Channels or images multiplied by one tile product.
    depth: usize,
    unit: PhantomData<fn() -> U>,
}

impl<U> Amx<U> {
    /// For gathered products over `channels` source channels. Only for paths whose instructions were detected.
    pub(crate) fn for_channels(channels: usize) -> Self {
        let whole = channels.next_multiple_of(LANES).is_multiple_of(32);
        Self {
            depth: if whole { 32 } else { 16 },
            unit: PhantomData,
        }
    }

    /// For weight gradients. Only for paths whose instructions were detected.
    pub(crate) fn for_images() -> Self {
        Self {
            depth: 32,
            unit: PhantomData,
        }
    }
}

impl<U> Clone for Amx<U> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U> Copy for Amx<U> {}

#[repr(C, align(64))]
struct Block([[[f32; TILE]; 2]; 2]);

impl<U: Tiles> Microkernel for Amx<U> {
    type E = bf16;
    type Session = U::Session;
    const GROUP: usize = 2;
    const DEPTH_STEP: usize = 32;
    // Accumulators cost a load and a store each call; operand tiles stream well.
    const OUTER_DEPTH: usize = usize::MAX;
    const PLAIN: bool = false;

    fn enter(self) -> U::Session {
        U::configure(self.depth)
    }

    unsafe fn gather(self, tile: &Tile<'_, bf16>) {
        let mut row = 0;
        // SAFETY: rows come in multiples of sixteen because batches do; the rest is the caller's promise.
        unsafe {
            while row < tile.rows {
                match (tile.rows - row >= 32, tile.n_panels == 2) {
                    (true, true) => gather_block::<U, 2, 2>(tile, row, self.depth),
                    (true, false) => gather_block::<U, 2, 1>(tile, row, self.depth),
                    (false, true) => gather_block::<U, 1, 2>(tile, row, self.depth),
                    (false, false) => gather_block::<U, 1, 1>(tile, row, self.depth),
                }
                row += 32;
            }
        }
    }

    fn pack_input(self, row: &RowOfPixels<'_, bf16>, packed: &mut [bf16]) {
        for panel in 0..row.panels {
            let panel_data = &mut packed[panel * row.panel_len()..][..row.panel_len()];
            for (pixel, segment) in panel_data.chunks_exact_mut(row.depth * LANES).enumerate() {
                for (chunk, tile) in segment.chunks_exact_mut(OPERAND).enumerate() {
                    let first = (chunk * 32).min(row.images);
                    U::transpose(
                        (first..row.images.min(first + 32))
                            .map(|image| row.lanes(panel, pixel, image)),
                        tile,
                    );
                }
            }
        }
    }

    fn pack_gradient(self, row: &RowOfPixels<'_, bf16>, packed: &mut [bf16]) {
        pack_pairs(U::LEVEL, row, packed);
    }

    unsafe fn outer(self, tile: OuterTile<'_, bf16, f32>) {
        // SAFETY: the caller's promise.
        unsafe {
            match (tile.n_x, tile.n_dy) {
                (2, 2) => outer_block::<U, 2, 2>(tile),
                (2, _) => outer_block::<U, 2, 1>(tile),
                (_, 2) => outer_block::<U, 1, 2>(tile),
                _ => outer_block::<U, 1, 1>(tile),
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::gather`]; 16 · R rows from `row` on and C panels belong to the tile.
#[inline(always)]
unsafe fn gather_block<U: Tiles, const R: usize, const C: usize>(
    tile: &Tile<'_, bf16>,
    row: usize,
    depth: usize,
) {
    // SAFETY: a source row holds its channels rounded up to sixteen, which `depth` divides; panels are packed that deep.
    unsafe {
        let mut unit = U::zeroed();
        for tap in tile.taps {
            let left = tile
                .source
                .as_ptr()
                .add(tap.source + row * tile.source_stride);
            let right = tile.panels.as_ptr().add(tap.index * tile.tap_len);
            unit.multiply::<R, C>(Strip {
                left: [left, left.wrapping_add(16 * tile.source_stride)],
                left_stride: tile.source_stride * 2,
                left_step: depth * 2,
                right: [right, right.wrapping_add(tile.panel_len)],
                right_step: depth * LANES * 2,
                steps: tile.depth.next_multiple_of(LANES) / depth,
            });
        }
        let mut block = std::mem::MaybeUninit::<Block>::uninit();
        let first = block.as_mut_ptr().cast::<f32>();
        let part = |r: usize, c: usize| first.add((r * 2 + c) * TILE);
        unit.store::<R, C>([[part(0, 0), part(0, 1)], [part(1, 0), part(1, 1)]]);
        for r in 0..R {
            for c in 0..C {
                let sums: &[f32; TILE] = &*part(r, c).cast();
                let out = tile.out.add((row + 16 * r) * tile.out_stride + c * LANES);
                U::write_back(sums, out, tile.out_stride, tile.accumulate);
            }
        }
    }
}

/// # Safety
/// As [`Microkernel::outer`]; R is `n_x`, C is `n_dy`.
#[inline(always)]
unsafe fn outer_block<U: Tiles, const R: usize, const C: usize>(tile: OuterTile<'_, bf16, f32>) {
    let acc = tile.acc.as_mut_ptr();
    let part = |r: usize, c: usize| acc.wrapping_add(r * tile.acc_panel + c * TILE);
    let parts = [[part(0, 0), part(0, 1)], [part(1, 0), part(1, 1)]];
    // SAFETY: a segment is depth / 32 operand tiles in both packings; accumulators are whole tiles.
    unsafe {
        let mut unit = U::zeroed();
        unit.load::<R, C>(parts.map(|row| row.map(|p| p.cast_const())));
        for segment in 0..tile.segments {
            let left = tile.x.as_ptr().add(segment * tile.x_step);
            let right = tile.dy.as_ptr().add(segment * tile.dy_step);
            unit.multiply::<R, C>(Strip {
                left: [left, left.wrapping_add(tile.x_panel)],
                left_stride: 64,
                left_step: OPERAND * 2,
                right: [right, right.wrapping_add(tile.dy_panel)],
                right_step: OPERAND * 2,
                steps: tile.depth / 32,
            });
        }
        unit.store::<R, C>(parts);
    }
}

#[cfg(test)]
mod tests {
    use super::hardware::Hardware;
    use super::model::Model;
    use super::*;
    use crate::act::Act;
    use crate::conv::Conv;
    use crate::conv::gather::gather;
    use crate::conv::geometry::{Direction, Geometry};
    use crate::conv::kernel::Store;
    use crate::conv::outer::weight_gradient;
    use crate::conv::pack::{Exact, Packing, Paired, PanelLayout, Panels, pack};
    use crate::conv::portable::Portable;
    use crate::element::Element;
    use crate::path::KernelPath;
    use crate::shape::Shape;
    use bytemuck::Zeroable;
    use std::marker::PhantomData;

    fn values(len: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bf16::narrow((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0).widen()
        };
        (0..len).map(next).collect()
    }

    /// Panels of both directions.
    fn panels<K: Packing>(
        kind: K,
        conv: Conv,
        oihw: &[K::Master],
        scale: K::Master,
    ) -> [Vec<K::Stored>; 2] {
        let (to, back) = (Direction::Forward, Direction::ToInput);
        let [mut forward, mut to_input] = [to, back].map(|direction| {
            let len = PanelLayout::new(conv, direction, K::GROUP).len();
            vec![K::Stored::zeroed(); len]
        });
        pack(
            Level::Base,
            conv,
            oihw,
            scale,
            &Panels::new(kind, Level::Base, conv, to, &mut forward),
            &Panels::new(kind, Level::Base, conv, back, &mut to_input),
        );
        [forward, to_input]
    }

    fn assert_close(what: &str, found: &[f32], expected: &[f32], unit: f32) {
        let largest = expected.iter().fold(1f32, |m, v| m.max(v.abs()));
        for (k, (f, e)) in found.iter().zip(expected).enumerate() {
            assert!(
                (f - e).abs() <= unit * largest,
                "{what}[{k}]: {f} against {e}"
            );
        }
    }

    /// The tile kernel on `U` against the portable f32 kernel on the same bf16 values.
    fn check<U: Tiles>(conv: Conv, input: Shape) {
        let output = conv.output_shape(input);
        let (x, dy) = (values(input.len(), 1), values(output.len(), 2));
        let oihw = values(conv.weight_len(), 3);
        let (xb, dyb) = (
            Act::<bf16>::from_hwnc(input, &x).unwrap(),
            Act::<bf16>::from_hwnc(output, &dy).unwrap(),
        );
        let (xf, dyf) = (xb.convert::<f32>(), dyb.convert::<f32>());
        let [forward, to_input] = panels(Paired, conv, &oihw, 1.0);
        let [wide_forward, wide_to_input] = panels(Exact(PhantomData), conv, &oihw, 2.0f32);
        for (direction, source, wide, target, channels, panels, wide_panels) in [
            (
                Direction::Forward,
                &xb,
                &xf,
                output,
                conv.in_channels,
                &forward,
                &wide_forward,
            ),
            (
                Direction::ToInput,
                &dyb,
                &dyf,
                input,
                conv.out_channels,
                &to_input,
                &wide_to_input,
            ),
        ] {
            let geometry = Geometry::new(conv, direction, source.shape(), target);
            let mut found = Act::<bf16>::dirty(target);
            gather(
                Amx::<U>::for_channels(channels),
                U::LEVEL,
                &geometry,
                source,
                panels,
                &mut found,
                Store::WriteAndMeasure,
            );
            gather(
                Amx::<U>::for_channels(channels),
                U::LEVEL,
                &geometry,
                source,
                panels,
                &mut found,
                Store::Add,
            );
            let mut expected = Act::<f32>::dirty(target);
            gather(
                Portable::<f32>::new(Level::Base),
                Level::Base,
                &geometry,
                wide,
                wide_panels,
                &mut expected,
                Store::Write,
            );
            assert_close("product", &found.to_hwnc(), &expected.to_hwnc(), 1.0 / 64.0);
        }
        let (mut found, mut expected) =
            (vec![0.0; conv.weight_len()], vec![0.0; conv.weight_len()]);
        weight_gradient(Amx::<U>::for_images(), conv, &xb, &dyb, 1.0, &mut found);
        weight_gradient(
            Portable::<f32>::new(Level::Base),
            conv,
            &xf,
            &dyf,
            1.0,
            &mut expected,
        );
        assert_close("weight gradient", &found, &expected, 1e-5);
    }

    fn check_shapes<U: Tiles>() {
        for (i, o, kernel, stride, h, n) in [
            (3, 16, 3, 1, 4, 5),
            (16, 40, 3, 1, 5, 16),
            (32, 48, 3, 2, 5, 33),
            (64, 96, 1, 2, 4, 48),
            (48, 32, 1, 1, 3, 70),
            (17, 33, 3, 1, 1, 1),
        ] {
            check::<U>(
                Conv::new(i, o, kernel, stride).unwrap(),
                Shape {
                    h,
                    w: h + 1,
                    n,
                    c: i,
                },
            );
        }
    }

    #[test]
    fn the_tile_kernel_is_right_on_the_model_of_the_tiles() {
        check_shapes::<Model>();
    }

    #[test]
    fn the_tile_kernel_is_right_on_the_hardware() {
        if KernelPath::AmxBf16.is_available() {
            check_shapes::<Hardware>();
        } else {
            println!("skipped: this machine has no AMX");
        }
    }

    #[test]
    fn the_vector_transpose_is_the_plain_one() {
        if !KernelPath::Avx512Bf16.is_available() {
            println!("skipped: this machine has no AVX512-BF16");
            return;
        }
        let source: Vec<bf16> = values(OPERAND, 9).into_iter().map(bf16::narrow).collect();
        for images in [0, 1, 15, 32] {
            let (mut found, mut expected) = ([bf16::ONE; OPERAND], [bf16::ONE; OPERAND]);
            let rows = || source.chunks_exact(LANES).take(images);
            Hardware::transpose(rows(), &mut found);
            Model::transpose(rows(), &mut expected);
            assert_eq!(found, expected);
        }
        let sums: [f32; TILE] = std::array::from_fn(|k| source[k].widen() * 1.01);
        for accumulate in [false, true] {
            let (mut found, mut expected) = ([bf16::ONE; 20 * 16], [bf16::ONE; 20 * 16]);
            // SAFETY: 16 rows 20 elements apart fit; the instructions were detected above.
            unsafe {
                Hardware::write_back(&sums, found.as_mut_ptr(), 20, accumulate);
                Model::write_back(&sums, expected.as_mut_ptr(), 20, accumulate);
            }
            assert_eq!(found, expected);
        }
    }
}
