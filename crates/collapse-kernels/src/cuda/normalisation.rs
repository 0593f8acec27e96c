//! Batch norm with its activation, and the activated sum of a shortcut.

use candle_core::{CudaStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::launch::{
    device_of, launch, on_cuda_alone, over_channels, over_elements, size, storage, uninitialised,
    view, with_view,
};

/// Moments of a batch, all of shape [channels].
#[derive(Debug)]
pub struct Moments {
    /// Means over images and pixels.
    pub mean: Tensor,
    /// Biased variances.
    pub variance: Tensor,
    /// The running means after this batch.
    pub running_mean: Tensor,
    /// The running variances after this batch, which take the unbiased variance.
    pub running_variance: Tensor,
}

/// The moments of `x` [N, C, H, W] by channel, and the running ones moved towards them by `momentum` (0–1). No gradient
/// goes through them: that of [`batch_norm`] already counts what `x` does to its moments.
///
/// # Errors
/// When a tensor is not of f32 on a CUDA device, or the device fails.
pub fn batch_norm_moments(
    x: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    momentum: f64,
) -> Result<Moments> {
    let x = x.detach().contiguous()?;
    let channels = x.dim(1)?;
    let op = MomentsOp {
        momentum: momentum as f32,
    };
    let rows = x.apply_op3_no_bwd(
        &running_mean.contiguous()?,
        &running_variance.contiguous()?,
        &op,
    )?;
    let row = |i| rows.narrow(0, i, 1)?.reshape(channels);
    Ok(Moments {
        mean: row(0)?,
        variance: row(1)?,
        running_mean: row(2)?,
        running_variance: row(3)?,
    })
}

/// activation(weight · (x − mean) / √(variance + epsilon) + bias) for `x` [N, C, H, W] and the rest [C]; the activation is
/// a leaky ReLU with `slope`: 0 for ReLU, 1 for none.
///
/// The gradient is that of training, where mean and variance are the batch's own.
///
/// # Errors
/// When a tensor is not of f32 on a CUDA device, or the device fails.
pub fn batch_norm(
    x: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
    epsilon: f64,
    slope: f64,
) -> Result<Tensor> {
    let op = BatchNormOp::new(mean, variance, epsilon, slope)?;
    x.contiguous()?
        .apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)
}

/// The gradients of [`batch_norm`]'s `x`, weight and bias, given that of its output. No gradient goes through them.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_gradients(
    x: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    (weight, bias): (&Tensor, &Tensor),
    epsilon: f64,
    slope: f64,
    gradient: &Tensor,
) -> Result<[Tensor; 3]> {
    let op = BatchNormOp::new(mean, variance, epsilon, slope)?;
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    op.gradients(&x.detach().contiguous()?, &weight, &bias, gradient)
}

/// The gradient of either operand of [`add_activated`], given its output and that output's gradient. No gradient goes
/// through it.
///
/// # Errors
/// As [`add_activated`].
pub fn add_activated_gradient(out: &Tensor, gradient: &Tensor, slope: f64) -> Result<Tensor> {
    let op = ActivationGradient {
        slope: slope as f32,
    };
    let (out, gradient) = (out.detach().contiguous()?, gradient.detach().contiguous()?);
    out.apply_op2_no_bwd(&gradient, &op)
}

/// activation(a + b), a leaky ReLU with `slope`, of tensors of one shape.
///
/// # Errors
/// When a tensor is not of f32 on a CUDA device, the shapes differ, or the device fails.
pub fn add_activated(a: &Tensor, b: &Tensor, slope: f64) -> Result<Tensor> {
    let op = AddActivated {
        slope: slope as f32,
    };
    a.contiguous()?.apply_op2(&b.contiguous()?, op)
}

/// Channels and pixels of a channel of maps [N, C, H, W].
fn maps(layout: &Layout) -> Result<(usize, usize, usize)> {
    let (n, channels, height, width) = layout.shape().dims4()?;
    Ok((n, channels, height * width))
}

struct MomentsOp {
    momentum: f32,
}

impl CustomOp3 for MomentsOp {
    on_cuda_alone!(CustomOp3, "batch_norm_moments");

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        mean: &CudaStorage,
        mean_layout: &Layout,
        variance: &CudaStorage,
        variance_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = device_of(x);
        let (n, channels, plane) = maps(x_layout)?;
        let mut out = uninitialised(device, 4 * channels)?;
        size(x_layout.shape().elem_count())?;
        launch!(
            device,
            "batch_norm_moments",
            over_channels(channels, n * plane),
            &view(x, x_layout)?,
            &view(mean, mean_layout)?,
            &view(variance, variance_layout)?,
            &mut out,
            &size(n)?,
            &size(channels)?,
            &size(plane)?,
            &self.momentum,
        );
        Ok((storage(out, device), Shape::from((4, channels))))
    }
}

#[derive(Clone)]
struct BatchNormOp {
    mean: Tensor,
    variance: Tensor,
    epsilon: f32,
    slope: f32,
}

impl CustomOp3 for BatchNormOp {
    on_cuda_alone!(CustomOp3, "batch_norm");

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = device_of(x);
        let (_, channels, plane) = maps(x_layout)?;
        let total = x_layout.shape().elem_count();
        let mut out = uninitialised(device, total)?;
        with_view(&self.mean, |mean| {
            with_view(&self.variance, |variance| {
                launch!(
                    device,
                    "batch_norm",
                    over_elements(total),
                    &view(x, x_layout)?,
                    mean,
                    variance,
                    &view(weight, weight_layout)?,
                    &view(bias, bias_layout)?,
                    &mut out,
                    &size(channels)?,
                    &size(plane)?,
                    &size(total)?,
                    &self.epsilon,
                    &self.slope,
                );
                Ok(())
            })
        })?;
        Ok((storage(out, device), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_x, of_weight, of_bias] = self.gradients(x, weight, bias, gradient)?;
        Ok((Some(of_x), Some(of_weight), Some(of_bias)))
    }
}

