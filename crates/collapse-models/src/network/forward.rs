//! The forward pass: evaluation with running statistics, training with those of the batch.

use collapse_kernels::{
    Act, BatchNorm, ChannelStatistics, Float, NetworkElement, Residual, Shape, bn_act_forward,
    channel_statistics, conv_forward, global_avg_pool, max_pool2, within_pool,
};

use super::pre_activation::PreTape;
use super::statistics::Statistics;
use super::{BATCH_NORM_EPSILON, Batch, Network, Output, Packed};
use crate::plan::{BatchNormSpec, Block, NormId, Shortcut, Unit};
use crate::{Parameters, Result};

/// What the backward of one unit needs.
pub(super) struct UnitTape<T: NetworkElement> {
    /// The convolution's output.
    pub(super) y: Act<T>,
    pub(super) statistics: Statistics<T::Param>,
    /// The unit's output after batch norm, shortcut and activation.
    pub(super) out: Act<T>,
}

/// What the backward of one block needs.
pub(super) enum BlockTape<T: NetworkElement> {
    PostActivation {
        units: Vec<UnitTape<T>>,
        /// Output and statistics of the projection's convolution.
        projection: Option<(Act<T>, Statistics<T::Param>)>,
        /// Output of the max pooling, where there is one.
        pooled: Option<Act<T>>,
    },
    PreActivation(PreTape<T>),
    Convolution(Act<T>),
    Activation {
        statistics: Statistics<T::Param>,
        out: Act<T>,
    },
}

impl<T: NetworkElement> BlockTape<T> {
    pub(super) fn output(&self) -> Option<&Act<T>> {
        match self {
            Self::PostActivation { units, pooled, .. } => {
                pooled.as_ref().or(units.last().map(|unit| &unit.out))
            }
            Self::PreActivation(tape) => Some(&tape.out),
            Self::Convolution(out) | Self::Activation { out, .. } => Some(out),
        }
    }
}

/// Activations kept by [`Network::forward_train`] for [`Network::backward`].
pub struct Tape<T: NetworkElement> {
    pub(super) images: Act<T>,
    pub(super) blocks: Vec<BlockTape<T>>,
    pub(super) final_shape: Shape,
    pub(super) features: Vec<T::Param>,
    pub(super) normalized: Option<Vec<T::Param>>,
}

pub(super) fn batch_norm<'a, P: Float>(
    parameters: &'a Parameters<P>,
    spec: &BatchNormSpec,
    mean: &'a [P],
    variance: &'a [P],
) -> BatchNorm<'a, P> {
    BatchNorm {
        mean,
        variance,
        eps: P::from_f64(BATCH_NORM_EPSILON),
        weight: parameters.get(spec.weight),
        bias: parameters.get(spec.bias),
    }
}

impl<T: NetworkElement> Network<T> {
    /// Evaluation: running statistics, frozen spectral vectors, nothing kept.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) when the images are of another shape,
    /// [`Error::Kernel`](crate::Error::Kernel) when a buffer is.
    pub fn forward_eval(&mut self, images: &Batch<'_, T::Param>) -> Result<Output<T::Param>> {
        within_pool(|| {
            let mut x = self.images(images)?;
            self.prepare(Packed::Eval)?;
            for block in &self.plan.blocks {
                x = self.block_eval(block, x)?;
            }
            let features = global_avg_pool(&x, self.plan.final_side)?;
            Ok(self.head_forward(images.shape.n, features, false))
        })
    }

    fn block_eval(&self, block: &Block, x: Act<T>) -> Result<Act<T>> {
        match block {
            Block::PostActivation {
                units,
                shortcut,
                max_pool,
            } => self.post_eval(units, *shortcut, *max_pool, x),
            Block::PreActivation { units, shortcut } => self.pre_eval(units, *shortcut, &x),
            &Block::Convolution(conv) => Ok(conv_forward(&x, &self.packed[conv], false)?.0),
            &Block::Activation(norm) => self.activate(norm, &x, &self.running(norm)),
        }
    }

