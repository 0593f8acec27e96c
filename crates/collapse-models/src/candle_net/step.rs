//! A step of training that leaves everything on the device: only images go there, and only outputs come back.

use candle_core::{DType, Device, Tensor, WithDType};
use collapse_kernels::Float;

use super::CandleNet;
use super::operations::sgd_step;
use crate::mirror::host;
use crate::{Batch, LossFn, Optimizer, Result, StepRule, TensorId};

impl<P: Float + WithDType> CandleNet<P> {
    /// One step of training on the network's device, where parameters, momentum and average stay: as
    /// [`train_pass`](Self::train_pass) and [`Optimizer::step`], but nothing is brought to the host. Returns the
    /// gradient's norm before clipping, where it is clipped.
    ///
    /// # Errors
    /// As [`train_pass`](Self::train_pass).
    pub fn train_step(
        &mut self,
        images: &Batch<'_, P>,
        loss: &mut LossFn<'_, P>,
        rule: &StepRule<P>,
        optimizer: &mut Optimizer<P>,
    ) -> Result<Option<f64>> {
        let mut gradients = self.gradients(images, loss)?;
        let norm = match rule.clip_norm {
            Some(limit) => Some(clip(&mut gradients, limit)?),
            None => None,
        };
        let device = self.device.clone();
        let weights = self.tensors.device(&device)?;
        let momentum = optimizer.momentum.device(&device)?;
        let (mut new_weights, mut new_momentum) = (Vec::new(), Vec::new());
        for (id, gradient) in gradients {
            let (w, v) = sgd_step(&weights[id], &momentum[id], &gradient, &rule.sgd)?;
            new_weights.push((id, w));
            new_momentum.push((id, v));
        }
        self.tensors.replace(new_weights, &device)?;
        optimizer.momentum.replace(new_momentum, &device)?;
        if let (Some(average), Some(decay)) = (&mut optimizer.average, rule.ema_decay) {
            let (weights, old) = (self.tensors.device(&device)?, average.device(&device)?);
            let mut new = Vec::new();
            for (id, spec) in self.plan.tensor_ids() {
                let tensor = match spec.role.is_trainable() {
                    true => ((&old[id] * decay)? + (&weights[id] * (1.0 - decay))?)?,
                    false => weights[id].clone(),
                };
                new.push((id, tensor));
            }
            average.replace(new, &device)?;
        }
        Ok(norm)
    }
}

/// Scales gradients to a norm of at most `limit` over all of them; the norm they had, summed in f64 where the device
/// has it.
fn clip(gradients: &mut [(TensorId, Tensor)], limit: f64) -> Result<f64> {
    let squares = gradients.iter().map(|(_, gradient)| {
        let wide = match gradient.device() {
            Device::Metal(_) => gradient.clone(),
            _ => gradient.to_dtype(DType::F64)?,
        };
        Ok(wide.sqr()?.sum_all()?.to_dtype(DType::F64)?)
    });
    let squares = squares.collect::<Result<Vec<Tensor>>>()?;
    let norm = host::<f64>(&Tensor::stack(&squares, 0)?)?
        .iter()
        .sum::<f64>()
        .sqrt();
    if norm > limit {
        for (_, gradient) in gradients {
            *gradient = (&*gradient * (limit / norm))?;
        }
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use collapse_kernels::Sgd;

    use super::*;
    use crate::mirror::Mirror;
    use crate::{HeadGradient, Net, NetConfig, Parameters};

    #[test]
    fn nothing_is_brought_to_the_host_between_steps() {
        let mut config = NetConfig::new(Net::Resnet18, 3);
        (config.width, config.input_size) = (4, 8);
        let parameters = Parameters::<f32>::initialise(&config, 1).unwrap();
        let momentum = Parameters::zeros(&config.plan().unwrap());
        let mut optimizer = Optimizer::new(momentum, Some(parameters.clone()));
        let mut net = CandleNet::new(&config, parameters, Device::Cpu).unwrap();
        let rule = StepRule {
            sgd: Sgd {
                learning_rate: 0.1,
                momentum: 0.9,
                weight_decay: 0.0,
                nesterov: false,
            },
            clip_norm: Some(1.0),
            ema_decay: Some(0.9),
        };
        let images = vec![0.5; 2 * 3 * 64];
        let images = Batch::nchw(2, 8, 3, &images);
        for _ in 0..2 {
            let mut loss = |_: &crate::Output<f32>, _: &[f32]| {
                HeadGradient::of_logits(vec![1.0, -1.0, 0.0, 0.0, 1.0, -1.0])
            };
            net.train_step(&images, &mut loss, &rule, &mut optimizer)
                .unwrap();
            net.forward_eval(&images).unwrap();
        }
        assert!(net.tensors.is_ahead_on_device());
        assert!(optimizer.momentum.is_ahead_on_device());
        assert!(
            optimizer
                .average
                .as_ref()
                .is_some_and(Mirror::is_ahead_on_device)
        );
        // And is there when it is asked for.
        let trained = net.parameters().unwrap().clone();
        assert!(!net.tensors.is_ahead_on_device());
        assert_ne!(trained, Parameters::initialise(&config, 1).unwrap());
    }
}
