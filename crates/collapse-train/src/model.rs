//! Networks by precision and device, and the files their weights come from.

use std::path::Path;

use collapse_kernels::bf16;
use collapse_models::weights;
use collapse_models::{CandleNet, Device, Model, NetConfig, Network, Parameters};

use crate::checkpoint::{Checkpoint, KIND, RunState};
use crate::{Error, Precision, Result};

/// A network of `precision` with the given parameters, on the CPU kernels.
///
/// # Errors
/// As [`load_model_on`].
pub fn load_model(
    net: &NetConfig,
    precision: Precision,
    parameters: Parameters<f32>,
) -> Result<Box<dyn Model>> {
    load_model_on(Device::Cpu, net, precision, parameters)
}

/// A network of `precision` with the given parameters on `device`.
///
/// # Errors
/// [`Error::Config`] for bf16 outside the CPU kernels, [`Error::Model`] when the device is not there or the parameters
/// are another network's.
pub fn load_model_on(
    device: Device,
    net: &NetConfig,
    precision: Precision,
    parameters: Parameters<f32>,
) -> Result<Box<dyn Model>> {
    Ok(match (device.open()?, precision) {
        (None, Precision::F32) => Box::new(Network::<f32>::from_parameters(net, parameters)?),
        (None, Precision::Bf16) => Box::new(Network::<bf16>::from_parameters(net, parameters)?),
        (Some(opened), Precision::F32) => Box::new(CandleNet::new(net, parameters, opened)?),
        (Some(_), Precision::Bf16) => {
            return Err(Error::Config {
                field: "precision",
                value: format!("bf16 on {device}"),
                remedy: "choose f32: bf16 is trained by the CPU kernels only",
            });
        }
    })
}

/// The network stored in a checkpoint: the average of the weights where there is one.
///
/// # Errors
/// As [`Checkpoint::read`].
pub fn model_from_checkpoint(path: &Path) -> Result<Box<dyn Model>> {
    let (state, parameters) = Checkpoint::read(path)?.into_weights();
    load_model(&state.net, state.train.precision, parameters)
}

/// A network's weights with what is known of their training.
pub struct TrainedWeights {
    /// The network.
    pub net: NetConfig,
    /// Its tensors; of a run that keeps an average of the weights, that.
    pub parameters: Parameters<f32>,
    /// Position and configuration of the run, where the file is a run's checkpoint.
    pub state: Option<RunState>,
}

impl TrainedWeights {
    /// Reads a run's checkpoint, which knows its network, or other weights, whose network is `net`.
    ///
    /// # Errors
    /// As [`Checkpoint::read`]; for other weights as [`collapse_models::weights::load`].
    pub fn read(path: &Path, net: impl FnOnce() -> NetConfig) -> Result<Self> {
        let file = weights::open(path)?;
        if let Some(sealed) = file.sealed().filter(|file| file.format().starts_with(KIND)) {
            let (state, parameters) = Checkpoint::of(sealed)?.into_weights();
            return Ok(Self {
                net: state.net.clone(),
                parameters,
                state: Some(state),
            });
        }
        let net = net();
        let mut parameters = Parameters::initialise(&net, 0)?;
        file.fill(&mut parameters)?;
        Ok(Self {
            net,
            parameters,
            state: None,
        })
    }
}