impl BatchNormOp {
    fn new(mean: &Tensor, variance: &Tensor, epsilon: f64, slope: f64) -> Result<Self> {
        Ok(Self {
            mean: mean.detach().contiguous()?,
            variance: variance.detach().contiguous()?,
            epsilon: epsilon as f32,
            slope: slope as f32,
        })
    }

    /// Of `x`, weight and bias.
    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Tensor; 3]> {
        let gradient = gradient.detach().contiguous()?;
        let op = BatchNormGradient {
            forward: self.clone(),
            weight: weight.detach(),
            bias: bias.detach(),
        };
        let sums = x.apply_op2_no_bwd(&gradient, &op)?;
        let of_x = x.apply_op3_no_bwd(&gradient, &sums, &op)?;
        let row = |i| sums.narrow(0, i, 1)?.reshape(weight.dims());
        Ok([of_x, row(1)?, row(0)?])
    }
}

/// Of `x` and the output's gradient: the gradients of bias and weight [2, C], and with them that of `x`.
struct BatchNormGradient {
    forward: BatchNormOp,
    weight: Tensor,
    bias: Tensor,
}

impl CustomOp2 for BatchNormGradient {
    on_cuda_alone!(CustomOp2, "batch_norm_sums");

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = device_of(x);
        let (n, channels, plane) = maps(x_layout)?;
        let mut out = uninitialised(device, 2 * channels)?;
        self.with_parameters(|mean, variance, weight, bias| {
            launch!(
                device,
                "batch_norm_sums",
                over_channels(channels, n * plane),
                &view(x, x_layout)?,
                &view(gradient, gradient_layout)?,
                mean,
                variance,
                weight,
                bias,
                &mut out,
                &size(n)?,
                &size(channels)?,
                &size(plane)?,
                &self.forward.epsilon,
                &self.forward.slope,
            );
            Ok(())
        })?;
        Ok((storage(out, device), Shape::from((2, channels))))
    }
}

impl CustomOp3 for BatchNormGradient {
    on_cuda_alone!(CustomOp3, "batch_norm_gradient");

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
        sums: &CudaStorage,
        sums_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = device_of(x);
        let (_, channels, plane) = maps(x_layout)?;
        let total = x_layout.shape().elem_count();
        let mut out = uninitialised(device, total)?;
        self.with_parameters(|mean, variance, weight, bias| {
            launch!(
                device,
                "batch_norm_gradient",
                over_elements(total),
                &view(x, x_layout)?,
                &view(gradient, gradient_layout)?,
                &view(sums, sums_layout)?,
                mean,
                variance,
                weight,
                bias,
                &mut out,
                &size(channels)?,
                &size(plane)?,
                &size(total)?,
                &self.forward.epsilon,
                &self.forward.slope,
            );
            Ok(())
        })?;
        Ok((storage(out, device), x_layout.shape().clone()))
    }
}

type View<'a> = candle_core::cuda_backend::cudarc::driver::CudaView<'a, f32>;

impl BatchNormGradient {
    /// Calls `f` with mean, variance, weight and bias.
    fn with_parameters(
        &self,
        f: impl FnOnce(&View<'_>, &View<'_>, &View<'_>, &View<'_>) -> Result<()>,
    ) -> Result<()> {
        with_view(&self.forward.mean, |mean| {
            with_view(&self.forward.variance, |variance| {
                with_view(&self.weight, |weight| {
                    with_view(&self.bias, |bias| f(mean, variance, weight, bias))
                })
            })
        })
    }
}

struct AddActivated {
    slope: f32,
}

impl CustomOp2 for AddActivated {
    on_cuda_alone!(CustomOp2, "add_activated");

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        if a_layout.shape() != b_layout.shape() {
            candle_core::bail!("sum of {:?} and {:?}", a_layout.shape(), b_layout.shape());
        }
        let device = device_of(a);
        let total = a_layout.shape().elem_count();
        let mut out = uninitialised(device, total)?;
        launch!(
            device,
            "add_activated",
            over_elements(total),
            &view(a, a_layout)?,
            &view(b, b_layout)?,
            &mut out,
            &size(total)?,
            &self.slope,
        );
        Ok((storage(out, device), a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let before = add_activated_gradient(out, gradient, f64::from(self.slope))?;
        Ok((Some(before.clone()), Some(before)))
    }
}

/// Of an activation's output and that output's gradient: the gradient before the activation.
struct ActivationGradient {
    slope: f32,
}

impl CustomOp2 for ActivationGradient {
    on_cuda_alone!(CustomOp2, "activation_gradient");

    fn cuda_fwd(
        &self,
        out: &CudaStorage,
        out_layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = device_of(out);
        let total = out_layout.shape().elem_count();
        let mut before = uninitialised(device, total)?;
        launch!(
            device,
            "activation_gradient",
            over_elements(total),
            &view(out, out_layout)?,
            &view(gradient, gradient_layout)?,
            &mut before,
            &size(total)?,
            &self.slope,
        );
        Ok((storage(before, device), out_layout.shape().clone()))
    }
}
