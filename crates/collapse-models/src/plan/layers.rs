//! What a network is made of: tensors, layers, blocks.

use collapse_kernels::Conv;

use super::ids::{ConvId, NormId, TensorId};

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
    #[must_use]
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
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a dimension is zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The tensors of one spectrally normalised convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectralSpec {
    /// Coefficient c: the weights are scaled where σ exceeds it.
    pub coefficient: f64,
    /// u, the left singular vector.
    pub u: TensorId,
    /// v, the right singular vector.
    pub v: TensorId,
    /// σ, `[1]`.
    pub sigma: TensorId,
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
    /// The weights, [output, input, kernel, kernel].
    pub weight: TensorId,
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
    /// The scale, `[channels]`, as the next three.
    pub weight: TensorId,
    /// The offset.
    pub bias: TensorId,
    /// The running mean.
    pub mean: TensorId,
    /// The running variance.
    pub variance: TensorId,
    /// The number of batches, a scalar.
    pub tracked: TensorId,
}

/// A convolution followed by batch norm.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// The convolution.
    pub conv: ConvId,
    /// The batch norm.
    pub norm: NormId,
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
    /// 1×1 convolution alone.
    Convolution(ConvId),
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
    /// A convolution alone, the stem before pre-activation blocks.
    Convolution(ConvId),
    /// Batch norm and activation alone, the end of pre-activation blocks.
    Activation(NormId),
}