    /// The running statistics of a batch norm.
    pub(super) fn running(&self, norm: NormId) -> Statistics<T::Param> {
        let spec = &self.plan.norms[norm];
        Statistics {
            mean: self.parameters.get(spec.mean).to_vec(),
            variance: self.parameters.get(spec.variance).to_vec(),
        }
    }

    /// Batch norm and activation.
    pub(super) fn activate(
        &self,
        norm: NormId,
        x: &Act<T>,
        statistics: &Statistics<T::Param>,
    ) -> Result<Act<T>> {
        let bn = self.batch_norm(norm, statistics);
        let activation = self.plan.activation();
        Ok(bn_act_forward(x, &bn, activation, Residual::None)?)
    }

    fn post_eval(
        &self,
        units: &[Unit],
        shortcut: Shortcut,
        max_pool: bool,
        x: Act<T>,
    ) -> Result<Act<T>> {
        let running = |unit: Unit| {
            let spec = &self.plan.norms[unit.norm];
            let (mean, variance) = (
                self.parameters.get(spec.mean),
                self.parameters.get(spec.variance),
            );
            batch_norm(&self.parameters, spec, mean, variance)
        };
        let activation = self.plan.activation();
        let projected = match shortcut {
            Shortcut::Projection(unit) => {
                Some((conv_forward(&x, &self.packed[unit.conv], false)?.0, unit))
            }
            _ => None,
        };
        let mut out: Option<Act<T>> = None;
        for (i, &unit) in units.iter().enumerate() {
            let input = out.as_ref().unwrap_or(&x);
            let (y, _) = conv_forward(input, &self.packed[unit.conv], false)?;
            let residual = match (shortcut, &projected) {
                _ if i + 1 < units.len() => Residual::None,
                (Shortcut::None, _) => Residual::None,
                (Shortcut::PoolPad { stride }, _) => Residual::PoolPad { x: &x, stride },
                (Shortcut::Projection(_), Some((y, unit))) => Residual::BatchNorm {
                    y,
                    bn: running(*unit),
                },
                _ => Residual::Identity(&x),
            };
            out = Some(bn_act_forward(&y, &running(unit), activation, residual)?);
        }
        let out = out.unwrap_or(x);
        Ok(if max_pool { max_pool2(&out)? } else { out })
    }

    /// Training: batch statistics, one power iteration, running statistics updated.
    ///
    /// # Errors
    /// As [`forward_eval`](Self::forward_eval).
    pub fn forward_train(
        &mut self,
        images: &Batch<'_, T::Param>,
    ) -> Result<(Output<T::Param>, Tape<T>)> {
        within_pool(|| self.forward_and_keep(images))
    }

    fn forward_and_keep(
        &mut self,
        images: &Batch<'_, T::Param>,
    ) -> Result<(Output<T::Param>, Tape<T>)> {
        let images_act = self.images(images)?;
        self.prepare(Packed::Train)?;
        let mut blocks: Vec<BlockTape<T>> = Vec::with_capacity(self.plan.blocks.len());
        for i in 0..self.plan.blocks.len() {
            let block = self.plan.blocks[i].clone();
            let x = blocks.last().and_then(BlockTape::output);
            let tape = self.block_train(&block, x.unwrap_or(&images_act))?;
            blocks.push(tape);
        }
        let last = blocks
            .last()
            .and_then(BlockTape::output)
            .unwrap_or(&images_act);
        let final_shape = last.shape();
        let features = global_avg_pool(last, self.plan.final_side)?;
        let output = self.head_forward(images.shape.n, features, true);
        let tape = Tape {
            images: images_act,
            blocks,
            final_shape,
            features: output.features.clone(),
            normalized: output.normalized.clone(),
        };
        Ok((output, tape))
    }

    /// Convolution with the batch's statistics, which also enter the running ones.
    pub(super) fn conv_train(
        &mut self,
        unit: Unit,
        x: &Act<T>,
    ) -> Result<(Act<T>, Statistics<T::Param>)> {
        let (y, statistics) = conv_forward(x, &self.packed[unit.conv], true)?;
        let Some(statistics) = statistics else {
            unreachable!("the kernel was asked for statistics");
        };
        Ok((y, self.track(unit.norm, statistics)))
    }

