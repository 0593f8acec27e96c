//! The face that training and feature extraction see, whatever the precision or device.

use collapse_kernels::NetworkElement;

use crate::{
    Batch, Gradients, HeadGradient, Network, Optimizer, Output, Parameters, Plan, Result, StepRule,
};

/// Computes the gradient at the head from the output of a training forward and the head's weights [C, D].
pub type LossFn<'a, P = f32> = dyn FnMut(&Output<P>, &[P]) -> HeadGradient<P> + 'a;

/// A network with f32 parameters: [`Network<f32>`] and [`Network<bf16>`](Network).
pub trait Model: Send {
    /// The layout.
    fn plan(&self) -> &Plan;

    /// All tensors, on the host.
    ///
    /// # Errors
    /// Those of the device that has them.
    fn parameters(&mut self) -> Result<&Parameters<f32>>;

    /// All tensors, to be changed on the host.
    ///
    /// # Errors
    /// Those of the device that has them.
    fn parameters_mut(&mut self) -> Result<&mut Parameters<f32>>;

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

    /// One step of training, where the network is: [`train_pass`](Self::train_pass), then [`Optimizer::step`]. Returns
    /// the gradient's norm before clipping, where it is clipped.
    ///
    /// # Errors
    /// Those of the two.
    fn train_step(
        &mut self,
        images: &Batch<'_, f32>,
        loss: &mut LossFn<'_>,
        rule: &StepRule,
        optimizer: &mut Optimizer,
    ) -> Result<Option<f64>> {
        let gradients = self.train_pass(images, loss)?;
        optimizer.step(self.parameters_mut()?, gradients, rule)
    }
}

impl<T: NetworkElement<Param = f32>> Model for Network<T> {
    fn plan(&self) -> &Plan {
        Network::plan(self)
    }

    fn parameters(&mut self) -> Result<&Parameters<f32>> {
        Ok(Network::parameters(self))
    }

    fn parameters_mut(&mut self) -> Result<&mut Parameters<f32>> {
        Ok(Network::parameters_mut(self))
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
        let (head_weight, _) = Network::plan(self).head_tensors();
        let gradient = loss(&output, Network::parameters(self).get(head_weight));
        self.backward(tape, gradient)
    }
}
