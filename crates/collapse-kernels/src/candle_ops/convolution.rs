use super::storage::{
    CandleElement, act, act_tensor, by_type, same_type, stored, tensor_act, tensor_values,
    to_tensor, values,
};
use crate::conv::{Conv, ConvWeights, conv_backward_data, conv_backward_weights, conv_forward};
use crate::element::Float;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Tensor, bail};

/// Convolution of `x` [N, C, H, W] with `weight` [out, C, k, k], k 1 or 3, stride 1 or 2, padded by k/2, without bias.
///
/// # Errors
/// If the shapes or element types do not fit each other or the kernels.
pub fn conv2d(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    let (out_channels, in_channels, kernel, width) = weight.dims4()?;
    if kernel != width {
        bail!("a {kernel}×{width} filter is not supported: filters are square, 1×1 or 3×3");
    }
    let conv = Conv::new(in_channels, out_channels, kernel, stride).map_err(Error::wrap)?;
    if !x.device().is_cpu() {
        return x.conv2d(weight, kernel / 2, stride, 1, 1);
    }
    same_type(&[x, weight])?;
    x.contiguous()?
        .apply_op2(&weight.contiguous()?, Convolution(conv))
}

struct Convolution(Conv);

fn forward<T: CandleElement>(
    conv: Conv,
    x: (&CpuStorage, &Layout),
    w: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let x = act::<T>(x.0, x.1)?;
    let map = (x.shape().h, x.shape().w);
    let weights = ConvWeights::<T>::pack(conv, map, &values::<T>(w.0, w.1)?, T::Param::ONE)
        .map_err(Error::wrap)?;
    let (y, _) = conv_forward(&x, &weights, false).map_err(Error::wrap)?;
    Ok(stored(&y))
}

fn backward<T: CandleElement>(
    conv: Conv,
    x: &Tensor,
    w: &Tensor,
    dy: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (xa, dy) = (tensor_act::<T>(x)?, tensor_act::<T>(dy)?);
    let dx = if x.track_op() {
        let input = xa.shape();
        let map = (input.h, input.w);
        let weights = ConvWeights::<T>::pack(conv, map, &tensor_values::<T>(w)?, T::Param::ONE)
            .map_err(Error::wrap)?;
        Some(act_tensor(
            &conv_backward_data(&dy, &weights, input, None).map_err(Error::wrap)?,
        )?)
    } else {
        None
    };
    let dw = if w.track_op() {
        let mut dw = vec![T::Param::ZERO; conv.weight_len()];
        conv_backward_weights(&xa, &dy, conv, T::Param::ONE, &mut dw).map_err(Error::wrap)?;
        Some(to_tensor::<T>(dw, w.shape().clone())?)
    } else {
        None
    };
    Ok((dx, dw))
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "collapse-conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!(x.dtype(), forward(self.0, (x, lx), (w, lw)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        by_type!(x.dtype(), backward(self.0, x, w, dy))
    }
}
