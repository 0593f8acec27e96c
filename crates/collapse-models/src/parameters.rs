//! The tensors of a network by name, and gradients in the same order.

use collapse_kernels::Float;

use crate::{Error, Net, NetConfig, Plan, Result, Role, TensorId, TensorSpec};
use collapse_random::Stream;

/// All tensors of a network (weights, batch-norm statistics, spectral vectors), each a flat
/// row-major buffer, in the order of PyTorch's `state_dict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters<P> {
    specs: Vec<TensorSpec>,
    values: Vec<Vec<P>>,
}

/// Gradients of the trainable tensors, indexed as [`Parameters`]; empty for the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<P> {
    pub(crate) values: Vec<Vec<P>>,
}

impl<P: Float> Parameters<P> {
    /// PyTorch's default initialisation, drawn from the streams (seed, "init", tensor).
    ///
    /// Convolution and head weights and the head's bias are uniform in ±1/√fan_in
    /// (Kaiming-uniform with a = √5); batch norm starts at scale 1, offset 0, mean 0,
    /// variance 1; u and v are normal draws of unit length; σ is 1.
    /// Source: PyTorch `nn.Conv2d`, `nn.Linear`, `nn.BatchNorm2d`; DDU's spectral norm.
    ///
    /// The wide network draws convolution and head weights from a normal distribution of variance
    /// 2/fan_out and starts the head's bias at 0. Source: DDU, `net/wide_resnet.py`.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration has no meaning.
    pub fn initialise(config: &NetConfig, seed: u64) -> Result<Self> {
        let plan = config.plan()?;
        let specs = plan.tensors().to_vec();
        let values = specs
            .iter()
            .enumerate()
            .map(|(index, spec)| {
                let stream = Stream::new(seed, "init", index as u64);
                initial_tensor(spec, &plan, stream)
            })
            .collect();
        Ok(Self { specs, values })
    }

    /// All values zero.
    #[must_use]
    pub fn zeros(plan: &Plan) -> Self {
        let specs = plan.tensors().to_vec();
        let values = specs.iter().map(|spec| vec![P::ZERO; spec.len()]).collect();
        Self { specs, values }
    }

    /// Number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.specs.len()
    }

    /// Whether there is no tensor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// Names, shapes and roles.
    #[must_use]
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// The numbers of all tensors, in order.
    pub fn ids(&self) -> impl Iterator<Item = TensorId> + use<P> {
        (0..self.specs.len()).map(TensorId)
    }

    /// Name, shape and role of a tensor.
    #[must_use]
    pub fn spec(&self, id: TensorId) -> &TensorSpec {
        &self.specs[id]
    }

    /// The values of a tensor, row-major.
    #[must_use]
    pub fn get(&self, id: TensorId) -> &[P] {
        &self.values[id]
    }

    /// The values of a tensor, to be changed.
    pub fn get_mut(&mut self, id: TensorId) -> &mut [P] {
        &mut self.values[id]
    }

    pub(crate) fn vec_mut(&mut self, id: TensorId) -> &mut Vec<P> {
        &mut self.values[id]
    }

    /// The number of the tensor called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] when there is none.
    pub fn id_of(&self, name: &str) -> Result<TensorId> {
        self.specs
            .iter()
            .position(|spec| spec.name == name)
            .map(TensorId)
            .ok_or_else(|| Error::UnknownTensor(name.to_owned()))
    }

    /// The values of the tensor called `name`, row-major.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] when there is none.
    pub fn by_name(&self, name: &str) -> Result<&[P]> {
        Ok(&self.values[self.id_of(name)?])
    }

    /// Replaces the values of the tensor called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] when there is none, [`Error::Length`] when it has another length.
    pub fn set(&mut self, name: &str, values: Vec<P>) -> Result<()> {
        let index = self.id_of(name)?;
        if values.len() != self.values[index].len() {
            return Err(Error::Length {
                name: name.to_owned(),
                expected: self.values[index].len(),
                found: values.len(),
            });
        }
        self.values[index] = values;
        Ok(())
    }

    /// Specification and values of every tensor, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&TensorSpec, &[P])> {
        self.specs.iter().zip(self.values.iter().map(Vec::as_slice))
    }

    /// The trainable tensors, in PyTorch's `named_parameters` order.
    pub fn trainable(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.ids().filter(|&id| self.specs[id].role.is_trainable())
    }

    /// The same values in another precision.
    #[must_use]
    pub fn cast<Q: Float>(&self) -> Parameters<Q> {
        Parameters {
            specs: self.specs.clone(),
            values: self
                .values
                .iter()
                .map(|tensor| tensor.iter().map(|x| Q::from_f64(x.to_f64())).collect())
                .collect(),
        }
    }

    /// Fails unless names and shapes are those of `plan`.
    pub(crate) fn check(&self, plan: &Plan) -> Result<()> {
        for (i, spec) in plan.tensors().iter().enumerate() {
            if self.specs.get(i) != Some(spec) {
                return Err(Error::UnknownTensor(
                    self.specs
                        .get(i)
                        .map_or_else(|| spec.name.clone(), |found| found.name.clone()),
                ));
            }
        }
        Ok(())
    }
}

