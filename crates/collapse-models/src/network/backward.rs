//! The backward pass: gradients of every parameter from the gradient at the head.

use collapse_kernels::{
    Act, Activation, Float, NetworkElement, Shape, bn_act_backward, conv_backward_data,
    conv_backward_weights, global_avg_pool_backward, max_pool2_backward, pool_pad_backward,
    within_pool,
};

use super::forward::{BlockTape, Tape, UnitTape};
use super::{Network, Statistics};
use crate::plan::{Block, ConvId, NormId, Shortcut, Unit};
use crate::{Error, Gradients, Result};

/// Gradient of the loss at the head; what is absent counts as zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeadGradient<P> {
    /// With respect to the logits, [N, C].
    pub logits: Option<Vec<P>>,
    /// With respect to what the head saw (ẑ or z), [N, D], beside the part through the logits.
    pub head_input: Option<Vec<P>>,
    /// With respect to the head's weights, [C, D], beside the part through the logits.
    pub weight: Option<Vec<P>>,
}

impl<P> HeadGradient<P> {
    /// The usual case: a loss of the logits alone.
    #[must_use]
    pub fn of_logits(logits: Vec<P>) -> Self {
        Self {
            logits: Some(logits),
            head_input: None,
            weight: None,
        }
    }

    pub(crate) fn check(&self, n: usize, d: usize, c: usize) -> Result<()> {
        let parts = [
            ("gradient of the logits", &self.logits, n * c),
            ("gradient of the head's input", &self.head_input, n * d),
            ("gradient of the head's weights", &self.weight, c * d),
        ];
        for (name, part, expected) in parts {
            if let Some(part) = part
                && part.len() != expected
            {
                return Err(Error::Length {
                    name: name.to_owned(),
                    expected,
                    found: part.len(),
                });
            }
        }
        Ok(())
    }
}

impl<T: NetworkElement> Network<T> {
    /// Gradients of every trainable tensor; activations are freed as they are passed.
    ///
    /// The parameters must be those of the forward that made the tape.
    ///
    /// # Errors
    /// [`Error::Length`] when a part of `gradient` has another shape than the head's.
    pub fn backward(
        &self,
        tape: Tape<T>,
        gradient: HeadGradient<T::Param>,
    ) -> Result<Gradients<T::Param>> {
        within_pool(|| self.backward_through(tape, gradient))
    }

    fn backward_through(
        &self,
        tape: Tape<T>,
        gradient: HeadGradient<T::Param>,
    ) -> Result<Gradients<T::Param>> {
        let Tape {
            images,
            mut blocks,
            final_shape,
            features,
            normalized,
        } = tape;
        let mut gradients = Gradients::zeros(&self.plan);
        let (weight, bias, features) =
            self.head_backward(&features, normalized.as_deref(), gradient)?;
        gradients.values[self.plan.head_weight] = weight;
        gradients.values[self.plan.head_bias] = bias;

        let mut d_out = global_avg_pool_backward(&features, final_shape, self.plan.final_side)?;
        for block in self.plan.blocks.iter().rev() {
            let Some(tape) = blocks.pop() else { break };
            let below = blocks.last().and_then(BlockTape::output);
            let first = below.is_none();
            let input = below.unwrap_or(&images);
            match self.block_backward(block, tape, input, d_out, first, &mut gradients)? {
                Some(d_input) => d_out = d_input,
                None => break,
            }
        }
        Ok(gradients)
    }

    /// Returns the gradient of the block's input, or `None` for the images.
    fn block_backward(
        &self,
        block: &Block,
        tape: BlockTape<T>,
        input: &Act<T>,
        d_out: Act<T>,
        first: bool,
        gradients: &mut Gradients<T::Param>,
    ) -> Result<Option<Act<T>>> {
        match (block, tape) {
            (
                Block::PostActivation {
                    units, shortcut, ..
                },
                tape @ BlockTape::PostActivation { .. },
            ) => self.post_backward((units, *shortcut), tape, input, d_out, first, gradients),
            (Block::PreActivation { units, shortcut }, BlockTape::PreActivation(tape)) => self
                .pre_backward(units, *shortcut, tape, input, d_out, gradients)
                .map(Some),
            (&Block::Convolution(conv), BlockTape::Convolution(_)) => {
                self.weight_backward(conv, input, &d_out, gradients)?;
                if first {
                    return Ok(None);
                }
                let d_input = self.data_backward(conv, &d_out, input.shape(), None)?;
                Ok(Some(d_input))
            }
            (&Block::Activation(norm), BlockTape::Activation { statistics, out }) => {
                let outputs = (input, &out);
                let (d_input, _) =
                    self.norm_backward(norm, outputs, &statistics, d_out, false, gradients)?;
                Ok(Some(d_input))
            }
            _ => unreachable!("the tape was made from the same plan"),
        }
    }

