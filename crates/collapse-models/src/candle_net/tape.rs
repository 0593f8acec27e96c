//! Gradients of the maps, operation by operation in reverse.
//!
//! candle's `backward` begins every sum of gradients with zeros: for almost every array one of its size is filled and another one
//! written, where the first gradient would have done. On a GPU that is more of a step than batch norm is.

use candle_core::{Tensor, TensorId as Id, Var};

use crate::Result;

/// Of an output's gradient, those of the inputs; none where it is not wanted.
type Back = Box<dyn FnOnce(&Tensor) -> Result<Vec<Option<Tensor>>>>;

struct Node {
    inputs: Vec<Id>,
    output: Id,
    back: Back,
}

/// What a pass did to tensors that gradients are wanted of. The tensors themselves carry no graph of candle's.
#[derive(Default)]
pub(super) struct Tape {
    nodes: Vec<Node>,
    /// Some hundred, which is few enough to look through.
    wanted: Vec<Id>,
}

impl Tape {
    /// Gradients of `tensor` are wanted, and so of all that is made of it.
    pub(super) fn want(&mut self, tensor: &Tensor) {
        self.wanted.push(tensor.id());
    }

    pub(super) fn wants(&self, tensor: &Tensor) -> bool {
        self.wanted.contains(&tensor.id())
    }

    /// `output` was made of `inputs`, whose gradients `back` makes of its own.
    pub(super) fn record<const N: usize>(
        &mut self,
        inputs: [&Tensor; N],
        output: &Tensor,
        back: impl FnOnce(&Tensor) -> Result<[Option<Tensor>; N]> + 'static,
    ) {
        if !inputs.iter().any(|input| self.wants(input)) {
            return;
        }
        self.want(output);
        self.nodes.push(Node {
            inputs: inputs.map(Tensor::id).into(),
            output: output.id(),
            back: Box::new(|gradient| Ok(back(gradient)?.into())),
        });
    }

    /// The gradients of all that is wanted, given that of `output`. What the operations kept is freed on the way.
    pub(super) fn backward(self, output: &Tensor, gradient: Tensor) -> Result<Sums> {
        let mut sums = Sums(vec![(output.id(), gradient)]);
        for node in self.nodes.into_iter().rev() {
            let Some(gradient) = sums.take(node.output) else {
                continue;
            };
            let gradients = (node.back)(&gradient)?;
            for (input, gradient) in node.inputs.into_iter().zip(gradients) {
                if let Some(gradient) = gradient.filter(|_| self.wanted.contains(&input)) {
                    sums.add(input, gradient)?;
                }
            }
        }
        Ok(sums)
    }
}

/// Gradients by tensor.
pub(super) struct Sums(Vec<(Id, Tensor)>);

impl Sums {
    fn add(&mut self, tensor: Id, gradient: Tensor) -> Result<()> {
        let sum = match self.take(tensor) {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        };
        self.0.push((tensor, sum));
        Ok(())
    }

    fn take(&mut self, tensor: Id) -> Option<Tensor> {
        let place = self.0.iter().position(|(id, _)| *id == tensor)?;
        Some(self.0.swap_remove(place).1)
    }

    pub(super) fn remove(&mut self, tensor: &Tensor) -> Option<Tensor> {
        self.take(tensor.id())
    }
}

/// `f` of the inputs; with a tape its gradient is candle's.
pub(super) fn through_candle<const N: usize>(
    tape: Option<&mut Tape>,
    inputs: [&Tensor; N],
    f: impl FnOnce(&[Tensor; N]) -> Result<Tensor>,
) -> Result<Tensor> {
    let mut seen = inputs.map(Tensor::clone);
    let Some(tape) = tape else {
        return f(&seen);
    };
    for input in seen.iter_mut().filter(|input| tape.wants(input)) {
        *input = Var::from_tensor(input)?.into_inner();
    }
    let tracked = f(&seen)?;
    let output = tracked.detach();
    tape.record(inputs, &output, move |gradient| {
        let store = (tracked * gradient)?.sum_all()?.backward()?;
        Ok(seen.map(|input| store.get(&input).map(Tensor::detach)))
    });
    Ok(output)
}
