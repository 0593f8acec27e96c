//! Which pixels and taps meet.

use super::Conv;
use crate::shape::Shape;

/// Whether pixels are gathered for the output or, taps inverted, for the gradient to the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Source is the input, target the output.
    Forward,
    /// Source is the output gradient, target the input gradient.
    ToInput,
}

impl Direction {
    /// Channels of the source and of the target.
    pub(crate) fn channels(self, conv: Conv) -> (usize, usize) {
        match self {
            Self::Forward => (conv.in_channels, conv.out_channels),
            Self::ToInput => (conv.out_channels, conv.in_channels),
        }
    }
}

/// One filter tap of a target pixel: where its source rows begin, and which tap it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tap {
    /// First element of the source pixel.
    pub(crate) source: usize,
    /// `ky * kernel + kx`.
    pub(crate) index: usize,
}

pub(crate) const MAX_TAPS: usize = 9;

/// Maps between a source and a target map.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    pub(crate) conv: Conv,
    pub(crate) direction: Direction,
    pub(crate) source: Shape,
    pub(crate) target: Shape,
}

impl Geometry {
    pub(crate) fn new(conv: Conv, direction: Direction, source: Shape, target: Shape) -> Self {
        Self {
            conv,
            direction,
            source,
            target,
        }
    }

    /// The source coordinate that tap coordinate `k` of target coordinate `t` reads, if it lies on the map.
    #[inline]
    fn source_of(&self, t: usize, k: usize, side: usize) -> Option<usize> {
        let (stride, padding) = (self.conv.stride, self.conv.kernel / 2);
        let s = match self.direction {
            Direction::Forward => (t * stride + k).checked_sub(padding)?,
            Direction::ToInput => {
                let scaled = (t + padding).checked_sub(k)?;
                if scaled % stride != 0 {
                    return None;
                }
                scaled / stride
            }
        };
        (s < side).then_some(s)
    }

    /// Fills `taps` for the target pixel (y, x), in order of their index; returns how many there are.
    pub(crate) fn taps(
        &self,
        y: usize,
        x: usize,
        pixel_len: usize,
        taps: &mut [Tap; MAX_TAPS],
    ) -> usize {
        let k = self.conv.kernel;
        let mut count = 0;
        for ky in 0..k {
            let Some(sy) = self.source_of(y, ky, self.source.h) else {
                continue;
            };
            for kx in 0..k {
                if let Some(sx) = self.source_of(x, kx, self.source.w) {
                    taps[count] = Tap {
                        source: (sy * self.source.w + sx) * pixel_len,
                        index: ky * k + kx,
                    };
                    count += 1;
                }
            }
        }
        count
    }

    /// How many pixels from (·, x) on can be taken as one matrix: the same taps, rows at one distance.
    pub(crate) fn run(&self, x: usize, limit: usize) -> usize {
        let w = self.target.w;
        let run = match (self.conv.stride, self.conv.kernel) {
            (1, 1) => w - x,
            (1, _) if x > 0 && x + 1 < w => w - 1 - x,
            _ => 1,
        };
        run.min(limit)
    }

    /// Output columns for which tap column `kx` lies on an input map `w` wide (forward sense).
    pub(crate) fn valid_columns(
        conv: Conv,
        kx: usize,
        w_in: usize,
        w_out: usize,
    ) -> std::ops::Range<usize> {
        let padding = conv.kernel / 2;
        let first = padding.saturating_sub(kx).div_ceil(conv.stride);
        let end = (w_in + padding)
            .saturating_sub(kx)
            .div_ceil(conv.stride)
            .min(w_out);
        first..end.max(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverted_taps_are_the_forward_taps_read_backwards() {
        for (kernel, stride, h, w) in [
            (3, 1, 5, 4),
            (3, 2, 7, 6),
            (3, 2, 8, 5),
            (1, 2, 7, 6),
            (1, 1, 3, 3),
            (3, 1, 1, 1),
        ] {
            let conv = Conv {
                in_channels: 1,
                out_channels: 1,
                kernel,
                stride,
            };
            let input = Shape { h, w, n: 1, c: 1 };
            let output = conv.output_shape(input);
            let collect = |direction, source: Shape, target: Shape| {
                let geometry = Geometry::new(conv, direction, source, target);
                let mut triples = Vec::new();
                for p in 0..target.pixels() {
                    let mut taps = [Tap::default(); MAX_TAPS];
                    let count = geometry.taps(p / target.w, p % target.w, 1, &mut taps);
                    triples.extend(taps[..count].iter().map(|t| match direction {
                        Direction::Forward => (t.source, p, t.index),
                        Direction::ToInput => (p, t.source, t.index),
                    }));
                }
                triples.sort_unstable();
                triples
            };
            let forward = collect(Direction::Forward, input, output);
            assert_eq!(forward, collect(Direction::ToInput, output, input));
            for kx in 0..kernel {
                let columns = Geometry::valid_columns(conv, kx, w, output.w);
                let expected: Vec<_> = (0..output.w)
                    .filter(|o| {
                        (o * stride + kx)
                            .checked_sub(kernel / 2)
                            .is_some_and(|i| i < w)
                    })
                    .collect();
                assert_eq!(columns.collect::<Vec<_>>(), expected);
            }
        }
    }
}
