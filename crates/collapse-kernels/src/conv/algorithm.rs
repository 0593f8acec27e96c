//! Direct or Winograd: which algorithm a convolution takes, chosen by rules, overridable, recorded.

use super::Conv;
use super::winograd::Tile;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::threads::forcing;
use std::cell::Cell;
use std::str::FromStr;
use std::sync::OnceLock;

/// Environment variable that overrides the choice of algorithms.
pub const CONVOLUTION_VARIABLE: &str = "COLLAPSE_CONVOLUTION";

/// How convolutions of 3×3 are computed; 1×1 are always direct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConvolutionAlgorithm {
    /// Sums of products, tap by tap.
    Direct,
    /// Winograd's algorithms where they pay, else direct. The default.
    ///
    /// - f32 (and bf16 where it is computed as f32): F(4×4) in all directions.
    /// - bf16 in pairs: F(2×2) forward, whose rounding error every later layer sees; F(4×4) in both directions back.
    /// - bf16 on AMX: direct. The transforms run on AVX-512 and cost as much there as everywhere, while AMX multiplies eight to sixteen
    ///   times as fast: what Winograd would save of the products is less than what its transforms take.
    /// - f64: direct, since it is there to check the others.
    ///
    /// Stride 2 goes by phases with the tiles of F(4×4), and is direct where F(2×2) is preferred.
    ///
    /// It pays where input and output have at least 16 channels and the tiles need at most seven tenths of the products of the direct
    /// kernel, which skips the zero padding: maps of 4×4, of 6×6 and more (F(2×2): but for 7×7); with stride 2 maps of 8×8, 15×15,
    /// 16×16, and most from 23×23 on. The gradient to the weights with stride 2 is direct where its sums outgrow the caches (from about
    /// 100,000 filters in f32, 200,000 in bf16).
    #[default]
    Winograd,
    /// F(2×2) in all directions, whether it pays or not; stride 2 direct.
    Winograd2,
    /// F(4×4) in all directions, whether it pays or not.
    Winograd4,
}

/// Which tiles a type and path prefer for the forward pass and for the two backward ones.
#[derive(Debug, Clone, Copy)]
pub struct Preference {
    pub(crate) forward: Tile,
    pub(crate) backward: Tile,
}

impl ConvolutionAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Direct,
        Self::Winograd,
        Self::Winograd2,
        Self::Winograd4,
    ];
    /// Channels below which transforms of mostly padding cost more than products save.
    const MIN_CHANNELS: usize = 16;

    /// Name used in the environment variable and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Winograd => "winograd",
            Self::Winograd2 => "winograd-2x2",
            Self::Winograd4 => "winograd-4x4",
        }
    }

    /// The tiles of the forward pass and of the backward ones, or nothing for the direct kernels, on an input map of `h` × `w`.
    pub(crate) fn tiles(
        self,
        conv: Conv,
        (h, w): (usize, usize),
        preference: Option<Preference>,
    ) -> [Option<Tile>; 2] {
        if conv.kernel != 3 {
            return [None; 2];
        }
        let strided = |tile: Tile| match (conv.stride, tile) {
            (1, tile) => Some(tile),
            (_, Tile::Two) => None,
            _ => Some(Tile::Strided),
        };
        match self {
            Self::Direct => [None; 2],
            Self::Winograd2 => [strided(Tile::Two); 2],
            Self::Winograd4 => [strided(Tile::Four); 2],
            Self::Winograd => {
                let Some(Preference { forward, backward }) = preference else {
                    return [None; 2];
                };
                let channels = conv.in_channels.min(conv.out_channels);
                [forward, backward].map(|tile| {
                    strided(tile).filter(|&tile| {
                        channels >= Self::MIN_CHANNELS && saves_products(tile, conv.stride, h, w)
                    })
                })
            }
        }
    }
}

