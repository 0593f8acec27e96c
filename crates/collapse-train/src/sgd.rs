//! The optimiser over all trainable tensors.

use collapse_kernels::{Sgd as Step, sgd_step};
use collapse_models::{Gradients, Model, Parameters, Plan, TensorId};

use crate::{Result, SgdConfig};

/// Momentum of every trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    config: SgdConfig,
    pub(crate) momentum: Vec<Vec<f32>>,
}

impl Sgd {
    /// Zero momentum for the tensors of `plan`.
    #[must_use]
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
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel) when the gradients are another network's.
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
        let trainable: Vec<TensorId> = parameters.trainable().collect();
        for id in trainable {
            sgd_step(
                parameters.get_mut(id),
                &mut self.momentum[id],
                gradients.get(id),
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
    for id in parameters.ids() {
        let source = parameters.get(id);
        if parameters.spec(id).role.is_trainable() {
            let (keep, take) = (decay as f32, (1.0 - decay) as f32);
            for (a, w) in average.get_mut(id).iter_mut().zip(source) {
                *a = keep * *a + take * w;
            }
        } else {
            average.get_mut(id).copy_from_slice(source);
        }
    }
}
