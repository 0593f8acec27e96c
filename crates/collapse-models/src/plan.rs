//! The layout of a network: its layers, their sizes and the names of its tensors.

use collapse_kernels::{Activation, Conv};

use crate::{Net, NetConfig, Result};

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Convolution weights, output × input × height × width.
    ConvWeight,
    /// Head weights, classes × features.
    LinearWeight,
    /// Head bias.
    LinearBias,
    /// Batch norm's scale.
    BatchNormWeight,
    /// Batch norm's offset.
    BatchNormBias,
    /// Batch norm's running mean.
    RunningMean,
    /// Batch norm's running variance (unbiased).
    RunningVariance,
    /// Number of batches behind the running statistics.
    BatchesTracked,
    /// Left singular vector of the power iteration.
    SpectralU,
    /// Right singular vector of the power iteration.
    SpectralV,
    /// Spectral norm at the last forward.
    SpectralSigma,
}

impl Role {
    /// Whether the optimiser changes it.
    pub fn is_trainable(self) -> bool {
        matches!(
            self,
            Self::ConvWeight
                | Self::LinearWeight
                | Self::LinearBias
                | Self::BatchNormWeight
                | Self::BatchNormBias
        )
    }
}

/// Name, shape and role of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Name as in PyTorch's `state_dict` of the reference code.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
}

impl TensorSpec {
    /// Number of values; 1 for a scalar.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Indices of the tensors of one spectrally normalised convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectralSpec {
    /// Coefficient c: the weights are scaled where σ exceeds it.
    pub coefficient: f64,
    /// Tensor of u.
    pub u: usize,
    /// Tensor of v.
    pub v: usize,
    /// Tensor of σ.
    pub sigma: usize,
}

/// One convolution.
#[derive(Clone, Debug)]
pub struct ConvSpec {
    /// Module name, e.g. `layer1.0.conv1`.
    pub name: String,
    /// Channels, kernel and stride.
    pub conv: Conv,
    /// Side of the input map.
    pub input: usize,
    /// Side of the output map.
    pub output: usize,
    /// Tensor of the weights.
    pub weight: usize,
    /// Spectral normalisation, if on.
    pub spectral: Option<SpectralSpec>,
}

/// One batch norm.
#[derive(Clone, Debug)]
pub struct BatchNormSpec {
    /// Module name, e.g. `layer1.0.bn1`.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Tensor of the scale.
    pub weight: usize,
    /// Tensor of the offset.
    pub bias: usize,
    /// Tensor of the running mean.
    pub mean: usize,
    /// Tensor of the running variance.
    pub variance: usize,
    /// Tensor of the number of batches.
    pub tracked: usize,
}

/// A convolution followed by batch norm: indices into [`Plan::convs`] and [`Plan::norms`].
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// The convolution.
    pub conv: usize,
    /// The batch norm.
    pub norm: usize,
}

/// The way around a block.
#[derive(Clone, Copy, Debug)]
pub enum Shortcut {
    /// None: a plain block.
    None,
    /// The block's input.
    Identity,
    /// The input, averaged over stride × stride pixels (subsampled when its side is odd), with
    /// zero channels appended.
    PoolPad {
        /// The block's stride.
        stride: usize,
    },
    /// 1×1 convolution and batch norm.
    Projection(Unit),
    /// 1×1 convolution alone: index into [`Plan::convs`].
    Convolution(usize),
}

/// A part of a network's body.
#[derive(Clone, Debug)]
pub enum Block {
    /// Convolution, batch norm, activation in sequence; the shortcut is added before the last
    /// activation.
    PostActivation {
        /// The units.
        units: Vec<Unit>,
        /// The way around.
        shortcut: Shortcut,
        /// 2×2 max pooling after the block.
        max_pool: bool,
    },
    /// Batch norm, activation, convolution, twice, with dropout before the second convolution;
    /// the shortcut is added at the end.
    PreActivation {
        /// The units, each with the batch norm that precedes its convolution.
        units: [Unit; 2],
        /// The way around.
        shortcut: Shortcut,
    },
    /// A convolution alone, the stem before pre-activation blocks: index into [`Plan::convs`].
    Convolution(usize),
    /// Batch norm and activation alone, the end of pre-activation blocks: index into
    /// [`Plan::norms`].
    Activation(usize),
}

