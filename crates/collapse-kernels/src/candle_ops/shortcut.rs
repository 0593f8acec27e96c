use super::storage::{
    CandleElement, act, act_tensor, by_type, shape, stored, tensor_act, tensor_values, to_tensor,
};
use crate::Act;
use crate::element::Float;
use crate::norm::{Activation, BatchNorm, Residual, bn_act_forward};
use crate::pooling::{global_avg_pool as pool, global_avg_pool_backward, pool_pad_backward};
use crate::shape::Shape;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Tensor, bail};

/// The parameter-free shortcut of `x` [N, C, H, W]: average pool with kernel = stride (subsampling where a side is not a
/// multiple of it), then zero channels up to `out_channels`.
///
/// # Errors
/// If `out_channels` is less than C or the stride 0.
pub fn avg_pool_shortcut(x: &Tensor, out_channels: usize, stride: usize) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    if stride == 0 || out_channels < c {
        bail!(
            "a shortcut from {c} to {out_channels} channels with stride {stride}: channels must not shrink, the stride is at least 1"
        );
    }
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(Shortcut {
            out_channels,
            stride,
        });
    }
    let divides = h.is_multiple_of(stride) && w.is_multiple_of(stride);
    let window = if divides { stride } else { 1 };
    let pooled = if stride == 1 {
        x.clone()
    } else {
        x.avg_pool2d_with_stride(window, stride)?
    };
    pooled.pad_with_zeros(1, 0, out_channels - c)
}

/// Mean over all pixels: [N, C, H, W] to [N, C].
///
/// # Errors
/// If the map is not square.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if x.device().is_cpu() && h == w {
        x.contiguous()?.apply_op1(GlobalPool)
    } else {
        x.mean((2, 3))
    }
}

struct Shortcut {
    out_channels: usize,
    stride: usize,
}

fn shortcut<T: CandleElement>(
    operation: &Shortcut,
    storage: &CpuStorage,
    layout: &Layout,
) -> Result<(CpuStorage, candle_core::Shape)> {
    let x = act::<T>(storage, layout)?;
    let Shape { h, w, n, .. } = x.shape();
    let (stride, c) = (operation.stride, operation.out_channels);
    let target = Shape {
        h: h.div_ceil(stride),
        w: w.div_ceil(stride),
        n,
        c,
    };
    // The fused kernel on a tensor of zeros, normalised by 0 and 1: what remains is the shortcut.
    let (zeros, ones) = (vec![T::Param::ZERO; c], vec![T::Param::ONE; c]);
    let bn = BatchNorm {
        mean: &zeros,
        variance: &ones,
        eps: T::Param::ZERO,
        weight: &zeros,
        bias: &zeros,
    };
    let residual = Residual::PoolPad { x: &x, stride };
    let out = bn_act_forward(
        &Act::<T>::zeros(target),
        &bn,
        Activation::Identity,
        residual,
    )
    .map_err(Error::wrap)?;
    Ok(stored(&out))
}

fn shortcut_backward<T: CandleElement>(
    stride: usize,
    x: &Tensor,
    g: &Tensor,
) -> Result<Option<Tensor>> {
    let dx = pool_pad_backward(&tensor_act::<T>(g)?, shape(x.shape())?, stride, None)
        .map_err(Error::wrap)?;
    Ok(Some(act_tensor(&dx)?))
}

impl CustomOp1 for Shortcut {
    fn name(&self) -> &'static str {
        "collapse-avg-pool-shortcut"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, candle_core::Shape)> {
        by_type!(storage.dtype(), shortcut(self, storage, layout))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        by_type!(x.dtype(), shortcut_backward(self.stride, x, g))
    }
}

struct GlobalPool;

fn pooled<T: CandleElement>(
    storage: &CpuStorage,
    layout: &Layout,
) -> Result<(CpuStorage, candle_core::Shape)> {
    let x = act::<T>(storage, layout)?;
    let Shape { h, n, c, .. } = x.shape();
    Ok((T::write(pool(&x, h).map_err(Error::wrap)?), (n, c).into()))
}

fn pooled_backward<T: CandleElement>(x: &Tensor, dz: &Tensor) -> Result<Option<Tensor>> {
    let shape = shape(x.shape())?;
    let dx: Act<T> =
        global_avg_pool_backward(&tensor_values::<T>(dz)?, shape, shape.h).map_err(Error::wrap)?;
    Ok(Some(to_tensor::<T>(dx.to_nchw(), x.shape().clone())?))
}

impl CustomOp1 for GlobalPool {
    fn name(&self) -> &'static str {
        "collapse-global-avg-pool"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, candle_core::Shape)> {
        by_type!(storage.dtype(), pooled(storage, layout))
    }

    fn bwd(&self, x: &Tensor, _out: &Tensor, dz: &Tensor) -> Result<Option<Tensor>> {
        by_type!(x.dtype(), pooled_backward(x, dz))
    }
}
