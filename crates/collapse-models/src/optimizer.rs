//! Stochastic gradient descent, and what it keeps between two steps.

use collapse_kernels::{Float, Sgd, sgd_step, within_pool};

use crate::mirror::Mirror;
use crate::{Gradients, Parameters, Result, TensorId};

/// What a step of training does with the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRule<P = f32> {
    /// Learning rate, momentum and weight decay, on every trainable tensor as in DDU.
    pub sgd: Sgd<P>,
    /// Largest norm of the gradient over all tensors, above 0: a longer one is scaled down to it.
    pub clip_norm: Option<f64>,
    /// Decay d of the average a ← d · a + (1 − d) · w, 0..=1, where the optimiser keeps one.
    pub ema_decay: Option<f64>,
}

/// Momentum and the average of the weights, on the device of the network that is trained.
///
/// Source: PyTorch's `torch.optim.SGD`.
#[derive(Clone, Debug)]
pub struct Optimizer<P = f32> {
    pub(crate) momentum: Mirror<P>,
    pub(crate) average: Option<Mirror<P>>,
}

impl<P: Float + candle_core::WithDType> Optimizer<P> {
    /// An optimiser with the momentum of every trainable tensor (zeros before the first step) and, where the average
    /// of the weights is wanted, with it.
    #[must_use]
    pub fn new(momentum: Parameters<P>, average: Option<Parameters<P>>) -> Self {
        Self {
            momentum: Mirror::new(momentum),
            average: average.map(Mirror::new),
        }
    }

    /// The momentum of every trainable tensor.
    ///
    /// # Errors
    /// [`Error::Candle`](crate::Error::Candle) when the device fails.
    pub fn momentum(&mut self) -> Result<&Parameters<P>> {
        self.momentum.host()
    }

    /// The average of the weights; batch-norm and spectral state in it are those of the last step.
    ///
    /// # Errors
    /// As [`momentum`](Self::momentum).
    pub fn average(&mut self) -> Result<Option<&Parameters<P>>> {
        self.average.as_mut().map(Mirror::host).transpose()
    }

    /// Momentum and average together: what a checkpoint stores.
    ///
    /// # Errors
    /// As [`momentum`](Self::momentum).
    pub fn state(&mut self) -> Result<(&Parameters<P>, Option<&Parameters<P>>)> {
        let average = self.average.as_mut().map(Mirror::host).transpose()?;
        Ok((self.momentum.host()?, average))
    }

    /// Clips the gradient and steps along it, on the host; returns the gradient's norm where it is clipped.
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel) when the gradients are another network's; as [`momentum`](Self::momentum).
    pub fn step(
        &mut self,
        parameters: &mut Parameters<P>,
        mut gradients: Gradients<P>,
        rule: &StepRule<P>,
    ) -> Result<Option<f64>> {
        let norm = rule.clip_norm.map(|limit| {
            let norm = gradients.norm();
            if norm > limit {
                gradients.scale(limit / norm);
            }
            norm
        });
        let momentum = self.momentum.host_mut()?;
        let trainable: Vec<TensorId> = parameters.trainable().collect();
        within_pool(|| {
            trainable.into_iter().try_for_each(|id| {
                let (weights, momentum) = (parameters.get_mut(id), momentum.get_mut(id));
                sgd_step(weights, momentum, gradients.get(id), rule.sgd)
            })
        })?;
        if let (Some(average), Some(decay)) = (&mut self.average, rule.ema_decay) {
            update_average(average.host_mut()?, parameters, decay);
        }
        Ok(norm)
    }
}

/// average ← d · average + (1 − d) · weights; statistics are copied.
fn update_average<P: Float>(average: &mut Parameters<P>, parameters: &Parameters<P>, decay: f64) {
    for id in parameters.ids() {
        let source = parameters.get(id);
        if parameters.spec(id).role.is_trainable() {
            let (keep, take) = (P::from_f64(decay), P::from_f64(1.0 - decay));
            for (a, w) in average.get_mut(id).iter_mut().zip(source) {
                *a = keep * *a + take * *w;
            }
        } else {
            average.get_mut(id).copy_from_slice(source);
        }
    }
}
