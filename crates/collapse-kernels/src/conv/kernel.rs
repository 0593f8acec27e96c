//! What a microkernel promises to the drivers.
#![allow(unsafe_code)]

use super::geometry::Tap;
use crate::element::{Element, Float};
use crate::shape::LANES;

/// What becomes of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Written over the target.
    Write,
    /// Written over the target, whose statistics are taken.
    WriteAndMeasure,
    /// Added to the target.
    Add,
}

/// Rows × (16 or 32) columns of a gathered product:
/// `out[r][j] (+)= Σ_taps Σ_k source[tap.source + r·source_stride + k] · panel[tap.index][k][j]`.
pub(crate) struct Tile<'a, E> {
    pub(crate) source: &'a [E],
    pub(crate) taps: &'a [Tap],
    /// Elements between rows of the source.
    pub(crate) source_stride: usize,
    /// Channels to multiply; the source row holds them rounded up to 16, the surplus zero.
    pub(crate) depth: usize,
    /// The panels from the first column's on.
    pub(crate) panels: &'a [E],
    pub(crate) panel_len: usize,
    /// Elements of a panel for one tap.
    pub(crate) tap_len: usize,
    /// 1 or 2.
    pub(crate) n_panels: usize,
    /// Real columns among the 16 · `n_panels`; the rest is zero, to be written but not multiplied.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX2 and AVX-512 multiply half panels")
    )]
    pub(crate) columns: usize,
    /// First element of the target; rows at distance `out_stride`.
    pub(crate) out: *mut E,
    pub(crate) out_stride: usize,
    pub(crate) rows: usize,
    /// Add to what the target holds instead of writing over it.
    pub(crate) accumulate: bool,
}

/// Sum of outer products over images and pixels:
/// `acc[a][b][i][j] += Σ_segments Σ_d x[a][segment][d][i] · dy[b][segment][d][j]`
/// for `n_x` × `n_dy` panels (1 or 2 each) of 16 channels, in packed form.
pub(crate) struct OuterTile<'a, E, P> {
    pub(crate) x: &'a [E],
    pub(crate) x_panel: usize,
    pub(crate) n_x: usize,
    /// Real channels among the 16 · `n_x`; the rest is zero and need not be multiplied.
    pub(crate) x_channels: usize,
    pub(crate) dy: &'a [E],
    pub(crate) dy_panel: usize,
    pub(crate) n_dy: usize,
    /// The same for the 16 · `n_dy`.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX2 and AVX-512 multiply half panels")
    )]
    pub(crate) dy_channels: usize,
    /// Segments: depth-contiguous in both operands.
    pub(crate) segments: usize,
    /// Images in a segment.
    pub(crate) depth: usize,
    /// Elements from a segment to the next.
    pub(crate) x_step: usize,
    pub(crate) dy_step: usize,
    /// Tiles of 16 × 16; panel `a` begins at `a · acc_panel`, panel `b` of it 256 further on each.
    pub(crate) acc: &'a mut [P],
    pub(crate) acc_panel: usize,
}

/// 16 × 16.
pub(crate) const TILE: usize = LANES * LANES;

/// A row of an activation map, seen by the packing of the weight gradient.
pub(crate) struct RowOfPixels<'a, E> {
    /// The map's row from its first pixel on.
    pub(crate) data: &'a [E],
    pub(crate) pixels: usize,
    /// Elements from pixel to pixel and from image to image.
    pub(crate) pixel_stride: usize,
    pub(crate) image_stride: usize,
    /// The images to take; `depth ≥ images`, the surplus packed as zeros.
    pub(crate) first_image: usize,
    pub(crate) images: usize,
    pub(crate) depth: usize,
    /// The panels to take.
    pub(crate) first_panel: usize,
    pub(crate) panels: usize,
}

impl<'a, E> RowOfPixels<'a, E> {
    /// The 16 channels of `panel` of image `image`.
    #[inline(always)]
    pub(crate) fn lanes(&self, panel: usize, pixel: usize, image: usize) -> &'a [E] {
        let start = pixel * self.pixel_stride
            + (self.first_image + image) * self.image_stride
            + (self.first_panel + panel) * LANES;
        &self.data[start..start + LANES]
    }

    /// Elements of a packed panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.pixels * self.depth * LANES
    }
}

/// Register-level code of one path for one element type. Value types; the drivers are generic over them.
pub(crate) trait Microkernel: Copy + Send + Sync {
    type E: Element;
    /// Thread state held while kernels run (AMX tile configuration).
    type Session;
    /// Source channels multiplied together in packed weights.
    const GROUP: usize;
    /// Packed images come in multiples of this.
    const DEPTH_STEP: usize;
    /// Images (times pixels) per call of `outer`: as many as keep two panels of each side in the first-level cache.
    const OUTER_DEPTH: usize;
    /// Whether `[panel][pixel][depth][16]` is how operands of `outer` are packed, so that a map of one panel serves as it
    /// stands.
    const PLAIN: bool;

    /// Readies the calling thread.
    fn enter(self) -> Self::Session;

    /// # Safety
    /// The calling thread holds a session. Source, panels and target hold every element the tile names, nobody
    /// else accesses the target's rows × columns meanwhile, and the machine has the path's instructions.
    unsafe fn gather(self, tile: &Tile<'_, Self::E>);

    /// Packs a row of the input into `[panel][pixel][depth][16]` or the path's own order of the same size.
    fn pack_input(self, row: &RowOfPixels<'_, Self::E>, packed: &mut [Self::E]);

    /// The same for the output gradient.
    fn pack_gradient(self, row: &RowOfPixels<'_, Self::E>, packed: &mut [Self::E]) {
        self.pack_input(row, packed);
    }

    /// # Safety
    /// The calling thread holds a session, the operands were packed by this kernel and hold every element the
    /// tile names, and the machine has the path's instructions.
    unsafe fn outer(self, tile: OuterTile<'_, Self::E, <Self::E as Element>::Param>);
}

/// `[panel][pixel][depth][16]`, plainly.
#[inline(always)]
pub(crate) fn pack_plain<E: Element>(row: &RowOfPixels<'_, E>, packed: &mut [E]) {
    for panel in 0..row.panels {
        let panel_data = &mut packed[panel * row.panel_len()..][..row.panel_len()];
        for (pixel, segment) in panel_data.chunks_exact_mut(row.depth * LANES).enumerate() {
            let (taken, surplus) = segment.split_at_mut(row.images * LANES);
            for (image, lanes) in taken.chunks_exact_mut(LANES).enumerate() {
                lanes.copy_from_slice(row.lanes(panel, pixel, image));
            }
            surplus.fill(E::zeroed());
        }
    }
}

/// Stores or adds one row of 16 results.
#[inline(always)]
pub(crate) fn finish<E: Element>(target: &mut [E], sums: &[E::Param; LANES], accumulate: bool) {
    if accumulate {
        target
            .iter_mut()
            .zip(sums)
            .for_each(|(t, &s)| *t = E::narrow(t.widen() + s));
    } else {
        target
            .iter_mut()
            .zip(sums)
            .for_each(|(t, &s)| *t = E::narrow(s));
    }
}

#[inline(always)]
pub(crate) fn zero_sums<P: Float, const R: usize>() -> [[P; LANES]; R] {
    [[P::ZERO; LANES]; R]
}