/// A checked network: layers in order of execution, tensors in `state_dict` order.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) config: NetConfig,
    pub(crate) convs: Vec<ConvSpec>,
    pub(crate) norms: Vec<BatchNormSpec>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) head_weight: usize,
    pub(crate) head_bias: usize,
    pub(crate) n_features: usize,
    pub(crate) final_side: usize,
}

impl Plan {
    pub(crate) fn new(config: &NetConfig) -> Result<Self> {
        let mut plan = Self {
            config: config.clone(),
            convs: Vec::new(),
            norms: Vec::new(),
            blocks: Vec::new(),
            tensors: Vec::new(),
            head_weight: 0,
            head_bias: 0,
            n_features: 0,
            final_side: 0,
        };
        match config.net {
            Net::Resnet18 => plan.resnet(&[2, 2, 2, 2], false)?,
            Net::Resnet34 => plan.resnet(&[3, 4, 6, 3], false)?,
            Net::Resnet50 => plan.resnet(&[3, 4, 6, 3], true)?,
            Net::Resnet101 => plan.resnet(&[3, 4, 23, 3], true)?,
            Net::WideResnet28 => plan.wide_resnet(4)?,
            Net::Vgg16 => plan.vgg(&[2, 2, 3, 3, 3])?,
        }
        Ok(plan)
    }

