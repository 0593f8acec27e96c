//! Where a network computes.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "cuda")]
use collapse_kernels::cuda::{self, open as open_cuda};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The device of a network.
///
/// ```
/// use collapse_models::Device;
///
/// assert_eq!("cuda:1".parse::<Device>()?, Device::Cuda(1));
/// assert_eq!(Device::Cpu.to_string(), "cpu");
/// # Ok::<(), collapse_models::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The CPU, by this project's kernels.
    #[default]
    Cpu,
    /// The CPU, by candle's own operations: many times slower, for comparison.
    Candle,
    /// A CUDA device by number, by cuDNN, this project's kernels for it and candle's operations; needs the feature `cuda`.
    Cuda(usize),
    /// A Metal device by number, by candle's operations; needs the feature `metal`.
    Metal(usize),
}

impl Device {
    /// candle's device; `None` for [`Device::Cpu`], whose kernels need none.
    ///
    /// # Errors
    /// [`Error::Device`] when this build lacks the feature or the machine the device.
    pub fn open(self) -> Result<Option<candle_core::Device>> {
        let opened = match self {
            Self::Cpu => return Ok(None),
            Self::Candle => return Ok(Some(candle_core::Device::Cpu)),
            Self::Cuda(index) => open_cuda(index),
            Self::Metal(index) => candle_core::Device::new_metal(index),
        };
        let feature = match self {
            Self::Metal(_) => "metal",
            _ => "cuda",
        };
        opened.map(Some).map_err(|source| Error::Device {
            device: self,
            feature,
            source,
        })
    }

    /// What is recorded of this device beside a result; `None` for [`Device::Cpu`], whose kernels tell.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Device`] when a variable chooses an arithmetic that does not exist.
    pub fn hardware(self) -> Result<Option<Hardware>> {
        Ok(match self {
            Self::Cpu => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => {
                let found = cuda_hardware(index).map_err(|source| Error::Device {
                    device: self,
                    feature: "cuda",
                    source,
                })?;
                Some(found)
            }
            other => Some(Hardware {
                path: other.to_string(),
                processor: None,
            }),
        })
    }
}

#[cfg(feature = "cuda")]
fn cuda_hardware(index: usize) -> candle_core::Result<Hardware> {
    Ok(Hardware {
        path: format!("cuda {}", cuda::arithmetic()?.name()),
        processor: Some(cuda::name(index)?),
    })
}

/// What is recorded of a device beside a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// Whose operations compute, in which arithmetic: two paths differ by rounding.
    pub path: String,
    /// The model, where it is not the CPU's.
    pub processor: Option<String>,
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(index: usize) -> candle_core::Result<candle_core::Device> {
    candle_core::Device::new_cuda(index)
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Candle => f.write_str("candle"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal(index) => write!(f, "metal:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, index) = text.split_once(':').unwrap_or((text, "0"));
        match (kind, index.parse()) {
            ("cpu", _) if kind == text => Ok(Self::Cpu),
            ("candle", _) if kind == text => Ok(Self::Candle),
            ("cuda", Ok(index)) => Ok(Self::Cuda(index)),
            ("metal", Ok(index)) => Ok(Self::Metal(index)),
            _ => Err(Error::Config {
                field: "device",
                value: format!("`{text}`"),
                remedy: "known are cpu, candle, cuda, cuda:N, metal and metal:N",
            }),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for device in [
            Device::Cpu,
            Device::Candle,
            Device::Cuda(2),
            Device::Metal(0),
        ] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for wrong in ["gpu", "cpu:1", "cuda:x", ""] {
            let text = wrong.parse::<Device>().unwrap_err().to_string();
            assert!(text.contains("cuda:N"), "{text}");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_device_that_is_not_built_in_says_how_to_get_it() {
        let text = Device::Cuda(0).open().unwrap_err().to_string();
        assert!(text.contains("--features cuda"), "{text}");
    }
}