impl<P: Float> Gradients<P> {
    /// Zero gradients for the trainable tensors of `plan`.
    #[must_use]
    pub fn zeros(plan: &Plan) -> Self {
        let values = plan
            .tensors()
            .iter()
            .map(|spec| {
                let n = if spec.role.is_trainable() {
                    spec.len()
                } else {
                    0
                };
                vec![P::ZERO; n]
            })
            .collect();
        Self { values }
    }

    /// Gradient of a tensor, row-major; empty when it is not trainable.
    #[must_use]
    pub fn get(&self, id: TensorId) -> &[P] {
        &self.values[id]
    }

    /// Gradient of a tensor, to be changed.
    pub fn get_mut(&mut self, id: TensorId) -> &mut [P] {
        &mut self.values[id]
    }

    /// Euclidean norm over all tensors, accumulated in f64.
    #[must_use]
    pub fn norm(&self) -> f64 {
        self.values
            .iter()
            .flatten()
            .map(|x| x.to_f64() * x.to_f64())
            .sum::<f64>()
            .sqrt()
    }

    /// Multiplies every gradient.
    pub fn scale(&mut self, factor: f64) {
        for value in self.values.iter_mut().flatten() {
            *value = P::from_f64(value.to_f64() * factor);
        }
    }
}

fn initial_tensor<P: Float>(spec: &TensorSpec, plan: &Plan, mut stream: Stream) -> Vec<P> {
    let fan_in = match spec.role {
        Role::ConvWeight => spec.shape[1..].iter().product(),
        _ => plan.n_features(),
    };
    let draw: &mut dyn FnMut() -> f64 = match (plan.config().net, spec.role) {
        (_, Role::BatchNormWeight | Role::RunningVariance | Role::SpectralSigma) => &mut || 1.0,
        (_, Role::BatchNormBias | Role::RunningMean | Role::BatchesTracked)
        | (Net::WideResnet28, Role::LinearBias) => &mut || 0.0,
        (_, Role::SpectralU | Role::SpectralV) => return unit_vector(spec.len(), stream),
        (Net::WideResnet28, _) => {
            let fan_out = spec.len() / spec.shape.get(1).copied().unwrap_or(1);
            let deviation = (2.0 / fan_out as f64).sqrt();
            &mut move || deviation * stream.normal()
        }
        _ => {
            let bound = 1.0 / (fan_in as f64).sqrt();
            &mut move || bound * (2.0 * stream.uniform() - 1.0)
        }
    };
    (0..spec.len()).map(|_| P::from_f64(draw())).collect()
}

fn unit_vector<P: Float>(n: usize, mut stream: Stream) -> Vec<P> {
    let draws: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
    let norm = draws.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
    draws.iter().map(|x| P::from_f64(x / norm)).collect()
}
