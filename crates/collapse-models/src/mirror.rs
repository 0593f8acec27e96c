//! The tensors of a network where they are used: on a device, with a copy on the host only when it is asked for.

use std::sync::OnceLock;

use candle_core::{Device, Tensor, WithDType};
use collapse_kernels::Float;

use crate::{Parameters, Result, TensorId};

/// Tensors of a network on the host and, once used there, on a device.
///
/// Whatever is changed on one side is brought to the other when that one is asked for, not before.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<P> {
    host: Parameters<P>,
    device: OnceLock<Vec<Tensor>>,
    /// Whether the device has newer values than the host.
    device_is_ahead: bool,
}

impl<P: Float> Mirror<P> {
    pub(crate) fn new(host: Parameters<P>) -> Self {
        Self {
            host,
            device: OnceLock::new(),
            device_is_ahead: false,
        }
    }
}

impl<P: Float + WithDType> Mirror<P> {
    /// The tensors on the host.
    pub(crate) fn host(&mut self) -> Result<&Parameters<P>> {
        if self.device_is_ahead {
            for (id, tensor) in self.host.ids().zip(self.device.get().into_iter().flatten()) {
                self.host.get_mut(id).copy_from_slice(&host(tensor)?);
            }
            self.device_is_ahead = false;
        }
        Ok(&self.host)
    }

    /// The tensors on the host, to be changed.
    pub(crate) fn host_mut(&mut self) -> Result<&mut Parameters<P>> {
        self.host()?;
        self.device.take();
        Ok(&mut self.host)
    }

    /// The tensors on `device`, in order.
    pub(crate) fn device(&self, device: &Device) -> Result<&[Tensor]> {
        if let Some(tensors) = self.device.get() {
            return Ok(tensors);
        }
        let tensors = self
            .host
            .iter()
            .map(|(spec, values)| Ok(Tensor::from_slice(values, spec.shape.as_slice(), device)?));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        Ok(self.device.get_or_init(|| tensors))
    }

    /// Replaces tensors on `device`.
    pub(crate) fn replace(
        &mut self,
        tensors: Vec<(TensorId, Tensor)>,
        device: &Device,
    ) -> Result<()> {
        self.device(device)?;
        for (id, tensor) in tensors {
            if let Some(there) = self.device.get_mut() {
                there[id] = tensor;
                self.device_is_ahead = true;
            }
        }
        Ok(())
    }

    /// Whether the newest values are on a device alone.
    #[cfg(test)]
    pub(crate) fn is_ahead_on_device(&self) -> bool {
        self.device_is_ahead
    }
}

/// The values of a tensor, row-major.
pub(crate) fn host<P: WithDType>(tensor: &Tensor) -> Result<Vec<P>> {
    Ok(tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}
