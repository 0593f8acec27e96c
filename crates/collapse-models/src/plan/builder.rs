//! A plan in the making: layers are added in order and know the map they stand on.

use collapse_kernels::Conv;

use super::Plan;
use super::ids::{ConvId, NormId, TensorId};
use super::layers::{BatchNormSpec, Block, ConvSpec, Role, SpectralSpec, TensorSpec, Unit};
use crate::{NetConfig, Result};

/// Activations between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) channels: usize,
    pub(super) side: usize,
}

/// What a convolution makes of a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvShape {
    /// Channels of its output.
    channels: usize,
    /// Side of the kernel.
    kernel: usize,
    stride: usize,
}

impl ConvShape {
    pub(super) fn one_by_one(channels: usize, stride: usize) -> Self {
        Self {
            channels,
            kernel: 1,
            stride,
        }
    }

    pub(super) fn three_by_three(channels: usize, stride: usize) -> Self {
        Self {
            channels,
            kernel: 3,
            stride,
        }
    }

    /// Whether the output has the size of the input.
    pub(super) fn keeps(self, input: Map) -> bool {
        self.stride == 1 && self.channels == input.channels
    }

    fn output(self, input: Map) -> Map {
        Map {
            channels: self.channels,
            side: input.side.div_ceil(self.stride),
        }
    }
}

pub(super) struct Builder {
    config: NetConfig,
    convs: Vec<ConvSpec>,
    norms: Vec<BatchNormSpec>,
    blocks: Vec<Block>,
    tensors: Vec<TensorSpec>,
}

impl Builder {
    pub(super) fn new(config: &NetConfig) -> Self {
        Self {
            config: config.clone(),
            convs: Vec::new(),
            norms: Vec::new(),
            blocks: Vec::new(),
            tensors: Vec::new(),
        }
    }

    pub(super) fn config(&self) -> &NetConfig {
        &self.config
    }

    /// The images.
    pub(super) fn images(&self) -> Map {
        Map {
            channels: self.config.in_channels,
            side: self.config.input_size,
        }
    }

    pub(super) fn block(&mut self, block: Block) {
        self.blocks.push(block);
    }

    /// A convolution on `input`, and the map it makes.
    pub(super) fn conv(
        &mut self,
        name: &str,
        input: Map,
        shape: ConvShape,
    ) -> Result<(ConvId, Map)> {
        let conv = Conv::new(input.channels, shape.channels, shape.kernel, shape.stride)?;
        let output = shape.output(input);
        let (tail, spectral) = match self.config.spectral_norm {
            None => ("weight", None),
            Some(coefficient) => ("weight_orig", Some(coefficient)),
        };
        let kernel = vec![shape.channels, input.channels, shape.kernel, shape.kernel];
        let weight = self.tensor(format!("{name}.{tail}"), kernel, Role::ConvWeight);
        let spectral = spectral.map(|coefficient| {
            // A 1×1 convolution is a matrix; the others are operators between whole maps.
            let (u, v) = if shape.kernel == 1 {
                (shape.channels, input.channels)
            } else {
                let values = |map: Map| map.channels * map.side * map.side;
                (values(output), values(input))
            };
            SpectralSpec {
                coefficient,
                u: self.tensor(format!("{name}.weight_u"), vec![u], Role::SpectralU),
                v: self.tensor(format!("{name}.weight_v"), vec![v], Role::SpectralV),
                sigma: self.tensor(format!("{name}.weight_sigma"), vec![1], Role::SpectralSigma),
            }
        });
        self.convs.push(ConvSpec {
            name: name.to_owned(),
            conv,
            input: input.side,
            output: output.side,
            weight,
            spectral,
        });
        Ok((ConvId(self.convs.len() - 1), output))
    }

    pub(super) fn norm(&mut self, name: &str, channels: usize) -> NormId {
        let mut vector =
            |tail: &str, role| self.tensor(format!("{name}.{tail}"), vec![channels], role);
        let weight = vector("weight", Role::BatchNormWeight);
        let bias = vector("bias", Role::BatchNormBias);
        let mean = vector("running_mean", Role::RunningMean);
        let variance = vector("running_var", Role::RunningVariance);
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
        NormId(self.norms.len() - 1)
    }

    /// A convolution and the batch norm behind it.
    pub(super) fn unit(
        &mut self,
        (conv, norm): (&str, &str),
        input: Map,
        shape: ConvShape,
    ) -> Result<(Unit, Map)> {
        let (conv, output) = self.conv(conv, input, shape)?;
        let norm = self.norm(norm, output.channels);
        Ok((Unit { conv, norm }, output))
    }

    /// The finished plan, with a head called `name` on the pooled map `last`.
    pub(super) fn head(mut self, name: &str, last: Map) -> Plan {
        let n_classes = self.config.n_classes;
        let weight = vec![n_classes, last.channels];
        Plan {
            head_weight: self.tensor(format!("{name}.weight"), weight, Role::LinearWeight),
            head_bias: self.tensor(format!("{name}.bias"), vec![n_classes], Role::LinearBias),
            n_features: last.channels,
            final_side: last.side,
            config: self.config,
            convs: self.convs,
            norms: self.norms,
            blocks: self.blocks,
            tensors: self.tensors,
        }
    }

    fn tensor(&mut self, name: String, shape: Vec<usize>, role: Role) -> TensorId {
        self.tensors.push(TensorSpec { name, shape, role });
        TensorId(self.tensors.len() - 1)
    }
}