    fn post_backward(
        &self,
        (block, shortcut): (&[Unit], Shortcut),
        tape: BlockTape<T>,
        input: &Act<T>,
        mut d_out: Act<T>,
        first: bool,
        gradients: &mut Gradients<T::Param>,
    ) -> Result<Option<Act<T>>> {
        let BlockTape::PostActivation {
            mut units,
            projection,
            pooled,
        } = tape
        else {
            unreachable!("the caller has matched the tape");
        };
        if let (Some(_), Some(last)) = (pooled, units.last()) {
            d_out = max_pool2_backward(&d_out, &last.out)?;
        }
        let mut at_sum: Option<Act<T>> = None;
        for (i, &unit) in block.iter().enumerate().rev() {
            let Some(UnitTape { y, statistics, out }) = units.pop() else {
                break;
            };
            let want_g = i + 1 == block.len() && !matches!(shortcut, Shortcut::None);
            let (d_y, g) =
                self.norm_backward(unit.norm, (&y, &out), &statistics, d_out, want_g, gradients)?;
            drop((y, out));
            if want_g {
                at_sum = g;
            }
            let unit_input = units.last().map_or(input, |unit| &unit.out);
            self.weight_backward(unit.conv, unit_input, &d_y, gradients)?;
            if i == 0 && first {
                return Ok(None);
            }
            // The identity's gradient is added while the data gradient is written.
            let accumulate = match shortcut {
                Shortcut::Identity if i == 0 => at_sum.take(),
                _ => None,
            };
            d_out = self.data_backward(unit.conv, &d_y, unit_input.shape(), accumulate)?;
        }
        let Some(g) = at_sum else {
            return Ok(Some(d_out));
        };
        match (shortcut, projection) {
            (Shortcut::PoolPad { stride }, _) => Ok(Some(pool_pad_backward(
                &g,
                input.shape(),
                stride,
                Some(d_out),
            )?)),
            (Shortcut::Projection(unit), Some((y, statistics))) => {
                let bn = self.batch_norm(unit.norm, &statistics);
                let back = bn_act_backward(g, &y, &y, &bn, Activation::Identity, false)?;
                let spec = &self.plan.norms[unit.norm];
                gradients.values[spec.weight] = back.dweight;
                gradients.values[spec.bias] = back.dbias;
                self.weight_backward(unit.conv, input, &back.dy, gradients)?;
                Ok(Some(self.data_backward(
                    unit.conv,
                    &back.dy,
                    input.shape(),
                    Some(d_out),
                )?))
            }
            _ => Ok(Some(d_out)),
        }
    }

    /// Gradient of a batch norm's input, given its input and the activation's output; with
    /// `want_g` also the gradient before the activation.
    pub(super) fn norm_backward(
        &self,
        norm: NormId,
        (y, out): (&Act<T>, &Act<T>),
        statistics: &Statistics<T::Param>,
        d_out: Act<T>,
        want_g: bool,
        gradients: &mut Gradients<T::Param>,
    ) -> Result<(Act<T>, Option<Act<T>>)> {
        let bn = self.batch_norm(norm, statistics);
        let back = bn_act_backward(d_out, out, y, &bn, self.plan.activation(), want_g)?;
        let spec = &self.plan.norms[norm];
        gradients.values[spec.weight] = back.dweight;
        gradients.values[spec.bias] = back.dbias;
        Ok((back.dy, back.g))
    }

    pub(super) fn weight_backward(
        &self,
        conv: ConvId,
        input: &Act<T>,
        d_y: &Act<T>,
        gradients: &mut Gradients<T::Param>,
    ) -> Result<()> {
        let spec = &self.plan.convs[conv];
        let gradient = &mut gradients.values[spec.weight];
        let scale = T::Param::from_f64(self.scalings[conv].scale);
        conv_backward_weights(input, d_y, spec.conv, scale, gradient)?;
        self.spectral_backward(conv, gradient)
    }

    pub(super) fn data_backward(
        &self,
        conv: ConvId,
        d_y: &Act<T>,
        input: Shape,
        accumulate: Option<Act<T>>,
    ) -> Result<Act<T>> {
        Ok(conv_backward_data(
            d_y,
            &self.packed[conv],
            input,
            accumulate,
        )?)
    }
}
