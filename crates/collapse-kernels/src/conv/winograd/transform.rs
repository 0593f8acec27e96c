//! The weights' transforms U = G g Gᵀ, as the products read them.
#![allow(unsafe_code)]

use super::kernel::{Kernel, Work};
use super::points::{Algorithm, Linear};
use crate::conv::Conv;
use crate::conv::geometry::Direction;
use crate::conv::pack::{Sink, Squares};
use crate::element::Element;
use crate::shape::LANES;
use crate::shared::SharedMut;
use std::marker::PhantomData;

/// Elements between points: a line of a cache in f32.
const GAP: usize = LANES;

/// Extent of transformed weights: `[target channels / 32][point][words of source channels][32 or 16 columns]`, the last group
/// narrow if an odd panel of sixteen is left. A gap follows each point, so that what is written to all points in turn does not fall into
/// the same few sets of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    words: usize,
    panels: usize,
    points: usize,
    group: usize,
}

impl Layout {
    /// For products of `group` elements at each of `points` points.
    pub(crate) fn new(conv: Conv, direction: Direction, points: usize, group: usize) -> Self {
        let (source, target) = direction.channels(conv);
        Self {
            words: source.div_ceil(group),
            panels: target.div_ceil(LANES),
            points,
            group,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.point(self.groups() - 1, self.points)
    }

    /// Groups of target channels.
    fn groups(&self) -> usize {
        self.panels.div_ceil(2)
    }

    fn columns(&self, group: usize) -> usize {
        (self.panels - 2 * group).min(2) * LANES
    }

    /// Elements from a point of a group to the next.
    fn step(&self, group: usize) -> usize {
        self.words * self.group * self.columns(group) + GAP
    }

    /// First element of a point of a group.
    fn point(&self, group: usize, point: usize) -> usize {
        // All groups but the last have as many columns as the first.
        group * self.points * self.step(0) + point * self.step(group)
    }
}

/// Transformed weights of one direction.
#[derive(Clone, Copy)]
pub(super) struct Transformed<'a, E> {
    layout: Layout,
    data: &'a [E],
    /// Words of source channels.
    pub(super) words: usize,
}

impl<'a, E> Transformed<'a, E> {
    pub(super) fn new(layout: Layout, data: &'a [E]) -> Self {
        assert!(
            data.len() >= layout.len(),
            "transformed weights are shorter than their layout"
        );
        Self {
            layout,
            data,
            words: layout.words,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.layout.len() * size_of::<E>()
    }

    /// Groups of target channels.
    pub(super) fn groups(&self) -> usize {
        self.layout.groups()
    }

    /// Target channels of a group with their padding: 16 or 32.
    pub(super) fn columns(&self, group: usize) -> usize {
        self.layout.columns(group)
    }

    /// The words of a point of a group.
    pub(super) fn point(&self, group: usize, point: usize) -> &'a [E] {
        let len = self.layout.words * self.layout.group * self.layout.columns(group);
        &self.data[self.layout.point(group, point)..][..len]
    }
}

/// Receives the master weights of one direction.
pub(crate) struct Transforming<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    kernel: K,
    layout: Layout,
    /// Turned by 180°.
    turned: bool,
    data: SharedMut<'a, K::E>,
    algorithm: PhantomData<T>,
}

impl<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize>
    Transforming<'a, K, T, I, A, M>
{
    pub(super) fn new(kernel: K, conv: Conv, direction: Direction, data: &'a mut [K::E]) -> Self {
        Self {
            kernel,
            layout: Layout::new(conv, direction, A * A, K::GROUP),
            turned: direction == Direction::ToInput,
            data: SharedMut::new(data),
            algorithm: PhantomData,
        }
    }
}

impl<K, T, const I: usize, const A: usize, const M: usize> Sink<<K::E as Element>::Param>
    for Transforming<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    fn take(&self, source: usize, target: usize, squares: &Squares<<K::E as Element>::Param>) {
        self.kernel.run(OneSquare {
            transforming: self,
            source,
            target,
            squares,
        });
    }
}

/// All taps of sixteen source by sixteen target channels.
struct OneSquare<'a, K: Kernel, T, const I: usize, const A: usize, const M: usize> {
    transforming: &'a Transforming<'a, K, T, I, A, M>,
    source: usize,
    target: usize,
    squares: &'a Squares<<K::E as Element>::Param>,
}

impl<K, T, const I: usize, const A: usize, const M: usize> Work<K> for OneSquare<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    #[inline(always)]
    fn run(self, kernel: K) {
        let Transforming {
            layout, ref data, ..
        } = *self.transforming;
        let (group, panel) = (self.target / 2, self.target % 2);
        let columns = layout.columns(group);
        let step = layout.step(group);
        for channel in (0..self.squares.sources).step_by(K::GROUP) {
            let word = (self.source * LANES + channel) / K::GROUP;
            for strip in (0..LANES).step_by(K::LANES) {
                let first = self.columns(kernel, channel, strip);
                let second = if K::GROUP == 2 {
                    self.columns(kernel, channel + 1, strip)
                } else {
                    first
                };
                let place = (word * columns + panel * LANES + strip) * K::GROUP;
                for i in 0..A {
                    let first = T::Filter::apply(kernel, first[i]);
                    let second = T::Filter::apply(kernel, second[i]);
                    for j in 0..A {
                        let at = layout.point(group, 0) + (i * A + j) * step + place;
                        // SAFETY: words of a point of the layout; each task has its own panels.
                        unsafe { kernel.put_words(data.pointer(at), [first[j], second[j]]) };
                    }
                }
            }
        }
    }
}

impl<K, T, const I: usize, const A: usize, const M: usize> OneSquare<'_, K, T, I, A, M>
where
    K: Kernel,
    T: Algorithm<I, A, M>,
{
    /// G times the filters of a source channel and some target channels.
    #[inline(always)]
    fn columns(&self, kernel: K, channel: usize, strip: usize) -> [[K::V; 3]; A] {
        let mut half = [[kernel.zero(); 3]; A];
        for j in 0..3 {
            let mut column = [kernel.zero(); 3];
            for i in 0..3 {
                let tap = if self.transforming.turned {
                    8 - (i * 3 + j)
                } else {
                    i * 3 + j
                };
                let lanes = &self.squares.taps[tap][channel][strip..][..K::LANES];
                // SAFETY: `LANES` values.
                column[i] = unsafe { kernel.load_sums(lanes.as_ptr()) };
            }
            let column = T::Filter::apply(kernel, column);
            for i in 0..A {
                half[i][j] = column[i];
            }
        }
        half
    }
}
