//! The same network on candle's own operations, for CUDA and Metal devices, for users of candle
//! and for comparison.
//!
//! Parameters, momentum and average live on the device and come to the host when they are asked for: for checkpoints
//! and weights files, which are those of [`Network`](crate::Network). On CPUs it is many times slower
//! than the kernels. On Metal it has not even been compiled by its authors.

mod operations;
mod step;
mod tape;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Module, Tensor, Var, WithDType};
use candle_nn::{Linear, VarBuilder};
use collapse_kernels::{Activation, Float, Shape};

use operations::{
    NORM_EPSILON, add_activated, batch_norm, batch_norm_moments, convolution,
    convolution_transposed, divided_by_norm, max_pool, pool_pad, unit_length,
};
use tape::{Tape, through_candle};

use crate::dropout::Dropout;
use crate::mirror::{Mirror, host};
use crate::plan::{Block, ConvId, NormId, Shortcut, TensorId, Unit};
use crate::{
    Batch, Error, Gradients, ImageLayout, LossFn, Model, NetConfig, Optimizer, Output, Parameters,
    Plan, Result, SpectralSpec, StepRule,
};

const CONV_EPSILON: f64 = 1e-5;

/// A network on a candle device, in `f32` or `f64`.
///
/// ```
/// use candle_core::Device;
/// use collapse_models::{Batch, CandleNet, Net, NetConfig, Parameters};
///
/// let mut config = NetConfig::new(Net::Resnet18, 3);
/// (config.width, config.input_size) = (4, 8);
/// let parameters = Parameters::<f32>::initialise(&config, 1)?;
/// let mut net = CandleNet::new(&config, parameters, Device::Cpu)?;
/// let output = net.forward_eval(&Batch::nchw(1, 8, 3, &[0.5; 3 * 8 * 8]))?;
/// assert_eq!(output.logits.len(), 3);
/// # Ok::<(), collapse_models::Error>(())
/// ```
///
/// From a `VarBuilder`, as candle's own models are made, and called as a `Module` on a tensor of
/// images [N, C, H, W], which gives logits [N, classes] in evaluation mode:
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use collapse_models::{CandleNet, Net, NetConfig};
///
/// let mut config = NetConfig::new(Net::Resnet18, 3);
/// (config.width, config.input_size) = (4, 8);
/// let variables = VarMap::new();
/// let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let net = CandleNet::<f32>::from_var_builder(&config, builder)?;
/// let images = Tensor::zeros((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.forward(&images)?.dims(), [2, 3]);
/// # Ok::<(), collapse_models::Error>(())
/// ```
pub struct CandleNet<P> {
    plan: Plan,
    tensors: Mirror<P>,
    device: Device,
    dropout_seed: u64,
    /// Whether a pass of training records its own gradients.
    taped: bool,
}

/// The tensors during one pass, and what the pass changes.
struct Pass {
    tensors: Vec<Tensor>,
    training: bool,
    /// Of a training pass on CUDA; elsewhere the tensors carry candle's graph.
    tape: Option<Tape>,
    /// Buffers to be stored when the pass is over: index and new value.
    updates: Vec<(TensorId, Tensor)>,
}

impl<P: Float + WithDType> CandleNet<P> {
    /// A network with given parameters on `device`.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration has no meaning, [`Error::UnknownTensor`] when the parameters are
    /// another network's.
    pub fn new(config: &NetConfig, parameters: Parameters<P>, device: Device) -> Result<Self> {
        let plan = config.plan()?;
        parameters.check(&plan)?;
        Ok(Self {
            plan,
            tensors: Mirror::new(parameters),
            // Of f64 the operations on CUDA are candle's.
            taped: device.is_cuda() && P::DTYPE == DType::F32,
            device,
            dropout_seed: 0,
        })
    }

    /// A network on the builder's device with the builder's tensors, under the names of
    /// [`Plan::tensors`].
    ///
    /// # Errors
    /// [`Error::Candle`] when one is missing or of another shape, [`Error::Config`] as [`new`](Self::new).
    pub fn from_var_builder(config: &NetConfig, builder: VarBuilder<'_>) -> Result<Self> {
        let plan = config.plan()?;
        let mut parameters = Parameters::zeros(&plan);
        for spec in plan.tensors() {
            let tensor = builder.get(spec.shape.as_slice(), &spec.name)?;
            parameters.set(&spec.name, host(&tensor.to_dtype(P::DTYPE)?)?)?;
        }
        Self::new(config, parameters, builder.device().clone())
    }

