//! Blocks of the wide network: x + conv(dropout(act(bn(conv(act(bn(x))))))).
//!
//! Source: Zagoruyko and Komodakis (2016) as in DDU, `net/wide_resnet.py`.

use collapse_kernels::{
    Act, Activation, BatchNorm, Float, NetworkElement, Residual, add, bn_act_forward,
    channel_statistics, conv_forward, pool_pad_backward,
};

use super::Network;
use super::statistics::Statistics;
use crate::dropout::Dropout;
use crate::plan::{NormId, Shortcut, Unit};
use crate::{Gradients, Result};

/// What the backward of one block needs, beside its input.
pub(super) struct PreTape<T: NetworkElement> {
    statistics: [Statistics<T::Param>; 2],
    /// Input of the first convolution.
    first: Act<T>,
    /// Its output.
    y: Act<T>,
    /// Input of the second convolution, after dropout.
    second: Act<T>,
    /// The block's output.
    pub(super) out: Act<T>,
}

impl<T: NetworkElement> Network<T> {
    pub(super) fn pre_eval(
        &self,
        units: &[Unit; 2],
        shortcut: Shortcut,
        x: &Act<T>,
    ) -> Result<Act<T>> {
        let mut out: Option<Act<T>> = None;
        for unit in units {
            let input = out.as_ref().unwrap_or(x);
            let activated = self.activate(unit.norm, input, &self.running(unit.norm))?;
            out = Some(conv_forward(&activated, &self.packed[unit.conv], false)?.0);
        }
        match out {
            Some(y) => self.with_shortcut(shortcut, y, x),
            None => unreachable!("a block has two units"),
        }
    }

    pub(super) fn pre_train(
        &mut self,
        units: &[Unit; 2],
        shortcut: Shortcut,
        x: &Act<T>,
    ) -> Result<PreTape<T>> {
        let [one, two] = *units;
        let statistics = self.track(one.norm, channel_statistics(x)?);
        let first = self.activate(one.norm, x, &statistics)?;
        let inner = Unit {
            conv: one.conv,
            norm: two.norm,
        };
        let (y, inner_statistics) = self.conv_train(inner, &first)?;
        let mut second = self.activate(two.norm, &y, &inner_statistics)?;
        // What is dropped has output 0 and gradient 0, so the activation's backward, which looks
        // at the output's sign, needs no copy from before.
        if let Some(dropout) = self.dropout(two.norm) {
            dropout.apply(&mut second);
        }
        let (out, _) = conv_forward(&second, &self.packed[two.conv], false)?;
        let out = self.with_shortcut(shortcut, out, x)?;
        Ok(PreTape {
            statistics: [statistics, inner_statistics],
            first,
            y,
            second,
            out,
        })
    }

    /// y + shortcut(x).
    fn with_shortcut(&self, shortcut: Shortcut, y: Act<T>, x: &Act<T>) -> Result<Act<T>> {
        match shortcut {
            Shortcut::Identity => Ok(add(y, x)?),
            Shortcut::PoolPad { stride } => {
                let (zero, one) = (T::Param::ZERO, T::Param::ONE);
                let channels = y.shape().c;
                let (zeros, ones) = (vec![zero; channels], vec![one; channels]);
                let identity = BatchNorm {
                    mean: &zeros,
                    variance: &ones,
                    eps: zero,
                    weight: &ones,
                    bias: &zeros,
                };
                let residual = Residual::PoolPad { x, stride };
                let act = Activation::Identity;
                Ok(bn_act_forward(&y, &identity, act, residual)?)
            }
            Shortcut::Convolution(conv) => {
                let (around, _) = conv_forward(x, &self.packed[conv], false)?;
                Ok(add(y, &around)?)
            }
            Shortcut::None | Shortcut::Projection(_) => {
                unreachable!("no pre-activation block is planned with it")
            }
        }
    }

    /// The mask behind a batch norm in the forward that made its number of batches what it is.
    fn dropout(&self, norm: NormId) -> Option<Dropout> {
        let rate = self.plan.config.dropout;
        let tracked = self.parameters.get(self.plan.norms[norm].tracked)[0].to_f64() as u64;
        (rate > 0.0).then(|| Dropout::new(self.dropout_seed, norm, tracked, rate))
    }

    /// Gradient of the block's input.
    pub(super) fn pre_backward(
        &self,
        units: &[Unit; 2],
        shortcut: Shortcut,
        tape: PreTape<T>,
        x: &Act<T>,
        d_out: Act<T>,
        gradients: &mut Gradients<T::Param>,
    ) -> Result<Act<T>> {
        let [one, two] = *units;
        let PreTape {
            statistics,
            first,
            y,
            second,
            out,
        } = tape;
        drop(out);
        self.weight_backward(two.conv, &second, &d_out, gradients)?;
        let mut d_second = self.data_backward(two.conv, &d_out, second.shape(), None)?;
        if let Some(dropout) = self.dropout(two.norm) {
            dropout.apply(&mut d_second);
        }
        let outputs = (&y, &second);
        let (d_y, _) = self.norm_backward(
            two.norm,
            outputs,
            &statistics[1],
            d_second,
            false,
            gradients,
        )?;
        drop((y, second));
        self.weight_backward(one.conv, &first, &d_y, gradients)?;
        let d_first = self.data_backward(one.conv, &d_y, first.shape(), None)?;
        let outputs = (x, &first);
        let (d_x, _) =
            self.norm_backward(one.norm, outputs, &statistics[0], d_first, false, gradients)?;
        match shortcut {
            Shortcut::Identity => Ok(add(d_x, &d_out)?),
            Shortcut::PoolPad { stride } => {
                Ok(pool_pad_backward(&d_out, x.shape(), stride, Some(d_x))?)
            }
            Shortcut::Convolution(conv) => {
                self.weight_backward(conv, x, &d_out, gradients)?;
                self.data_backward(conv, &d_out, x.shape(), Some(d_x))
            }
            Shortcut::None | Shortcut::Projection(_) => {
                unreachable!("no pre-activation block is planned with it")
            }
        }
    }
}
