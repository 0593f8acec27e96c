//! The network on the CPU kernels: a planned forward and backward without a tape of operations.

mod backward;
mod forward;
mod head;
mod pre_activation;
mod spectral;
mod statistics;

use collapse_kernels::{Act, ConvWeights, NetworkElement, Shape};

use crate::{Error, NetConfig, Parameters, Plan, Result};

pub use backward::HeadGradient;
pub use forward::Tape;
use spectral::Scaling;
use statistics::Statistics;

/// ε of every batch norm. Source: PyTorch's default.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;

/// Order of the values of a batch of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageLayout {
    /// Height, width, image, channel: the kernels' own order.
    Hwnc,
    /// Image, channel, height, width: PyTorch's order.
    Nchw,
}

/// A batch of normalised images.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, P> {
    /// Images, height, width and channels.
    pub shape: Shape,
    /// Order of the values.
    pub layout: ImageLayout,
    /// The values, [H, W, N, C] or [N, C, H, W] as `layout` says.
    pub values: &'a [P],
}

impl<'a, P> Batch<'a, P> {
    /// `n` square images in [H, W, N, C] order.
    pub fn hwnc(n: usize, side: usize, channels: usize, values: &'a [P]) -> Self {
        Self {
            shape: Shape {
                h: side,
                w: side,
                n,
                c: channels,
            },
            layout: ImageLayout::Hwnc,
            values,
        }
    }

    /// `n` square images in [N, C, H, W] order.
    pub fn nchw(n: usize, side: usize, channels: usize, values: &'a [P]) -> Self {
        Self {
            layout: ImageLayout::Nchw,
            ..Self::hwnc(n, side, channels, values)
        }
    }
}

/// What a forward returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Output<P> {
    /// Images.
    pub n: usize,
    /// Raw features z, [N, D] row-major.
    pub features: Vec<P>,
    /// Unit-length features ẑ [N, D], where the head used them.
    pub normalized: Option<Vec<P>>,
    /// Logits [N, C] row-major.
    pub logits: Vec<P>,
}

impl<P> Output<P> {
    /// What the head saw: ẑ where it normalises, z otherwise.
    #[must_use]
    pub fn head_input(&self) -> &[P] {
        self.normalized.as_deref().unwrap_or(&self.features)
    }
}

/// For which use the packed weights stand ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    Stale,
    Train,
    Eval,
}

/// A network in precision `T` (`f32`, `f64` or `bf16`), its parameters in `T::Param`.
///
/// ```
/// use collapse_models::{Batch, Net, NetConfig, Network};
///
/// let mut config = NetConfig::new(Net::Resnet18, 4);
/// (config.width, config.input_size, config.in_channels) = (8, 14, 1);
/// let mut network = Network::<f32>::new(&config, 1)?;
/// let images = vec![0.5; 2 * 14 * 14];
/// let output = network.forward_eval(&Batch::hwnc(2, 14, 1, &images))?;
/// assert_eq!((output.features.len(), output.logits.len()), (2 * 64, 2 * 4));
/// # Ok::<(), collapse_models::Error>(())
/// ```
pub struct Network<T: NetworkElement> {
    plan: Plan,
    parameters: Parameters<T::Param>,
    packed: Vec<ConvWeights<T>>,
    scalings: Vec<Scaling>,
    ready: Packed,
    dropout_seed: u64,
}

impl<T: NetworkElement> Network<T> {
    /// A freshly initialised network; see [`Parameters::initialise`].
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration has no meaning.
    pub fn new(config: &NetConfig, seed: u64) -> Result<Self> {
        Self::from_parameters(config, Parameters::initialise(config, seed)?)
    }

    /// A network with given parameters; their names and shapes must be the configuration's.
    ///
    /// # Errors
    /// [`Error::Config`] when the configuration has no meaning, [`Error::UnknownTensor`] when the parameters are
    /// another network's.
    pub fn from_parameters(config: &NetConfig, parameters: Parameters<T::Param>) -> Result<Self> {
        let plan = config.plan()?;
        parameters.check(&plan)?;
        Ok(Self {
            plan,
            parameters,
            packed: Vec::new(),
            scalings: Vec::new(),
            ready: Packed::Stale,
            dropout_seed: 0,
        })
    }

    /// Decides the masks of dropout, together with the layer and its number of batches; 0 unless set.
    pub fn seed_dropout(&mut self, seed: u64) {
        self.dropout_seed = seed;
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &NetConfig {
        self.plan.config()
    }

    /// The layout.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All tensors.
    #[must_use]
    pub fn parameters(&self) -> &Parameters<T::Param> {
        &self.parameters
    }

    /// All tensors, to be changed; the next forward packs the weights anew.
    pub fn parameters_mut(&mut self) -> &mut Parameters<T::Param> {
        self.ready = Packed::Stale;
        &mut self.parameters
    }

    /// Gives the parameters back.
    #[must_use]
    pub fn into_parameters(self) -> Parameters<T::Param> {
        self.parameters
    }

    fn images(&self, batch: &Batch<'_, T::Param>) -> Result<Act<T>> {
        let config = self.plan.config();
        let (side, channels) = (config.input_size, config.in_channels);
        let shape = batch.shape;
        if (shape.h, shape.w, shape.c) != (side, side, channels) || shape.n == 0 {
            return Err(Error::Batch {
                expected: format!("at least one image of {side}x{side} with {channels} channels"),
                found: format!(
                    "{} images of {}x{} with {} channels",
                    shape.n, shape.h, shape.w, shape.c
                ),
            });
        }
        Ok(match batch.layout {
            ImageLayout::Hwnc => Act::from_hwnc(shape, batch.values)?,
            ImageLayout::Nchw => Act::from_nchw(shape, batch.values)?,
        })
    }
}
