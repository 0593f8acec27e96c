//! The optimiser over all trainable tensors.

use collapse_kernels::{Sgd as Step, sgd_step};
use collapse_models::{Gradients, Model, Parameters, Plan};

use crate::{Result, SgdConfig};

/// Momentum of every trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    config: SgdConfig,
    pub(crate) momentum: Vec<Vec<f32>>,
}

impl Sgd {
    /// Zero momentum for the tensors of `plan`.
    pub fn new(config: SgdConfig, plan: &Plan) -> Self {
        let momentum = plan
            .tensors()
            .iter()
            .map(|spec| {
                vec![
                    0.0;
                    if spec.role.is_trainable() {
                        spec.len()
                    } else {
                        0
                    }
                ]
            })
            .collect();
        Self { config, momentum }
    }

    /// One step with the given rate.
    ///
    /// Source: PyTorch's `torch.optim.SGD`; weight decay on every parameter as in DDU.
    pub fn step(
        &mut self,
        model: &mut dyn Model,
        gradients: &Gradients<f32>,
        learning_rate: f64,
    ) -> Result<()> {
        let step = Step {
            learning_rate: learning_rate as f32,
            momentum: self.config.momentum as f32,
            weight_decay: self.config.weight_decay as f32,
            nesterov: self.config.nesterov,
        };
        let parameters = model.parameters_mut();
        let trainable: Vec<usize> = parameters.trainable().collect();
        for i in trainable {
            sgd_step(
                parameters.get_mut(i),
                &mut self.momentum[i],
                gradients.get(i),
                step,
            )?;
        }
        Ok(())
    }
}

/// average ← d · average + (1 − d) · weights; statistics are copied.
pub(crate) fn update_average(
    average: &mut Parameters<f32>,
    parameters: &Parameters<f32>,
    decay: f64,
) {
    for i in 0..parameters.len() {
        let source = parameters.get(i);
        if parameters.specs()[i].role.is_trainable() {
            let (keep, take) = (decay as f32, (1.0 - decay) as f32);
            for (a, w) in average.get_mut(i).iter_mut().zip(source) {
                *a = keep * *a + take * w;
            }
        } else {
            average.get_mut(i).copy_from_slice(source);
        }
    }
}