    /// Decides the masks of dropout, as [`Network::seed_dropout`](crate::Network::seed_dropout).
    pub fn seed_dropout(&mut self, seed: u64) {
        self.dropout_seed = seed;
    }

    /// All tensors, brought to the host where the device has newer ones.
    ///
    /// # Errors
    /// [`Error::Candle`] when the device fails.
    pub fn parameters(&mut self) -> Result<&Parameters<P>> {
        self.tensors.host()
    }

    /// All tensors, to be changed; the next pass uploads them.
    ///
    /// # Errors
    /// As [`parameters`](Self::parameters).
    pub fn parameters_mut(&mut self) -> Result<&mut Parameters<P>> {
        self.tensors.host_mut()
    }

    /// Evaluation: running statistics, frozen spectral vectors.
    ///
    /// # Errors
    /// [`Error::Length`] when the images are of another shape, [`Error::Candle`] when the device fails.
    pub fn forward_eval(&mut self, images: &Batch<'_, P>) -> Result<Output<P>> {
        let mut pass = self.begin(false)?;
        let (features, normalized, logits) = self.pass(&mut pass, self.images(images)?)?;
        self.tensors.replace(pass.updates, &self.device)?;
        output(images.shape.n, &features, normalized.as_ref(), &logits)
    }

    /// One training forward and backward; `loss` is called once in between.
    ///
    /// # Errors
    /// As [`forward_eval`](Self::forward_eval); [`Error::Length`] when `loss` gives a gradient of another shape.
    pub fn train_pass(
        &mut self,
        images: &Batch<'_, P>,
        loss: &mut LossFn<'_, P>,
    ) -> Result<Gradients<P>> {
        let mut gradients = Gradients::zeros(&self.plan);
        for (id, gradient) in self.gradients(images, loss)? {
            gradients.values[id] = host(&gradient)?;
        }
        Ok(gradients)
    }

    /// The gradients of all trainable tensors, on the device.
    fn gradients(
        &mut self,
        images: &Batch<'_, P>,
        loss: &mut LossFn<'_, P>,
    ) -> Result<Vec<(TensorId, Tensor)>> {
        let mut pass = self.begin(true)?;
        let maps = self.maps(&mut pass, self.images(images)?)?;
        // What the head does is on candle's graph, with a tape too.
        let seen = match pass.tape {
            Some(_) => Var::from_tensor(&maps)?.into_inner(),
            None => maps.clone(),
        };
        let (features, normalized, logits) = self.head(&pass, &seen)?;
        let result = output(images.shape.n, &features, normalized.as_ref(), &logits)?;
        let Pass {
            tensors,
            updates,
            tape,
            ..
        } = pass;
        self.tensors.replace(updates, &self.device)?;
        let head_weight = host::<P>(&tensors[self.plan.head_weight])?;
        let gradient = loss(&result, &head_weight);
        let (n, d, c) = (images.shape.n, self.plan.n_features, self.plan.n_classes());
        gradient.check(n, d, c)?;

        // A scalar whose gradient is the wanted one at the head.
        let head_input = normalized.as_ref().unwrap_or(&features);
        let mut scalar = Tensor::zeros((), P::DTYPE, &self.device)?;
        let terms = [
            (gradient.logits, &logits, (n, c)),
            (gradient.head_input, head_input, (n, d)),
            (gradient.weight, &tensors[self.plan.head_weight], (c, d)),
        ];
        for (gradient, tensor, shape) in terms {
            if let Some(values) = gradient {
                let gradient = Tensor::from_vec(values, shape, &self.device)?;
                scalar = (scalar + (gradient * tensor)?.sum_all()?)?;
            }
        }
        let mut store = scalar.backward()?;
        let mut sums = match (tape, store.remove(&seen)) {
            (Some(tape), Some(gradient)) => Some(tape.backward(&maps, gradient.detach())?),
            _ => None,
        };
        let trainable = self.plan.tensor_ids();
        let trainable = trainable.filter(|(_, spec)| spec.role.is_trainable());
        trainable
            .map(|(id, _)| {
                let taped = sums.as_mut().and_then(|sums| sums.remove(&tensors[id]));
                let gradient = taped.or_else(|| store.remove(&tensors[id]));
                let gradient = gradient.map_or_else(|| tensors[id].zeros_like(), Ok)?;
                Ok((id, gradient.detach()))
            })
            .collect()
    }

