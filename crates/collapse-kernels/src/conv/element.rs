//! Which kernel serves which element type on which path.

use super::algorithm::Preference;
use super::geometry::{Direction, Geometry};
use super::kernel::{Microkernel, Store};
use super::pack::{Exact, Packing, PanelLayout, Panels, Rounded, Sink, pack};
use super::portable::Portable;
use super::winograd::{self, Kernel, Tile};
use super::{Conv, gather::gather, outer};
#[cfg(target_arch = "x86_64")]
use super::{
    amx::{Amx, hardware::Hardware},
    avx2::Avx2,
    avx512::{Avx512, Pairs, Singles},
    pack::Paired,
};
use crate::act::Act;
use crate::element::{Element, Float};
use crate::norm::{ChannelStatistics, channel_statistics_on};
use crate::path::{KernelPath, Level};
use crate::pool::Buffer;
use bytemuck::Pod;
use half::bf16;
use std::marker::PhantomData;

/// An [`Element`] that convolutions have kernels for: all three are. Its methods are for the functions of this crate.
pub trait Convolve: Element {
    /// Packed weights of one direction.
    #[doc(hidden)]
    type Packed: Send + Sync;

    /// The tiles of Winograd's algorithm that suit the type on a path, if any.
    #[doc(hidden)]
    fn preference(path: KernelPath) -> Option<Preference>;

    /// Memory for packed weights, for the direct kernels or for tiles.
    #[doc(hidden)]
    fn memory(
        path: KernelPath,
        conv: Conv,
        direction: Direction,
        tile: Option<Tile>,
    ) -> Self::Packed;

    /// Packs scaled master weights for both directions.
    #[doc(hidden)]
    fn pack(
        path: KernelPath,
        conv: Conv,
        oihw: &[Self::Param],
        scale: Self::Param,
        forward: &mut Self::Packed,
        to_input: &mut Self::Packed,
    );

    /// Forward product or gradient to the input.
    #[doc(hidden)]
    fn multiply(
        path: KernelPath,
        geometry: &Geometry,
        source: &Act<Self>,
        weights: &Self::Packed,
        out: &mut Act<Self>,
        store: Store,
    ) -> Option<ChannelStatistics<Self::Param>>;

    /// Gradient to the weights times `scale`.
    #[doc(hidden)]
    fn weight_gradient(
        path: KernelPath,
        tile: Option<Tile>,
        conv: Conv,
        x: &Act<Self>,
        dy: &Act<Self>,
        scale: Self::Param,
        dw: &mut [Self::Param],
    );
}

/// The type of parameters, which is convolved in its own precision: `f32` and `f64`.
pub trait ConvolveParam: Float + Convolve<Packed = Packed<Self>> {}

impl<P: Float + Convolve<Packed = Packed<P>>> ConvolveParam for P {}

/// What a network's activations are made of: all three types of [`Element`], with every kernel for them and for their
/// parameters.
pub trait NetworkElement: Convolve<Param: ConvolveParam> {}

impl<T: Convolve<Param: ConvolveParam>> NetworkElement for T {}

/// Packed weights of one direction: panels for the direct kernels, or their transforms.
#[doc(hidden)]
pub struct Packed<S: Pod> {
    tile: Option<Tile>,
    data: Buffer<S>,
}

impl<S: Pod> Packed<S> {
    /// Panels for the direct kernels.
    pub(super) fn direct(data: Buffer<S>) -> Self {
        Self { tile: None, data }
    }
}

/// A path's kernels for an element type, direct and Winograd.
trait Kernels<E: Element>: Microkernel<E = E> + Kernel<E = E> {}

impl<E: Element, K: Microkernel<E = E> + Kernel<E = E>> Kernels<E> for K {}

/// Memory for weights that `K` multiplies.
fn memory<E: Element, K: Kernels<E>>(
    _: K,
    conv: Conv,
    direction: Direction,
    tile: Option<Tile>,
) -> Packed<E> {
    let len = match tile {
        None => PanelLayout::new(conv, direction, <K as Microkernel>::GROUP).len(),
        Some(tile) => tile.weight_len::<K>(conv, direction),
    };
    Packed {
        tile,
        data: Buffer::dirty(len),
    }
}

