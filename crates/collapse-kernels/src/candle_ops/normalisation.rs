use super::storage::{
    CandleElement, act, act_tensor, by_type, same_type, stored, tensor_act, tensor_values, to_f64,
    to_tensor, values,
};
use crate::element::Float;
use crate::norm::{
    Activation, BatchNorm, Residual, bn_act_backward, bn_act_forward, channel_statistics,
};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor, bail};

/// Where the statistics of a batch norm come from.
#[derive(Debug, Clone, Copy)]
pub enum BatchStatistics<'a> {
    /// The batch itself: training. Gradients flow through them.
    OfBatch,
    /// Running ones: evaluation. No gradient on the CPU path.
    Running {
        /// Mean of each channel.
        mean: &'a [f64],
        /// Variance of each channel.
        variance: &'a [f64],
    },
}

/// Output of [`batch_norm_act`].
#[derive(Debug, Clone)]
pub struct Normed {
    /// `act(bn(y) + residual)`.
    pub out: Tensor,
    /// Mean used for each channel.
    pub mean: Vec<f64>,
    /// Biased variance used for each channel.
    pub variance: Vec<f64>,
}

/// Batch norm of `y` [N, C, H, W] with scale and shift `[C]`, `residual` of the same shape added, then the activation: one pass
/// forward, two backward.
///
/// # Errors
/// If shapes or element types do not fit each other.
pub fn batch_norm_act(
    y: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    statistics: BatchStatistics<'_>,
    eps: f64,
    activation: Activation,
) -> Result<Normed> {
    let (_, channels, _, _) = y.dims4()?;
    if !y.device().is_cpu() {
        return on_device(y, weight, bias, residual, statistics, eps, activation);
    }
    let dtype = same_type(&[y, weight, bias, residual.unwrap_or(y)])?;
    let y = y.contiguous()?;
    let (mean, variance) = match statistics {
        BatchStatistics::OfBatch => by_type!(dtype, measure(&y))?,
        BatchStatistics::Running { mean, variance } => (mean.to_vec(), variance.to_vec()),
    };
    if mean.len() != channels || variance.len() != channels {
        bail!(
            "statistics of {} and {} channels for a tensor of {channels}",
            mean.len(),
            variance.len()
        );
    }
    let training = matches!(statistics, BatchStatistics::OfBatch);
    let operation = NormAct {
        mean: mean.clone(),
        variance: variance.clone(),
        eps,
        activation,
        training,
        residual: residual.is_some(),
    };
    // A custom operation takes three tensors: scale and shift travel as one, an absent residual as a stand-in never read.
    let affine = Tensor::stack(&[weight, bias], 0)?.contiguous()?;
    let stand_in = match residual {
        Some(residual) => residual.contiguous()?,
        None => affine.detach(),
    };
    Ok(Normed {
        out: y.apply_op3(&affine, &stand_in, operation)?,
        mean,
        variance,
    })
}

fn measure<T: CandleElement>(y: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let statistics = channel_statistics(&tensor_act::<T>(y)?).map_err(Error::wrap)?;
    Ok((to_f64(&statistics.mean), to_f64(&statistics.variance)))
}

/// candle's own operations.
fn on_device(
    y: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    statistics: BatchStatistics<'_>,
    eps: f64,
    activation: Activation,
) -> Result<Normed> {
    let c = y.dim(1)?;
    let channelwise = |v: &Tensor| v.reshape((1, c, 1, 1));
    let constant = |v: &[f64]| {
        Tensor::new(v, y.device())?
            .to_dtype(y.dtype())?
            .reshape((1, c, 1, 1))
    };
    let (mean, variance) = match statistics {
        BatchStatistics::OfBatch => {
            let mean = y.mean_keepdim((0, 2, 3))?;
            let variance = y.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
            (mean, variance)
        }
        BatchStatistics::Running { mean, variance } => (constant(mean)?, constant(variance)?),
    };
    let normed = y
        .broadcast_sub(&mean)?
        .broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let mut sum = normed
        .broadcast_mul(&channelwise(weight)?)?
        .broadcast_add(&channelwise(bias)?)?;
    if let Some(residual) = residual {
        sum = (sum + residual)?;
    }
    let out = match activation {
        Activation::Identity => sum,
        Activation::LeakyRelu(slope) => (sum.relu()? - (sum.neg()?.relu()? * slope)?)?,
    };
    let read = |t: Tensor| {
        t.detach()
            .flatten_all()?
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()
    };
    Ok(Normed {
        out,
        mean: read(mean)?,
        variance: read(variance)?,
    })
}