    /// Lets the statistics of a batch enter the running ones.
    pub(super) fn track(
        &mut self,
        norm: NormId,
        statistics: ChannelStatistics<T::Param>,
    ) -> Statistics<T::Param> {
        let count = statistics.count as f64;
        let unbiased = count / (count - 1.0).max(1.0);
        let momentum = self.plan.batch_norm_momentum();
        let spec = &self.plan.norms[norm];
        let track = |running: &mut [T::Param], batch: &[T::Param], factor: f64| {
            for (r, b) in running.iter_mut().zip(batch) {
                let value = (1.0 - momentum) * r.to_f64() + momentum * factor * b.to_f64();
                *r = T::Param::from_f64(value);
            }
        };
        track(self.parameters.get_mut(spec.mean), &statistics.mean, 1.0);
        track(
            self.parameters.get_mut(spec.variance),
            &statistics.variance,
            unbiased,
        );
        self.parameters.get_mut(spec.tracked)[0] += T::Param::ONE;
        Statistics {
            mean: statistics.mean,
            variance: statistics.variance,
        }
    }

    fn block_train(&mut self, block: &Block, x: &Act<T>) -> Result<BlockTape<T>> {
        Ok(match block {
            Block::PostActivation {
                units,
                shortcut,
                max_pool,
            } => self.post_train(units, *shortcut, *max_pool, x)?,
            Block::PreActivation { units, shortcut } => {
                BlockTape::PreActivation(self.pre_train(units, *shortcut, x)?)
            }
            &Block::Convolution(conv) => {
                BlockTape::Convolution(conv_forward(x, &self.packed[conv], false)?.0)
            }
            &Block::Activation(norm) => {
                let statistics = self.track(norm, channel_statistics(x)?);
                let out = self.activate(norm, x, &statistics)?;
                BlockTape::Activation { statistics, out }
            }
        })
    }

    fn post_train(
        &mut self,
        units: &[Unit],
        shortcut: Shortcut,
        max_pool: bool,
        x: &Act<T>,
    ) -> Result<BlockTape<T>> {
        let activation = self.plan.activation();
        let projection = match shortcut {
            Shortcut::Projection(unit) => Some((unit, self.conv_train(unit, x)?)),
            _ => None,
        };
        let mut tapes: Vec<UnitTape<T>> = Vec::with_capacity(units.len());
        for (i, &unit) in units.iter().enumerate() {
            let input = tapes.last().map_or(x, |unit| &unit.out);
            let (y, statistics) = self.conv_train(unit, input)?;
            let residual = match (shortcut, &projection) {
                _ if i + 1 < units.len() => Residual::None,
                (Shortcut::None, _) => Residual::None,
                (Shortcut::PoolPad { stride }, _) => Residual::PoolPad { x, stride },
                (Shortcut::Projection(_), Some((unit, (y, statistics)))) => Residual::BatchNorm {
                    y,
                    bn: self.batch_norm(unit.norm, statistics),
                },
                _ => Residual::Identity(x),
            };
            let bn = self.batch_norm(unit.norm, &statistics);
            let out = bn_act_forward(&y, &bn, activation, residual)?;
            tapes.push(UnitTape { y, statistics, out });
        }
        let pooled = match tapes.last() {
            Some(unit) if max_pool => Some(max_pool2(&unit.out)?),
            _ => None,
        };
        Ok(BlockTape::PostActivation {
            units: tapes,
            projection: projection.map(|(_, kept)| kept),
            pooled,
        })
    }

    pub(super) fn batch_norm<'a>(
        &'a self,
        norm: NormId,
        statistics: &'a Statistics<T::Param>,
    ) -> BatchNorm<'a, T::Param> {
        batch_norm(
            &self.parameters,
            &self.plan.norms[norm],
            &statistics.mean,
            &statistics.variance,
        )
    }
}
