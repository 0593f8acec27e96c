//! Which microkernel serves which element type on which path.

use super::geometry::{Direction, Geometry};
use super::kernel::Store;
use super::pack::{Exact, PanelLayout, Rounded, pack};
use super::portable::Portable;
use super::{Conv, gather::gather, outer::weight_gradient};
#[cfg(target_arch = "x86_64")]
use super::{
    amx::{Amx, hardware::Hardware},
    avx2::Avx2,
    avx512::{Avx512, Pairs, Singles},
    pack::Paired,
};
use crate::act::Act;
use crate::element::Element;
use crate::norm::{ChannelStatistics, channel_statistics_on};
use crate::path::{KernelPath, Level};
use crate::pool::Buffer;
use half::bf16;
use std::marker::PhantomData;

/// Convolution of an element type: implemented for the three types of [`Element`], called by the functions of this module.
#[doc(hidden)]
pub trait ConvElement: Sized {
    /// Packed weights.
    type Panels: Send + Sync;

    /// Memory for packed weights.
    fn panels(path: KernelPath, conv: Conv, direction: Direction) -> Self::Panels;

    /// Packs scaled master weights into the panels of both directions.
    fn pack(
        path: KernelPath,
        conv: Conv,
        oihw: &[<Self as Element>::Param],
        scale: <Self as Element>::Param,
        forward: &mut Self::Panels,
        to_input: &mut Self::Panels,
    ) where
        Self: Element;

    /// Forward product or gradient to the input.
    fn multiply(
        path: KernelPath,
        geometry: &Geometry,
        source: &Act<Self>,
        panels: &Self::Panels,
        out: &mut Act<Self>,
        store: Store,
    ) -> Option<ChannelStatistics<<Self as Element>::Param>>
    where
        Self: Element;

    /// Gradient to the weights times `scale`.
    fn weight_gradient(
        path: KernelPath,
        conv: Conv,
        x: &Act<Self>,
        dy: &Act<Self>,
        scale: <Self as Element>::Param,
        dw: &mut [<Self as Element>::Param],
    ) where
        Self: Element;
}

/// Calls `$function` with the microkernel of a real type on a path.
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
                $function(Avx512::<Singles>::new(), $($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx2 => $function(Avx2, $($argument),*),
            _ => $function(Portable::<f32>::new(Level::Base), $($argument),*),
        }
    };
}

macro_rules! real_convolution {
    ($type:ident, $dispatch:ident) => {
        impl ConvElement for $type {
            type Panels = Buffer<$type>;

            fn panels(_path: KernelPath, conv: Conv, direction: Direction) -> Self::Panels {
                Buffer::dirty(PanelLayout::new(conv, direction, 1).len())
            }

            fn pack(
                path: KernelPath,
                conv: Conv,
                oihw: &[$type],
                scale: $type,
                forward: &mut Self::Panels,
                to_input: &mut Self::Panels,
            ) {
                pack(
                    Exact(PhantomData),
                    path.level(),
                    conv,
                    oihw,
                    scale,
                    forward,
                    to_input,
                );
            }

            fn multiply(
                path: KernelPath,
                geometry: &Geometry,
                source: &Act<$type>,
                panels: &Self::Panels,
                out: &mut Act<$type>,
                store: Store,
            ) -> Option<ChannelStatistics<$type>> {
                $dispatch!(
                    path,
                    gather(path.level(), geometry, source, panels, out, store)
                )
            }

            fn weight_gradient(
                path: KernelPath,
                conv: Conv,
                x: &Act<$type>,
                dy: &Act<$type>,
                scale: $type,
                dw: &mut [$type],
            ) {
                $dispatch!(path, weight_gradient(conv, x, dy, scale, dw));
            }
        }
    };
}
real_convolution!(f32, on_f32);
real_convolution!(f64, on_f64);

/// bf16 weights: as pairs where the machine multiplies pairs, else rounded to bf16 but stored and multiplied as f32.
pub enum Bf16Panels {
    /// f32.
    Wide(Buffer<f32>),
    /// Pairs along the source channels.
    #[cfg(target_arch = "x86_64")]
    Pairs(Buffer<bf16>),
}

impl ConvElement for bf16 {
    type Panels = Bf16Panels;

    fn panels(path: KernelPath, conv: Conv, direction: Direction) -> Bf16Panels {
        match path {
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx512Bf16 | KernelPath::AmxBf16 => {
                Bf16Panels::Pairs(Buffer::dirty(PanelLayout::new(conv, direction, 2).len()))
            }
            _ => Bf16Panels::Wide(f32::panels(path, conv, direction)),
        }
    }

    fn pack(
        path: KernelPath,
        conv: Conv,
        oihw: &[f32],
        scale: f32,
        forward: &mut Bf16Panels,
        to_input: &mut Bf16Panels,
    ) {
        let level = path.level();
        match (forward, to_input) {
            (Bf16Panels::Wide(forward), Bf16Panels::Wide(to_input)) => {
                pack(Rounded, level, conv, oihw, scale, forward, to_input);
            }
            #[cfg(target_arch = "x86_64")]
            (Bf16Panels::Pairs(forward), Bf16Panels::Pairs(to_input)) => {
                pack(Paired, level, conv, oihw, scale, forward, to_input);
            }
            #[cfg(target_arch = "x86_64")]
            _ => unreachable!("both directions are packed for one path"),
        }
    }

    fn multiply(
        path: KernelPath,
        geometry: &Geometry,
        source: &Act<bf16>,
        panels: &Bf16Panels,
        out: &mut Act<bf16>,
        store: Store,
    ) -> Option<ChannelStatistics<f32>> {
        match panels {
            #[cfg(target_arch = "x86_64")]
            Bf16Panels::Pairs(panels) => {
                let level = path.level();
                if path == KernelPath::AmxBf16 {
                    let kernel = Amx::<Hardware>::for_channels(source.shape().c);
                    gather(kernel, level, geometry, source, panels, out, store)
                } else {
                    gather(
                        Avx512::<Pairs>::new(),
                        level,
                        geometry,
                        source,
                        panels,
                        out,
                        store,
                    )
                }
            }
            Bf16Panels::Wide(panels) => {
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
                    panels,
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
        conv: Conv,
        x: &Act<bf16>,
        dy: &Act<bf16>,
        scale: f32,
        dw: &mut [f32],
    ) {
        match path {
            #[cfg(target_arch = "x86_64")]
            KernelPath::AmxBf16 => {
                weight_gradient(Amx::<Hardware>::for_images(), conv, x, dy, scale, dw)
            }
            #[cfg(target_arch = "x86_64")]
            KernelPath::Avx512Bf16 => {
                weight_gradient(Avx512::<Pairs>::new(), conv, x, dy, scale, dw)
            }
            _ => f32::weight_gradient(path, conv, &x.convert(), &dy.convert(), scale, dw),
        }
    }
}
