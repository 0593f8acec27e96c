//! The face that training and feature extraction see, whatever the precision or device.

use collapse_kernels::NetworkElement;

use crate::{Batch, Gradients, HeadGradient, Network, Output, Parameters, Plan, Result};

/// Computes the gradient at the head from the output and the parameters of a training forward.
pub type LossFn<'a, P = f32> = dyn FnMut(&Output<P>, &Parameters<P>) -> HeadGradient<P> + 'a;

/// A network with f32 parameters: [`Network<f32>`] and [`Network<bf16>`](Network).
pub trait Model: Send {
    /// The layout.
    fn plan(&self) -> &Plan;

    /// All tensors.
    fn parameters(&self) -> &Parameters<f32>;

    /// All tensors, to be changed.
    fn parameters_mut(&mut self) -> &mut Parameters<f32>;

    /// Decides the masks of dropout; see [`Network::seed_dropout`].
    fn seed_dropout(&mut self, seed: u64);

    /// Evaluation: running statistics, nothing updated but the recorded σ.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) or [`Error::Length`](crate::Error::Length) when the images are of another
    /// shape; those of the device.
    fn forward_eval(&mut self, images: &Batch<'_, f32>) -> Result<Output<f32>>;

    /// One training forward and backward; `loss` is called once in between.
    ///
    /// # Errors
    /// As [`forward_eval`](Self::forward_eval); [`Error::Length`](crate::Error::Length) when `loss` gives a gradient of
    /// another shape.
    fn train_pass(
        &mut self,
        images: &Batch<'_, f32>,
        loss: &mut LossFn<'_>,
    ) -> Result<Gradients<f32>>;
}

impl<T: NetworkElement<Param = f32>> Model for Network<T> {
    fn plan(&self) -> &Plan {
        Network::plan(self)
    }

    fn parameters(&self) -> &Parameters<f32> {
        Network::parameters(self)
    }

    fn parameters_mut(&mut self) -> &mut Parameters<f32> {
        Network::parameters_mut(self)
    }

    fn seed_dropout(&mut self, seed: u64) {
        Network::seed_dropout(self, seed);
    }

    fn forward_eval(&mut self, images: &Batch<'_, f32>) -> Result<Output<f32>> {
        Network::forward_eval(self, images)
    }

    fn train_pass(
        &mut self,
        images: &Batch<'_, f32>,
        loss: &mut LossFn<'_>,
    ) -> Result<Gradients<f32>> {
        let (output, tape) = self.forward_train(images)?;
        let gradient = loss(&output, self.parameters());
        self.backward(tape, gradient)
    }
}
