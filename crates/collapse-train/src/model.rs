//! Networks by precision and device.

use std::path::Path;

use collapse_kernels::bf16;
use collapse_models::{CandleNet, Device, Model, NetConfig, Network, Parameters};

use crate::checkpoint::Checkpoint;
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