    fn begin(&self, training: bool) -> Result<Pass> {
        let there = self.tensors.device(&self.device)?;
        let mut tape = (training && self.taped).then(Tape::default);
        let (head_weight, head_bias) = self.plan.head_tensors();
        let mut tensors = Vec::with_capacity(there.len());
        for (id, spec) in self.plan.tensor_ids() {
            let tensor = &there[id];
            let is_trained = training && spec.role.is_trainable();
            tensors.push(match &mut tape {
                Some(tape) if is_trained && id != head_weight && id != head_bias => {
                    tape.want(tensor);
                    tensor.clone()
                }
                _ if is_trained => Var::from_tensor(tensor)?.into_inner(),
                _ => tensor.clone(),
            });
        }
        Ok(Pass {
            tensors,
            training,
            tape,
            updates: Vec::new(),
        })
    }

    fn pass(&self, pass: &mut Pass, x: Tensor) -> Result<(Tensor, Option<Tensor>, Tensor)> {
        let maps = self.maps(pass, x)?;
        self.head(pass, &maps)
    }

    /// What the blocks make of images.
    fn maps(&self, pass: &mut Pass, mut x: Tensor) -> Result<Tensor> {
        for block in &self.plan.blocks {
            x = self.block(pass, block, x)?;
        }
        Ok(x)
    }

    /// Features, their directions where the head sees those, and logits.
    fn head(&self, pass: &Pass, maps: &Tensor) -> Result<(Tensor, Option<Tensor>, Tensor)> {
        let features = maps.mean((2, 3))?;
        let config = &self.plan.config;
        let normalized = if config.l2.applies(pass.training) {
            let norm = features.sqr()?.sum_keepdim(1)?.sqrt()?;
            let floor = (norm.ones_like()? * NORM_EPSILON)?;
            Some(features.broadcast_div(&norm.maximum(&floor)?)?)
        } else {
            None
        };
        let input = normalized.as_ref().unwrap_or(&features);
        let (weight, bias) = self.plan.head_tensors();
        let head = Linear::new(
            pass.tensors[weight].clone(),
            Some(pass.tensors[bias].clone()),
        );
        let logits = (head.forward(input)? / config.temperature)?;
        Ok((features, normalized, logits))
    }

    fn images(&self, batch: &Batch<'_, P>) -> Result<Tensor> {
        let shape = batch.shape;
        let (n, c, h, w) = (shape.n, shape.c, shape.h, shape.w);
        if batch.values.len() != n * c * h * w {
            return Err(Error::Length {
                name: "images".to_owned(),
                expected: n * c * h * w,
                found: batch.values.len(),
            });
        }
        Ok(match batch.layout {
            ImageLayout::Nchw => Tensor::from_slice(batch.values, (n, c, h, w), &self.device)?,
            ImageLayout::Hwnc => Tensor::from_slice(batch.values, (h, w, n, c), &self.device)?
                .permute((2, 3, 0, 1))?
                .contiguous()?,
        })
    }