/// Packs scaled master weights as `kernel` reads them; those for the direct kernels as `D` says.
fn pack_for<E: Element, K: Kernels<E>, D: Packing<Master = E::Param, Stored = E>>(
    kernel: K,
    kind: D,
    level: Level,
    conv: Conv,
    oihw: &[E::Param],
    scale: E::Param,
    [forward, to_input]: [&mut Packed<E>; 2],
) {
    fn sink<'a, E: Element, K: Kernels<E> + 'a, D: Packing<Master = E::Param, Stored = E> + 'a>(
        (kernel, kind): (K, D),
        level: Level,
        conv: Conv,
        direction: Direction,
        packed: &'a mut Packed<E>,
    ) -> Box<dyn Sink<E::Param> + 'a> {
        match packed.tile {
            None => Box::new(Panels::new(kind, level, conv, direction, &mut packed.data)),
            Some(tile) => winograd::transforming(kernel, tile, conv, direction, &mut packed.data),
        }
    }
    let forward = sink::<E, K, D>((kernel, kind), level, conv, Direction::Forward, forward);
    let to_input = sink::<E, K, D>((kernel, kind), level, conv, Direction::ToInput, to_input);
    pack(level, conv, oihw, scale, &*forward, &*to_input);
}

fn multiply<E: Element, K: Kernels<E>>(
    kernel: K,
    level: Level,
    geometry: &Geometry,
    source: &Act<E>,
    weights: &Packed<E>,
    out: &mut Act<E>,
    store: Store,
) -> Option<ChannelStatistics<E::Param>> {
    match weights.tile.filter(|_| !geometry.target.is_empty()) {
        None => gather(kernel, level, geometry, source, &weights.data, out, store),
        Some(tile) => {
            let side = (geometry.conv, geometry.direction);
            winograd::multiply(kernel, tile, side, source, &weights.data, out, store)
        }
    }
}

fn weight_gradient<E: Element, K: Kernels<E>>(
    kernel: K,
    tile: Option<Tile>,
    conv: Conv,
    x: &Act<E>,
    dy: &Act<E>,
    scale: E::Param,
    dw: &mut [E::Param],
) {
    match tile {
        None => outer::weight_gradient(kernel, conv, x, dy, scale, dw),
        Some(tile) => winograd::weight_gradient(kernel, tile, conv, x, dy, scale, dw),
    }
}

/// Calls `$function` with the kernels of a real type on a path.
macro_rules! on_f64 {
    ($path:expr, $function:ident ( $($argument:expr),* )) => {
        $function(Portable::<f64>::new($path.level()), $($argument),*)
    };
}

