//! The layout of a network: its layers, their sizes and the names of its tensors.

mod architectures;
mod builder;
mod ids;
mod layers;

use collapse_kernels::Activation;

use crate::{Net, NetConfig, Result};

pub use ids::{ConvId, NormId, TensorId};
pub use layers::{BatchNormSpec, Block, ConvSpec, Role, Shortcut, SpectralSpec, TensorSpec, Unit};

/// A checked network: layers in order of execution, tensors in `state_dict` order.
///
/// Only a [`NetConfig`] whose every field has a meaning has one: see [`NetConfig::plan`].
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) config: NetConfig,
    pub(crate) convs: Vec<ConvSpec>,
    pub(crate) norms: Vec<BatchNormSpec>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) tensors: Vec<TensorSpec>,
    pub(crate) head_weight: TensorId,
    pub(crate) head_bias: TensorId,
    pub(crate) n_features: usize,
    pub(crate) final_side: usize,
}

impl Plan {
    /// Lays out a configuration that was checked.
    pub(crate) fn new(config: &NetConfig) -> Result<Self> {
        architectures::lay_out(config)
    }

    /// The configuration this was made from.
    #[must_use]
    pub fn config(&self) -> &NetConfig {
        &self.config
    }

    /// The convolutions by their numbers, in order of execution.
    pub fn conv_ids(&self) -> impl Iterator<Item = (ConvId, &ConvSpec)> {
        self.convs
            .iter()
            .enumerate()
            .map(|(i, spec)| (ConvId(i), spec))
    }

    /// Convolutions in order of execution.
    #[must_use]
    pub fn convs(&self) -> &[ConvSpec] {
        &self.convs
    }

    /// Batch norms in `state_dict` order.
    #[must_use]
    pub fn norms(&self) -> &[BatchNormSpec] {
        &self.norms
    }

    /// Blocks in order of execution; the stem is the first.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The tensors by their numbers, in `state_dict` order.
    pub fn tensor_ids(&self) -> impl Iterator<Item = (TensorId, &TensorSpec)> {
        self.tensors
            .iter()
            .enumerate()
            .map(|(i, spec)| (TensorId(i), spec))
    }

    /// All tensors in `state_dict` order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Weight and bias of the head.
    #[must_use]
    pub fn head_tensors(&self) -> (TensorId, TensorId) {
        (self.head_weight, self.head_bias)
    }

    /// Length of the feature vector z.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Number of classes.
    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.config.n_classes
    }

    /// Trainable values.
    #[must_use]
    pub fn n_parameters(&self) -> usize {
        self.tensors
            .iter()
            .filter(|tensor| tensor.role.is_trainable())
            .map(TensorSpec::len)
            .sum()
    }

    /// Floating-point operations of one image's forward (a multiply-add counts 2), without
    /// batch norm and activation.
    #[must_use]
    pub fn forward_flops(&self) -> u64 {
        let convs: u64 = self
            .convs
            .iter()
            .map(|c| {
                let taps = (c.conv.kernel() * c.conv.kernel()) as u64;
                2 * taps
                    * c.conv.in_channels() as u64
                    * c.conv.out_channels() as u64
                    * (c.output * c.output) as u64
            })
            .sum();
        convs + 2 * (self.n_features * self.config.n_classes) as u64
    }

    /// Weight of a new batch in the running statistics of batch norm: PyTorch's 0.1, in the wide
    /// network 0.01. Source: DDU, `net/wide_resnet.py`.
    #[must_use]
    pub fn batch_norm_momentum(&self) -> f64 {
        match self.config.net {
            Net::WideResnet28 => 0.01,
            _ => 0.1,
        }
    }

    /// The activation after every batch norm.
    #[must_use]
    pub fn activation(&self) -> Activation {
        Activation::LeakyRelu(if self.config.modified { 0.01 } else { 0.0 })
    }
}