    fn block(&self, pass: &mut Pass, block: &Block, x: Tensor) -> Result<Tensor> {
        let activation = self.plan.activation();
        match block {
            Block::PostActivation {
                units,
                shortcut,
                max_pool: pool,
            } => {
                let mut out = x.clone();
                let is_plain = matches!(shortcut, Shortcut::None);
                for (i, unit) in units.iter().enumerate() {
                    out = self.convolution(pass, unit.conv, &out)?;
                    let before_sum = i + 1 == units.len() && !is_plain;
                    let activation = if before_sum {
                        Activation::Identity
                    } else {
                        activation
                    };
                    out = self.batch_norm(pass, unit.norm, &out, activation)?;
                }
                if let Some(around) = self.shortcut(pass, *shortcut, &x, out.dim(1)?)? {
                    out = add_activated(pass.tape.as_mut(), &out, &around, activation)?;
                }
                match pool {
                    true => max_pool(pass.tape.as_mut(), &out),
                    false => Ok(out),
                }
            }
            Block::PreActivation { units, shortcut } => {
                let mut out = x.clone();
                for (i, unit) in units.iter().enumerate() {
                    out = self.batch_norm(pass, unit.norm, &out, activation)?;
                    if i == 1 && pass.training {
                        out = self.dropout(pass, unit.norm, &out)?;
                    }
                    out = self.convolution(pass, unit.conv, &out)?;
                }
                match self.shortcut(pass, *shortcut, &x, out.dim(1)?)? {
                    Some(around) => {
                        add_activated(pass.tape.as_mut(), &out, &around, Activation::Identity)
                    }
                    None => Ok(out),
                }
            }
            &Block::Convolution(conv) => self.convolution(pass, conv, &x),
            &Block::Activation(norm) => self.batch_norm(pass, norm, &x, activation),
        }
    }

    /// What a shortcut adds to a block with `channels` outputs.
    fn shortcut(
        &self,
        pass: &mut Pass,
        shortcut: Shortcut,
        x: &Tensor,
        channels: usize,
    ) -> Result<Option<Tensor>> {
        Ok(match shortcut {
            Shortcut::None => None,
            Shortcut::Identity => Some(x.clone()),
            Shortcut::PoolPad { stride } => {
                Some(pool_pad(pass.tape.as_mut(), x, stride, channels)?)
            }
            Shortcut::Projection(Unit { conv, norm }) => {
                let around = self.convolution(pass, conv, x)?;
                Some(self.batch_norm(pass, norm, &around, Activation::Identity)?)
            }
            Shortcut::Convolution(conv) => Some(self.convolution(pass, conv, x)?),
        })
    }

    fn dropout(&self, pass: &mut Pass, norm: NormId, x: &Tensor) -> Result<Tensor> {
        let rate = self.plan.config.dropout;
        if rate == 0.0 {
            return Ok(x.clone());
        }
        let (n, c, h, w) = x.dims4()?;
        // The batch under way is not yet counted.
        let tracked = host::<P>(&pass.tensors[self.plan.norms[norm].tracked])?;
        let tracked = Float::to_f64(tracked[0]) as u64 + 1;
        let dropout = Dropout::new(self.dropout_seed, norm, tracked, rate);
        let mask = dropout.nchw::<P>(Shape { h, w, n, c });
        let mask = Tensor::from_vec(mask, (n, c, h, w), &self.device)?;
        through_candle(pass.tape.as_mut(), [x], |[x]| Ok((x * mask)?))
    }

    fn convolution(&self, pass: &mut Pass, conv: ConvId, x: &Tensor) -> Result<Tensor> {
        let spec = &self.plan.convs[conv];
        let weight = match spec.spectral {
            Some(spectral) => self.normalized_weight(pass, conv, &spectral)?,
            None => pass.tensors[spec.weight].clone(),
        };
        convolution(pass.tape.as_mut(), x, &weight, spec.conv.stride())
    }

    fn batch_norm(
        &self,
        pass: &mut Pass,
        norm: NormId,
        y: &Tensor,
        activation: Activation,
    ) -> Result<Tensor> {
        let norm = &self.plan.norms[norm];
        let (running_mean, running_variance) =
            (&pass.tensors[norm.mean], &pass.tensors[norm.variance]);
        let (mean, variance) = if pass.training {
            let momentum = self.plan.batch_norm_momentum();
            let moments = batch_norm_moments(y, running_mean, running_variance, momentum)?;
            let tracked = (&pass.tensors[norm.tracked] + 1.0)?;
            pass.updates.extend([
                (norm.mean, moments.running_mean),
                (norm.variance, moments.running_variance),
                (norm.tracked, tracked),
            ]);
            (moments.mean, moments.variance)
        } else {
            (running_mean.clone(), running_variance.clone())
        };
        let scale = (&pass.tensors[norm.weight], &pass.tensors[norm.bias]);
        batch_norm(pass.tape.as_mut(), y, (&mean, &variance), scale, activation)
    }