/// Tiles for the gradient to the weights. Measured: with stride 2 the direct kernel is faster once the products of all filters, in the
/// size of the operands, take more than 32 MiB.
pub(crate) fn for_weights(
    algorithm: ConvolutionAlgorithm,
    conv: Conv,
    map: (usize, usize),
    preference: Option<Preference>,
    element_bytes: usize,
) -> Option<Tile> {
    const OUTGROWN: usize = 32 << 20;
    let [_, tile] = algorithm.tiles(conv, map, preference);
    tile.filter(|&tile| {
        let sums = tile.points() * conv.in_channels * conv.out_channels * element_bytes;
        tile != Tile::Strided || algorithm != ConvolutionAlgorithm::Winograd || sums <= OUTGROWN
    })
}

/// Whether tiles need at most seven tenths of the products of the taps that lie on a map of h × w.
fn saves_products(tile: Tile, stride: usize, h: usize, w: usize) -> bool {
    let tiles = |side: usize| side.div_ceil(stride).div_ceil(tile.side());
    // The first output has no tap before the map, the last one none behind it unless the stride steps over the last line.
    let taps = |side: usize| {
        let beyond = usize::from(stride == 1 || side % 2 == 1);
        (3 * side.div_ceil(stride)).saturating_sub(1 + beyond)
    };
    10 * tiles(h) * tiles(w) * tile.points() <= 7 * taps(h) * taps(w)
}

/// Height and width of a map.
pub(crate) fn map(shape: Shape) -> (usize, usize) {
    (shape.h, shape.w)
}

impl std::fmt::Display for ConvolutionAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ConvolutionAlgorithm {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|a| a.name() == name)
            .ok_or_else(|| Error::UnknownAlgorithm {
                name: name.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

thread_local! {
    /// The algorithm of [`with_convolution`].
    pub(crate) static FORCED: Cell<Option<ConvolutionAlgorithm>> = const { Cell::new(None) };
}

/// The algorithm in force for weights packed and gradients computed on this thread: the one of [`with_convolution`] if inside it, else the
/// one named by `COLLAPSE_CONVOLUTION`, else [`ConvolutionAlgorithm::Winograd`]. Chosen once per process.
///
/// # Errors
/// If the variable names none.
pub fn convolution_algorithm() -> Result<ConvolutionAlgorithm> {
    static CHOSEN: OnceLock<Result<ConvolutionAlgorithm>> = OnceLock::new();
    if let Some(algorithm) = FORCED.get() {
        return Ok(algorithm);
    }
    CHOSEN
        .get_or_init(|| match std::env::var(CONVOLUTION_VARIABLE) {
            Ok(name) if !name.is_empty() => name.parse(),
            _ => Ok(ConvolutionAlgorithm::default()),
        })
        .clone()
}

/// Runs `work` with `algorithm` in force for what it packs and computes on this thread. Weights keep the algorithm they were packed
/// for.
pub fn with_convolution<R>(algorithm: ConvolutionAlgorithm, work: impl FnOnce() -> R) -> R {
    forcing(&FORCED, Some(algorithm), work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_taken_where_they_save_enough_products() {
        let four = |side| saves_products(Tile::Four, 1, side, side);
        let taken: Vec<usize> = (1..12).filter(|&side| four(side)).collect();
        assert_eq!(taken, [4, 6, 7, 8, 9, 10, 11]);
        let two = |side| saves_products(Tile::Two, 1, side, side);
        let taken: Vec<usize> = (1..12).filter(|&side| two(side)).collect();
        assert_eq!(taken, [4, 6, 8, 9, 10, 11]);
        let strided = |side| saves_products(Tile::Strided, 2, side, side);
        let taken: Vec<usize> = (1..20).filter(|&side| strided(side)).collect();
        assert_eq!(taken, [8, 15, 16]);
    }

    #[test]
    fn names_are_read_back_and_unknown_ones_refused() {
        for algorithm in ConvolutionAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        let message = "fft"
            .parse::<ConvolutionAlgorithm>()
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"fft\"") && message.contains("winograd-2x2"));
    }
}