    fn resnet(&mut self, depths: &[usize], bottleneck: bool) -> Result<()> {
        let width = self.config.width;
        let mut side = self.config.input_size;
        // The reference declares the stem's batch norm before its convolution.
        let norm = self.norm("bn1", width);
        let conv = self.conv("conv1", self.config.in_channels, width, 3, 1, side)?;
        self.blocks.push(Block::PostActivation {
            units: vec![Unit { conv, norm }],
            shortcut: Shortcut::None,
            max_pool: false,
        });
        let mut channels = width;
        for (stage, &depth) in depths.iter().enumerate() {
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let prefix = format!("layer{}.{index}", stage + 1);
                (channels, side) =
                    self.block(&prefix, channels, width << stage, stride, side, bottleneck)?;
            }
        }
        self.head("fc", channels, side);
        Ok(())
    }

    fn block(
        &mut self,
        prefix: &str,
        input: usize,
        planes: usize,
        stride: usize,
        side: usize,
        bottleneck: bool,
    ) -> Result<(usize, usize)> {
        let out_side = side.div_ceil(stride);
        let output = if bottleneck { planes * 4 } else { planes };
        // (input, output, kernel, stride, side of the input)
        let shapes = if bottleneck {
            vec![
                (input, planes, 1, 1, side),
                (planes, planes, 3, stride, side),
                (planes, output, 1, 1, out_side),
            ]
        } else {
            vec![
                (input, planes, 3, stride, side),
                (planes, planes, 3, 1, out_side),
            ]
        };
        let mut units = Vec::with_capacity(shapes.len());
        for (i, (from, to, kernel, stride, side)) in shapes.into_iter().enumerate() {
            let name = format!("{prefix}.conv{}", i + 1);
            let conv = self.conv(&name, from, to, kernel, stride, side)?;
            let norm = self.norm(&format!("{prefix}.bn{}", i + 1), to);
            units.push(Unit { conv, norm });
        }
        let shortcut = if stride == 1 && input == output {
            Shortcut::Identity
        } else if self.config.modified {
            Shortcut::PoolPad { stride }
        } else {
            let name = format!("{prefix}.shortcut.0");
            let conv = self.conv(&name, input, output, 1, stride, side)?;
            let norm = self.norm(&format!("{prefix}.shortcut.1"), output);
            Shortcut::Projection(Unit { conv, norm })
        };
        self.blocks.push(Block::PostActivation {
            units,
            shortcut,
            max_pool: false,
        });
        Ok((output, out_side))
    }

    /// Three stages of `depth` pre-activation blocks, 6 · depth + 4 layers.
    fn wide_resnet(&mut self, depth: usize) -> Result<()> {
        let width = self.config.width;
        let mut side = self.config.input_size;
        let mut channels = width.min(16);
        let stem = self.conv("conv1", self.config.in_channels, channels, 3, 1, side)?;
        self.blocks.push(Block::Convolution(stem));
        for stage in 0..3 {
            for index in 0..depth {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let prefix = format!("layer{}.{index}", stage + 1);
                let output = width << stage;
                side = self.wide_block(&prefix, channels, output, stride, side)?;
                channels = output;
            }
        }
        let norm = self.norm("bn1", channels);
        self.blocks.push(Block::Activation(norm));
        self.head("linear", channels, side);
        Ok(())
    }

    fn wide_block(
        &mut self,
        prefix: &str,
        input: usize,
        output: usize,
        stride: usize,
        side: usize,
    ) -> Result<usize> {
        let out_side = side.div_ceil(stride);
        let mut unit = |index: usize, input, stride, side| -> Result<Unit> {
            let norm = self.norm(&format!("{prefix}.bn{index}"), input);
            let name = format!("{prefix}.conv{index}");
            let conv = self.conv(&name, input, output, 3, stride, side)?;
            Ok(Unit { conv, norm })
        };
        let units = [unit(1, input, stride, side)?, unit(2, output, 1, out_side)?];
        let shortcut = if stride == 1 && input == output {
            Shortcut::Identity
        } else if self.config.modified {
            Shortcut::PoolPad { stride }
        } else {
            let name = format!("{prefix}.shortcut");
            Shortcut::Convolution(self.conv(&name, input, output, 1, stride, side)?)
        };
        self.blocks.push(Block::PreActivation { units, shortcut });
        Ok(out_side)
    }

    fn vgg(&mut self, depths: &[usize]) -> Result<()> {
        let mut side = self.config.input_size;
        let mut channels = self.config.in_channels;
        let mut module = 0;
        for (stage, &depth) in depths.iter().enumerate() {
            // Images below 32 pixels keep their size through the first stage, as in the
            // reference's MNIST variant.
            let max_pool = stage > 0 || self.config.input_size >= 32;
            let width = self.config.width << stage.min(3);
            for index in 0..depth {
                let conv = self.conv(&format!("features.{module}"), channels, width, 3, 1, side)?;
                let norm = self.norm(&format!("features.{}", module + 1), width);
                module += 3;
                channels = width;
                self.blocks.push(Block::PostActivation {
                    units: vec![Unit { conv, norm }],
                    shortcut: Shortcut::None,
                    max_pool: max_pool && index + 1 == depth,
                });
            }
            if max_pool {
                module += 1;
                side /= 2;
            }
        }
        self.head("classifier", channels, side);
        Ok(())
    }

    fn tensor(&mut self, name: String, shape: Vec<usize>, role: Role) -> usize {
        self.tensors.push(TensorSpec { name, shape, role });
        self.tensors.len() - 1
    }

    fn conv(
        &mut self,
        name: &str,
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        side: usize,
    ) -> Result<usize> {
        let conv = Conv::new(input, output, kernel, stride)?;
        let out_side = side.div_ceil(stride);
        let shape = vec![output, input, kernel, kernel];
        let (weight, spectral) = match self.config.spectral_norm {
            None => (
                self.tensor(format!("{name}.weight"), shape, Role::ConvWeight),
                None,
            ),
            Some(coefficient) => {
                let weight = self.tensor(format!("{name}.weight_orig"), shape, Role::ConvWeight);
                let (u, v) = if kernel == 1 {
                    (output, input)
                } else {
                    (output * out_side * out_side, input * side * side)
                };
                let u = self.tensor(format!("{name}.weight_u"), vec![u], Role::SpectralU);
                let v = self.tensor(format!("{name}.weight_v"), vec![v], Role::SpectralV);
                let sigma =
                    self.tensor(format!("{name}.weight_sigma"), vec![1], Role::SpectralSigma);
                (
                    weight,
                    Some(SpectralSpec {
                        coefficient,
                        u,
                        v,
                        sigma,
                    }),
                )
            }
        };
        self.convs.push(ConvSpec {
            name: name.to_owned(),
            conv,
            input: side,
            output: out_side,
            weight,
            spectral,
        });
        Ok(self.convs.len() - 1)
    }

    fn norm(&mut self, name: &str, channels: usize) -> usize {
        let shape = vec![channels];
        let weight = self.tensor(
            format!("{name}.weight"),
            shape.clone(),
            Role::BatchNormWeight,
        );
        let bias = self.tensor(format!("{name}.bias"), shape.clone(), Role::BatchNormBias);
        let mean = self.tensor(
            format!("{name}.running_mean"),
            shape.clone(),
            Role::RunningMean,
        );
        let variance = self.tensor(format!("{name}.running_var"), shape, Role::RunningVariance);
        let tracked = self.tensor(
            format!("{name}.num_batches_tracked"),
            vec![],
            Role::BatchesTracked,
        );
        self.norms.push(BatchNormSpec {
            name: name.to_owned(),
            channels,
            weight,
            bias,
            mean,
            variance,
            tracked,
        });
        self.norms.len() - 1
    }

    fn head(&mut self, name: &str, channels: usize, side: usize) {
        let n_classes = self.config.n_classes;
        self.head_weight = self.tensor(
            format!("{name}.weight"),
            vec![n_classes, channels],
            Role::LinearWeight,
        );
        self.head_bias = self.tensor(format!("{name}.bias"), vec![n_classes], Role::LinearBias);
        self.n_features = channels;
        self.final_side = side;
    }

    /// The configuration this was made from.
    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// Convolutions in order of execution.
    pub fn convs(&self) -> &[ConvSpec] {
        &self.convs
    }

    /// Batch norms in `state_dict` order.
    pub fn norms(&self) -> &[BatchNormSpec] {
        &self.norms
    }

    /// Blocks in order of execution; the stem is the first.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// All tensors in `state_dict` order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Indices of head weight and bias in [`tensors`](Self::tensors).
    pub fn head_tensors(&self) -> (usize, usize) {
        (self.head_weight, self.head_bias)
    }

    /// Length of the feature vector z.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Number of classes.
    pub fn n_classes(&self) -> usize {
        self.config.n_classes
    }

    /// Trainable values.
    pub fn n_parameters(&self) -> usize {
        self.tensors
            .iter()
            .filter(|tensor| tensor.role.is_trainable())
            .map(TensorSpec::len)
            .sum()
    }

    /// Floating-point operations of one image's forward (a multiply-add counts 2), without
    /// batch norm and activation.
    pub fn forward_flops(&self) -> u64 {
        let convs: u64 = self
            .convs
            .iter()
            .map(|c| {
                let taps = (c.conv.kernel * c.conv.kernel) as u64;
                2 * taps
                    * c.conv.in_channels as u64
                    * c.conv.out_channels as u64
                    * (c.output * c.output) as u64
            })
            .sum();
        convs + 2 * (self.n_features * self.config.n_classes) as u64
    }

    /// Weight of a new batch in the running statistics of batch norm: PyTorch's 0.1, in the wide
    /// network 0.01. Source: DDU, `net/wide_resnet.py`.
    pub fn batch_norm_momentum(&self) -> f64 {
        match self.config.net {
            Net::WideResnet28 => 0.01,
            _ => 0.1,
        }
    }

    /// The activation after every batch norm.
    pub fn activation(&self) -> Activation {
        Activation::LeakyRelu(if self.config.modified { 0.01 } else { 0.0 })
    }
}
