//! Winograd convolutions, 3×3, in all three directions: 36 products where direct kernels need 144, or 16 for 36; with stride 2, 81 for
//! 144.
//!
//! A pixel's images × channels are contiguous, so a transform is additions of vectors of channels: no shuffle, no copy, and the zero
//! padding is a vector of zeros. Source of the algorithm: Lavin and Gray (CVPR 2016); of the points, [`points`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod forward;
mod gradient;
mod kernel;
mod points;
mod portable;
mod strided;
mod tile;
mod transform;

pub(crate) use kernel::Kernel;

use super::Conv;
use super::geometry::Direction;
use super::kernel::Store;
use super::pack::Sink;
use crate::act::Act;
use crate::element::Element;
use crate::norm::ChannelStatistics;
use kernel::Param;
use points::{F2, F4};
use strided::{Strided, Unstrided};
use transform::{Layout, Transformed, Transforming};

/// Outputs of a tile in each dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// F(2×2, 3×3): 16 products for 36.
    Two,
    /// F(4×4, 3×3): 36 products for 144.
    Four,
    /// 4×4 outputs with stride 2: 81 products for 144.
    Strided,
}

impl Tile {
    /// Pixels of its side.
    pub(crate) fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four | Self::Strided => 4,
        }
    }

    /// Products of a tile.
    pub(crate) fn points(self) -> usize {
        match self {
            Self::Two => 16,
            Self::Four => 36,
            Self::Strided => 81,
        }
    }

    /// Elements of transformed weights.
    pub(crate) fn weight_len<K: Kernel>(self, conv: Conv, direction: Direction) -> usize {
        self.layout::<K>(conv, direction).len()
    }

    fn layout<K: Kernel>(self, conv: Conv, direction: Direction) -> Layout {
        Layout::new(conv, direction, self.points(), K::GROUP)
    }
}

/// Receives master weights and leaves their transforms in `data`.
pub(crate) fn transforming<'a, K: Kernel + 'a>(
    kernel: K,
    tile: Tile,
    conv: Conv,
    direction: Direction,
    data: &'a mut [K::E],
) -> Box<dyn Sink<Param<K>> + 'a> {
    match tile {
        Tile::Two => Box::new(Transforming::<K, F2, 4, 4, 2>::new(
            kernel, conv, direction, data,
        )),
        Tile::Four => Box::new(Transforming::<K, F4, 6, 6, 4>::new(
            kernel, conv, direction, data,
        )),
        // The same filters in both directions.
        Tile::Strided => Box::new(Transforming::<K, Strided, 9, 9, 4>::new(
            kernel, conv, direction, data,
        )),
    }
}

/// Forward product or gradient to the input from transformed weights.
pub(crate) fn multiply<K: Kernel>(
    kernel: K,
    tile: Tile,
    (conv, direction): (Conv, Direction),
    source: &Act<K::E>,
    weights: &[K::E],
    out: &mut Act<K::E>,
    store: Store,
) -> Option<ChannelStatistics<Param<K>>> {
    let weights = Transformed::new(tile.layout::<K>(conv, direction), weights);
    match tile {
        Tile::Two => forward::multiply::<K, F2, 4, 4, 2>(kernel, source, &weights, out, store),
        Tile::Four => forward::multiply::<K, F4, 6, 6, 4>(kernel, source, &weights, out, store),
        Tile::Strided => match direction {
            Direction::Forward => {
                forward::multiply::<K, Strided, 9, 9, 4>(kernel, source, &weights, out, store)
            }
            Direction::ToInput => {
                forward::multiply::<K, Unstrided, 5, 9, 8>(kernel, source, &weights, out, store)
            }
        },
    }
}

/// Gradient to the weights times `scale`, over `dw`.
pub(crate) fn weight_gradient<K: Kernel>(
    kernel: K,
    tile: Tile,
    conv: Conv,
    x: &Act<K::E>,
    dy: &Act<K::E>,
    scale: <K::E as Element>::Param,
    dw: &mut [<K::E as Element>::Param],
) {
    match tile {
        Tile::Two => {
            gradient::weight_gradient::<K, F2, 4, 4, 2>(kernel, conv, x, dy, scale, dw);
        }
        Tile::Four => {
            gradient::weight_gradient::<K, F4, 6, 6, 4>(kernel, conv, x, dy, scale, dw);
        }
        Tile::Strided => {
            gradient::weight_gradient::<K, Strided, 9, 9, 4>(kernel, conv, x, dy, scale, dw);
        }
    }
}
