//! Two-dimensional transforms of one tile: L X Lᵀ for `LANES` channels, columns first, rows by [`Linear::apply`].
#![allow(unsafe_code)]

use super::kernel::{Kernel, Param};
use super::points::Linear;

/// Where the N × N pixels of a tile lie.
pub(super) struct Window<const N: usize> {
    /// Elements from the first pixel of the map; 0 where the tile reaches beyond the map, so that every address is valid.
    pub(super) offset: [[usize; N]; N],
    /// All ones on the map, 0 beyond it.
    pub(super) inside: [[u32; N]; N],
}

impl<const N: usize> Window<N> {
    /// The window whose first pixel is (y − margin, x − margin) of a map with `h` × `w` pixels.
    pub(super) fn new(
        (h, w): (usize, usize),
        pixel_len: usize,
        (y, x): (usize, usize),
        margin: usize,
    ) -> Self {
        let mut window = Self {
            offset: [[0; N]; N],
            inside: [[0; N]; N],
        };
        for i in 0..N {
            for j in 0..N {
                let place = (y + i).checked_sub(margin).zip((x + j).checked_sub(margin));
                if let Some((y, x)) = place.filter(|&(y, x)| y < h && x < w) {
                    window.offset[i][j] = (y * w + x) * pixel_len;
                    window.inside[i][j] = !0;
                }
            }
        }
        window
    }
}

/// L times the columns of the tile of pixels at `x`.
///
/// # Safety
/// `LANES` elements exist at every offset of the window from `x`.
#[inline(always)]
pub(super) unsafe fn pixels<K: Kernel, L: Linear<N, R>, const N: usize, const R: usize>(
    kernel: K,
    x: *const K::E,
    window: &Window<N>,
) -> [[K::V; N]; R] {
    let mut half = [[kernel.zero(); N]; R];
    for j in 0..N {
        let mut column = [kernel.zero(); N];
        for i in 0..N {
            // SAFETY: the caller's promise.
            column[i] = unsafe { kernel.load(x.add(window.offset[i][j]), window.inside[i][j]) };
        }
        let column = L::apply(kernel, column);
        for r in 0..R {
            half[r][j] = column[r];
        }
    }
    half
}

/// L times the columns of N × N points, `stride` sums apart.
///
/// # Safety
/// `LANES` sums exist at every point.
#[inline(always)]
pub(super) unsafe fn points<K: Kernel, L: Linear<N, R>, const N: usize, const R: usize>(
    kernel: K,
    m: *const Param<K>,
    stride: usize,
) -> [[K::V; N]; R] {
    let mut half = [[kernel.zero(); N]; R];
    for j in 0..N {
        let mut column = [kernel.zero(); N];
        for i in 0..N {
            // SAFETY: the caller's promise.
            column[i] = unsafe { kernel.load_sums(m.add((i * N + j) * stride)) };
        }
        let column = L::apply(kernel, column);
        for r in 0..R {
            half[r][j] = column[r];
        }
    }
    half
}