struct NormAct {
    mean: Vec<f64>,
    variance: Vec<f64>,
    eps: f64,
    activation: Activation,
    training: bool,
    residual: bool,
}

/// The operation's constants in the kernels' type.
struct Constants<P> {
    mean: Vec<P>,
    variance: Vec<P>,
    eps: P,
    affine: Vec<P>,
}

impl<P: Float> Constants<P> {
    fn new(operation: &NormAct, affine: Vec<P>) -> Self {
        let narrow = |v: &[f64]| v.iter().map(|&v| P::from_f64(v)).collect();
        Self {
            mean: narrow(&operation.mean),
            variance: narrow(&operation.variance),
            eps: P::from_f64(operation.eps),
            affine,
        }
    }

    fn batch_norm(&self) -> BatchNorm<'_, P> {
        let (weight, bias) = self.affine.split_at(self.mean.len().min(self.affine.len()));
        BatchNorm {
            mean: &self.mean,
            variance: &self.variance,
            eps: self.eps,
            weight,
            bias,
        }
    }
}

type Stored<'a> = (&'a CpuStorage, &'a Layout);

fn forward<T: CandleElement>(
    operation: &NormAct,
    y: Stored,
    affine: Stored,
    residual: Stored,
) -> Result<(CpuStorage, Shape)> {
    let constants = Constants::new(operation, values::<T>(affine.0, affine.1)?);
    let y = act::<T>(y.0, y.1)?;
    let residual = if operation.residual {
        Some(act::<T>(residual.0, residual.1)?)
    } else {
        None
    };
    let residual = residual.as_ref().map_or(Residual::None, Residual::Identity);
    let out = bn_act_forward(&y, &constants.batch_norm(), operation.activation, residual)
        .map_err(Error::wrap)?;
    Ok(stored(&out))
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

fn backward<T: CandleElement>(
    operation: &NormAct,
    y: &Tensor,
    affine: &Tensor,
    out: &Tensor,
    dout: &Tensor,
) -> Result<Gradients> {
    let constants = Constants::new(operation, tensor_values::<T>(affine)?);
    let (y, out, dout) = (
        tensor_act::<T>(y)?,
        tensor_act::<T>(out)?,
        tensor_act::<T>(dout)?,
    );
    let batch_norm = constants.batch_norm();
    let back = bn_act_backward(
        dout,
        &out,
        &y,
        &batch_norm,
        operation.activation,
        operation.residual,
    )
    .map_err(Error::wrap)?;
    let channels = back.dweight.len();
    let residual = back.g.as_ref().map(act_tensor).transpose()?;
    let daffine = to_tensor::<T>([back.dweight, back.dbias].concat(), (2, channels))?;
    Ok((Some(act_tensor(&back.dy)?), Some(daffine), residual))
}

impl CustomOp3 for NormAct {
    fn name(&self) -> &'static str {
        "collapse-batch-norm-act"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        ly: &Layout,
        affine: &CpuStorage,
        la: &Layout,
        residual: &CpuStorage,
        lr: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!(
            y.dtype(),
            forward(self, (y, ly), (affine, la), (residual, lr))
        )
    }

    fn bwd(
        &self,
        y: &Tensor,
        affine: &Tensor,
        _residual: &Tensor,
        out: &Tensor,
        dout: &Tensor,
    ) -> Result<Gradients> {
        if !self.training {
            bail!(
                "batch norm with running statistics has no gradient here: train with BatchStatistics::OfBatch"
            );
        }
        by_type!(y.dtype(), backward(self, y, affine, out, dout))
    }
}
