//! One training step: forward, loss, backward, clipping, SGD, average.

use std::collections::BTreeMap;

use collapse_kernels::Sgd;
use collapse_models::{Batch, Model, Optimizer, Output, Parameters, StepRule};
use collapse_numeric::argmax;
use ndarray::ArrayView1;

use crate::Result;
use crate::config::ValidTrainConfig;
use crate::loss::HeadView;

/// A network with all that training changes.
pub struct Learner {
    pub(crate) model: Box<dyn Model>,
    pub(crate) optimizer: Optimizer,
    config: ValidTrainConfig,
}

/// What a step found on its batch, before it changed the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The loss, mean over the batch.
    pub loss: f64,
    /// Named parts of the loss, where it has any.
    pub components: BTreeMap<&'static str, f64>,
    /// Images whose largest logit was the label's.
    pub hits: usize,
    /// Norm of the gradient before it was clipped; `None` where nothing is clipped.
    pub gradient_norm: Option<f64>,
}

impl StepResult {
    /// Whether loss and gradient are numbers and the loss is below the limit.
    pub(crate) fn is_sound(&self, limit: f64) -> bool {
        self.loss.is_finite() && self.loss <= limit && self.gradient_norm.is_none_or(f64::is_finite)
    }
}

impl Learner {
    /// A network before its first step.
    ///
    /// # Errors
    /// Those of the device that has its parameters.
    pub fn new(mut model: Box<dyn Model>, config: ValidTrainConfig) -> Result<Self> {
        let momentum = Parameters::zeros(model.plan());
        let average = match config.ema_decay {
            Some(_) => Some(model.parameters()?.clone()),
            None => None,
        };
        Ok(Self::resume(model, momentum, average, config))
    }

    /// A network where its training was left.
    #[must_use]
    pub(crate) fn resume(
        mut model: Box<dyn Model>,
        momentum: Parameters<f32>,
        average: Option<Parameters<f32>>,
        config: ValidTrainConfig,
    ) -> Self {
        model.seed_dropout(config.seed);
        Self {
            optimizer: Optimizer::new(momentum, average),
            model,
            config,
        }
    }

    /// The network.
    pub fn model(&mut self) -> &mut dyn Model {
        self.model.as_mut()
    }

    /// One step on `images` `[N]`, whose classes are `labels` `[N]`, with the given learning rate.
    ///
    /// # Errors
    /// Those of the network: images of another shape, a gradient that does not fit.
    pub fn step(
        &mut self,
        images: &Batch<'_, f32>,
        labels: &[usize],
        learning_rate: f64,
    ) -> Result<StepResult> {
        let n_classes = self.model.plan().n_classes();
        let loss = &self.config.loss;
        let mut result = StepResult {
            loss: f64::NAN,
            components: BTreeMap::new(),
            hits: 0,
            gradient_norm: None,
        };
        let sgd = &self.config.sgd;
        let rule = StepRule {
            sgd: Sgd {
                learning_rate: learning_rate as f32,
                momentum: sgd.momentum as f32,
                weight_decay: sgd.weight_decay as f32,
                nesterov: sgd.nesterov,
            },
            clip_norm: self.config.clip_norm,
            ema_decay: self.config.ema_decay,
        };
        let mut at_head = |output: &Output<f32>, weight: &[f32]| {
            let value = loss.evaluate(&HeadView {
                head_input: output.head_input(),
                logits: &output.logits,
                weight,
                labels,
                n_classes,
            });
            let rows = output.logits.chunks_exact(n_classes).zip(labels);
            result.hits = rows
                .filter(|(row, label)| argmax(ArrayView1::from(*row)) == **label)
                .count();
            (result.loss, result.components) = (value.value, value.components);
            value.gradient
        };
        let norm = self
            .model
            .train_step(images, &mut at_head, &rule, &mut self.optimizer)?;
        result.gradient_norm = norm;
        Ok(result)
    }

    /// Shows `look` the network as it is evaluated (the average of the weights where there is one); whatever it does
    /// there leaves no trace in the training.
    ///
    /// # Errors
    /// Those of the device that has the parameters.
    pub(crate) fn evaluated<R>(&mut self, look: impl FnOnce(&mut dyn Model) -> R) -> Result<R> {
        let kept = self.model.parameters()?.clone();
        if let Some(average) = self.optimizer.average()? {
            self.model.parameters_mut()?.clone_from(average);
        }
        let seen = look(self.model.as_mut());
        *self.model.parameters_mut()? = kept;
        Ok(seen)
    }

    /// The network as it is evaluated, for good.
    ///
    /// # Errors
    /// Those of the device that has the parameters.
    pub(crate) fn into_model(mut self) -> Result<Box<dyn Model>> {
        if let Some(average) = self.optimizer.average()? {
            self.model.parameters_mut()?.clone_from(average);
        }
        Ok(self.model)
    }
}
