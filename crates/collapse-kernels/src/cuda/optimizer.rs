//! A step of SGD.

use candle_core::{CudaStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::launch::{
    device_of, launch, on_cuda_alone, over_elements, size, storage, uninitialised, view,
};
use crate::Sgd;

/// Weights and momentum after a step, of any one shape; PyTorch's SGD, as [`sgd_step`](crate::sgd_step).
///
/// # Errors
/// When a tensor is not of f32 on a CUDA device, the shapes differ, or the device fails.
pub fn sgd_step(
    weight: &Tensor,
    momentum: &Tensor,
    gradient: &Tensor,
    rule: Sgd<f32>,
) -> Result<(Tensor, Tensor)> {
    let both = weight.detach().contiguous()?.apply_op3_no_bwd(
        &momentum.contiguous()?,
        &gradient.contiguous()?,
        &SgdOp { rule },
    )?;
    let row = |i| both.narrow(0, i, 1)?.reshape(weight.shape());
    Ok((row(0)?, row(1)?))
}

struct SgdOp {
    rule: Sgd<f32>,
}

impl CustomOp3 for SgdOp {
    on_cuda_alone!(CustomOp3, "sgd_step");

    fn cuda_fwd(
        &self,
        weight: &CudaStorage,
        weight_layout: &Layout,
        momentum: &CudaStorage,
        momentum_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let shapes = [weight_layout, momentum_layout, gradient_layout].map(Layout::shape);
        if shapes[0] != shapes[1] || shapes[0] != shapes[2] {
            candle_core::bail!("a step with tensors of shapes {shapes:?}");
        }
        let device = device_of(weight);
        let total = weight_layout.shape().elem_count();
        let mut out = uninitialised(device, 2 * total)?;
        let rule = &self.rule;
        launch!(
            device,
            "sgd_step",
            over_elements(total),
            &view(weight, weight_layout)?,
            &view(momentum, momentum_layout)?,
            &view(gradient, gradient_layout)?,
            &mut out,
            &size(total)?,
            &rule.learning_rate,
            &rule.momentum,
            &rule.weight_decay,
            &u32::from(rule.nesterov),
        );
        Ok((storage(out, device), Shape::from((2, total))))
    }
}