macro_rules! on_f32 {
    ($path:expr, $function:ident ( $($argument:expr),* )) => {
        match $path {
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx512 | KernelPath::Avx512Bf16 | KernelPath::AmxBf16 => {
                $function(Avx512::<Singles>::on($path), $($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx2 => $function(Avx2::on($path), $($argument),*),
            _ => $function(Portable::<f32>::new(Level::Base), $($argument),*),
        }
    };
}

macro_rules! real_convolution {
    ($type:ident, $dispatch:ident, $preference:expr) => {
        impl Convolve for $type {
            type Packed = Packed<$type>;

            fn preference(_path: KernelPath) -> Option<Preference> {
                $preference
            }

            fn memory(
                path: KernelPath,
                conv: Conv,
                direction: Direction,
                tile: Option<Tile>,
            ) -> Self::Packed {
                $dispatch!(path, memory(conv, direction, tile))
            }

            fn pack(
                path: KernelPath,
                conv: Conv,
                oihw: &[$type],
                scale: $type,
                forward: &mut Self::Packed,
                to_input: &mut Self::Packed,
            ) {
                let exact = Exact(PhantomData);
                let both = [forward, to_input];
                $dispatch!(path, pack_for(exact, path.level(), conv, oihw, scale, both));
            }

            fn multiply(
                path: KernelPath,
                geometry: &Geometry,
                source: &Act<$type>,
                weights: &Self::Packed,
                out: &mut Act<$type>,
                store: Store,
            ) -> Option<ChannelStatistics<$type>> {
                $dispatch!(
                    path,
                    multiply(path.level(), geometry, source, weights, out, store)
                )
            }

            fn weight_gradient(
                path: KernelPath,
                tile: Option<Tile>,
                conv: Conv,
                x: &Act<$type>,
                dy: &Act<$type>,
                scale: $type,
                dw: &mut [$type],
            ) {
                $dispatch!(path, weight_gradient(tile, conv, x, dy, scale, dw));
            }
        }
    };
}

/// F(4×4) in all directions: with its points it errs little more than the direct kernel.
const FOUR: Preference = Preference {
    forward: Tile::Four,
    backward: Tile::Four,
};

real_convolution!(f32, on_f32, Some(FOUR));
// There to check the others.
real_convolution!(f64, on_f64, None);

/// bf16 weights: in pairs where the machine multiplies pairs, else as f32 (those of the direct kernels rounded to bf16).
pub enum Bf16Packed {
    /// f32.
    Wide(Packed<f32>),
    /// Pairs along the source channels.
    #[cfg(target_arch = "x86_64")]
    Pairs(Packed<bf16>),
}

impl Convolve for bf16 {
    type Packed = Bf16Packed;

    fn preference(path: KernelPath) -> Option<Preference> {
        match path {
            #[cfg(target_arch = "x86_64")]
            KernelPath::AmxBf16 => None,
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx512Bf16 => Some(Preference {
                forward: Tile::Two,
                backward: Tile::Four,
            }),
            _ => Some(FOUR),
        }
    }

    fn memory(
        path: KernelPath,
        conv: Conv,
        direction: Direction,
        tile: Option<Tile>,
    ) -> Bf16Packed {
        match path {
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx512Bf16 | KernelPath::AmxBf16 => {
                Bf16Packed::Pairs(memory(Avx512::<Pairs>::on(path), conv, direction, tile))
            }
            _ => Bf16Packed::Wide(f32::memory(path, conv, direction, tile)),
        }
    }

    fn pack(
        path: KernelPath,
        conv: Conv,
        oihw: &[f32],
        scale: f32,
        forward: &mut Bf16Packed,
        to_input: &mut Bf16Packed,
    ) {
        let level = path.level();
        match (forward, to_input) {
            (Bf16Packed::Wide(forward), Bf16Packed::Wide(to_input)) => {
                let both = [forward, to_input];
                on_f32!(path, pack_for(Rounded, level, conv, oihw, scale, both));
            }
            #[cfg(target_arch = "x86_64")]
            (Bf16Packed::Pairs(forward), Bf16Packed::Pairs(to_input)) => {
                let (kernel, both) = (Avx512::<Pairs>::on(path), [forward, to_input]);
                pack_for(kernel, Paired, level, conv, oihw, scale, both);
            }
            #[cfg(target_arch = "x86_64")]
            _ => unreachable!("both directions are packed for one path"),
        }
    }

    fn multiply(
        path: KernelPath,
        geometry: &Geometry,
        source: &Act<bf16>,
        weights: &Bf16Packed,
        out: &mut Act<bf16>,
        store: Store,
    ) -> Option<ChannelStatistics<f32>> {
        match weights {
            #[cfg(target_arch = "x86_64")]
            Bf16Packed::Pairs(weights) => {
                let level = path.level();
                if path == KernelPath::AmxBf16 && weights.tile.is_none() {
                    let kernel = Amx::<Hardware>::for_channels(source.shape().c);
                    gather(kernel, level, geometry, source, &weights.data, out, store)
                } else {
                    let kernel = Avx512::<Pairs>::on(path);
                    multiply(kernel, level, geometry, source, weights, out, store)
                }
            }
            Bf16Packed::Wide(weights) => {
                let mut wide = if store == Store::Add {
                    out.convert::<f32>()
                } else {
                    Act::dirty(out.shape())
                };
                let wide_store = if store == Store::Add {
                    Store::Add
                } else {
                    Store::Write
                };
                f32::multiply(
                    path,
                    geometry,
                    &source.convert(),
                    weights,
                    &mut wide,
                    wide_store,
                );
                *out = wide.convert();
                (store == Store::WriteAndMeasure).then(|| channel_statistics_on(path.level(), out))
            }
        }
    }

    fn weight_gradient(
        path: KernelPath,
        tile: Option<Tile>,
        conv: Conv,
        x: &Act<bf16>,
        dy: &Act<bf16>,
        scale: f32,
        dw: &mut [f32],
    ) {
        match path {
            #[cfg(target_arch = "x86_64")]
            KernelPath::AmxBf16 if tile.is_none() => {
                outer::weight_gradient(Amx::<Hardware>::for_images(), conv, x, dy, scale, dw)
            }
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx512Bf16 | KernelPath::AmxBf16 => {
                weight_gradient(Avx512::<Pairs>::on(path), tile, conv, x, dy, scale, dw)
            }
            _ => f32::weight_gradient(path, tile, conv, &x.convert(), &dy.convert(), scale, dw),
        }
    }
}
