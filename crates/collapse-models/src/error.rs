//! What can go wrong with a network.

use std::path::{Path, PathBuf};

/// Why a network could not be built, run, filled or stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the configuration has no meaning.
    #[error("the network's `{field}` is {value}; {remedy}")]
    Config {
        /// Field of [`NetConfig`](crate::NetConfig).
        field: &'static str,
        /// The value found.
        value: String,
        /// What would be valid.
        remedy: &'static str,
    },
    /// A batch of images does not fit the network.
    #[error(
        "the batch is {found}, the network takes {expected}; \
         bring the images to the network's size and channels"
    )]
    Batch {
        /// Shape expected.
        expected: String,
        /// Shape found.
        found: String,
    },
    /// A gradient or tensor buffer has the wrong length.
    #[error("`{name}` has {found} values where {expected} are needed")]
    Length {
        /// Which buffer.
        name: String,
        /// Values needed.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// The name belongs to no tensor of the network.
    #[error("the network has no tensor `{0}`; `NetConfig::summary` lists the names")]
    UnknownTensor(String),
    /// A set of weights does not fit.
    #[error("the weights do not fit the network: {0}")]
    Mismatch(crate::weights::Mismatch),
    /// A value of a tensor cannot be computed with.
    #[error("`{tensor}` holds {value}; take weights from before the training diverged")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The value.
        value: f64,
    },
    /// A kernel refused its input.
    #[error("kernel: {0}")]
    Kernel(#[from] collapse_kernels::Error),
    /// A device cannot be used.
    #[error(
        "device {device}: {source}; it needs the device's toolchain and a build with \
         `--features {feature}`"
    )]
    Device {
        /// The device.
        device: crate::Device,
        /// The feature that builds it in.
        feature: &'static str,
        /// candle's reason.
        source: candle_core::Error,
    },
    /// candle failed.
    #[error("candle: {0}")]
    Candle(#[from] candle_core::Error),
    /// A file cannot be put in place.
    #[error(transparent)]
    Storage(#[from] collapse_files::Error),
    /// A file of weights cannot be read.
    #[error("{path}: {message}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
}

impl Error {
    pub(crate) fn file(path: &Path, message: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
