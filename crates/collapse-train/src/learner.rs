//! One training step: forward, loss, backward, clipping, SGD, average.

use std::collections::BTreeMap;

use collapse_models::{Batch, Gradients, Model, Parameters};
use collapse_numeric::argmax;
use ndarray::ArrayView1;

use crate::config::ValidTrainConfig;
use crate::loss::HeadView;
use crate::sgd::update_average;
use crate::{Result, Sgd};

/// A network with all that training changes.
pub struct Learner {
    pub(crate) model: Box<dyn Model>,
    pub(crate) sgd: Sgd,
    /// Moving average of the weights, where the configuration asks for one.
    pub(crate) average: Option<Parameters<f32>>,
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
    #[must_use]
    pub fn new(mut model: Box<dyn Model>, config: ValidTrainConfig) -> Self {
        model.seed_dropout(config.seed);
        Self {
            sgd: Sgd::new(config.sgd, model.plan()),
            average: config.ema_decay.map(|_| model.parameters().clone()),
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
        let (mut result, mut gradients) = self.pass(images, labels)?;
        if let Some(limit) = self.config.clip_norm {
            let norm = gradients.norm();
            result.gradient_norm = Some(norm);
            if norm > limit {
                gradients.scale(limit / norm);
            }
        }
        self.sgd
            .step(self.model.as_mut(), &gradients, learning_rate)?;
        if let (Some(average), Some(decay)) = (&mut self.average, self.config.ema_decay) {
            update_average(average, self.model.parameters(), decay);
        }
        Ok(result)
    }

    /// Forward, loss and backward.
    fn pass(
        &mut self,
        images: &Batch<'_, f32>,
        labels: &[usize],
    ) -> Result<(StepResult, Gradients<f32>)> {
        let n_classes = self.model.plan().n_classes();
        let (head, _) = self.model.plan().head_tensors();
        let loss = &self.config.loss;
        let mut result = StepResult {
            loss: f64::NAN,
            components: BTreeMap::new(),
            hits: 0,
            gradient_norm: None,
        };
        let gradients = self.model.train_pass(images, &mut |output, parameters| {
            let value = loss.evaluate(&HeadView {
                head_input: output.head_input(),
                logits: &output.logits,
                weight: parameters.get(head),
                labels,
                n_classes,
            });
            let rows = output.logits.chunks_exact(n_classes).zip(labels);
            result.hits = rows
                .filter(|(row, label)| argmax(ArrayView1::from(*row)) == **label)
                .count();
            (result.loss, result.components) = (value.value, value.components);
            value.gradient
        })?;
        Ok((result, gradients))
    }

    /// Shows `look` the network as it is evaluated (the average of the weights where there is one); whatever it does
    /// there leaves no trace in the training.
    pub(crate) fn evaluated<R>(&mut self, look: impl FnOnce(&mut dyn Model) -> R) -> R {
        let kept = self.model.parameters().clone();
        if let Some(average) = &self.average {
            self.model.parameters_mut().clone_from(average);
        }
        let seen = look(self.model.as_mut());
        *self.model.parameters_mut() = kept;
        seen
    }

    /// The network as it is evaluated, for good.
    pub(crate) fn into_model(mut self) -> Box<dyn Model> {
        if let Some(average) = self.average.take() {
            *self.model.parameters_mut() = average;
        }
        self.model
    }
}