    /// W scaled by its spectral norm; σ is part of the graph, u and v are not.
    fn normalized_weight(
        &self,
        pass: &mut Pass,
        conv: ConvId,
        spectral: &SpectralSpec,
    ) -> Result<Tensor> {
        let spec = &self.plan.convs[conv];
        let weight = pass.tensors[spec.weight].clone();
        let (kernel, stride) = (spec.conv.kernel(), spec.conv.stride());
        let (rows, columns) = (spec.conv.out_channels(), spec.conv.in_channels());
        let (out, side) = (spec.output, spec.input);
        let matrix = kernel == 1;
        let fixed = weight.detach();
        let apply = |tape: Option<&mut Tape>, v: &Tensor| -> Result<Tensor> {
            if matrix {
                return through_candle(tape, [&weight], |[weight]| {
                    let matrix = weight.reshape((rows, columns))?;
                    Ok(matrix.matmul(&v.reshape((columns, 1))?)?)
                });
            }
            let v = v.reshape((1, columns, side, side))?;
            convolution(tape, &v, &weight, stride)
        };
        let u = &pass.tensors[spectral.u];
        let (u, y) = if pass.training {
            let back = if matrix {
                fixed
                    .reshape((rows, columns))?
                    .t()?
                    .matmul(&u.reshape((rows, 1))?)?
            } else {
                let u = u.reshape((1, rows, out, out))?;
                convolution_transposed(&u, &fixed, side, stride)?
            };
            let v = unit_length(&back.flatten_all()?)?;
            let y = apply(pass.tape.as_mut(), &v)?;
            let u = unit_length(&y.detach().flatten_all()?)?;
            pass.updates.push((spectral.u, u.clone()));
            pass.updates.push((spectral.v, v));
            (u, y)
        } else {
            (u.clone(), apply(None, &pass.tensors[spectral.v])?)
        };
        let epsilon = if matrix { 0.0 } else { CONV_EPSILON };
        let coefficient = spectral.coefficient;
        let (weight, sigma) =
            divided_by_norm(pass.tape.as_mut(), &weight, &y, &u, coefficient, epsilon)?;
        pass.updates.push((spectral.sigma, sigma));
        Ok(weight)
    }
}

fn output<P: Float + WithDType>(
    n: usize,
    features: &Tensor,
    normalized: Option<&Tensor>,
    logits: &Tensor,
) -> Result<Output<P>> {
    debug_assert!(matches!(P::DTYPE, DType::F32 | DType::F64));
    Ok(Output {
        n,
        features: host(features)?,
        normalized: normalized.map(host).transpose()?,
        logits: host(logits)?,
    })
}

/// Logits of images [N, C, H, W] on the network's device, in evaluation mode.
impl<P: Float + WithDType> Module for CandleNet<P> {
    fn forward(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        let run = || -> Result<Tensor> {
            let mut pass = self.begin(false)?;
            Ok(self.pass(&mut pass, images.clone())?.2)
        };
        run().map_err(candle_core::Error::wrap)
    }
}

impl Model for CandleNet<f32> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn parameters(&mut self) -> Result<&Parameters<f32>> {
        CandleNet::parameters(self)
    }

    fn parameters_mut(&mut self) -> Result<&mut Parameters<f32>> {
        CandleNet::parameters_mut(self)
    }

    fn seed_dropout(&mut self, seed: u64) {
        CandleNet::seed_dropout(self, seed);
    }

    fn forward_eval(&mut self, images: &Batch<'_, f32>) -> Result<Output<f32>> {
        CandleNet::forward_eval(self, images)
    }

    fn train_pass(
        &mut self,
        images: &Batch<'_, f32>,
        loss: &mut LossFn<'_>,
    ) -> Result<Gradients<f32>> {
        CandleNet::train_pass(self, images, loss)
    }

    fn train_step(
        &mut self,
        images: &Batch<'_, f32>,
        loss: &mut LossFn<'_>,
        rule: &StepRule,
        optimizer: &mut Optimizer,
    ) -> Result<Option<f64>> {
        CandleNet::train_step(self, images, loss, rule, optimizer)
    }
}
