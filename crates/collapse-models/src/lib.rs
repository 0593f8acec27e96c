//! Residual networks with the L2 head and spectral normalisation.
//!
//! ```
//! use collapse_models::{Batch, HeadGradient, L2Mode, Net, NetConfig, Network};
//!
//! let mut config = NetConfig::new(Net::Resnet18, 3);
//! config.width = 8;
//! config.input_size = 16;
//! config.l2 = L2Mode::TrainAndInference;
//! let mut network = Network::<f32>::new(&config, 7)?;
//!
//! let images = vec![0.1; 2 * 3 * 16 * 16];
//! let (output, tape) = network.forward_train(&Batch::nchw(2, 16, 3, &images))?;
//! // Gradient of the sum of all logits.
//! let gradient = HeadGradient::of_logits(vec![1.0; output.logits.len()]);
//! let gradients = network.backward(tape, gradient)?;
//! assert!(gradients.norm() > 0.0);
//! # Ok::<(), collapse_models::Error>(())
//! ```
//!
//! * [`NetConfig`] says what the network is; [`NetConfig::summary`] prints it;
//!   [`Plan`] is its checked layout.
//! * [`Parameters`] holds every tensor by name in PyTorch's `state_dict` order;
//!   [`weights`] reads and writes files of them.
//! * [`Network`] computes forward and backward on the CPU kernels, in f32, bf16 or f64;
//!   [`Model`] is the face that training sees, [`Optimizer`] what it keeps between two steps.
//! * [`CandleNet`] is the same network on candle's operations, for other devices and for users of
//!   candle: it is built from a `VarBuilder` and is a candle `Module`. [`Device`] names them.
//!
//! The networks are those of DDU (arXiv 2102.11582), checked against numbers of its unchanged
//! code. The head pools over the whole final map, which for images above 32 pixels differs
//! from the reference's fixed 4×4 window (our choice). A forward in bf16 rounds the images too;
//! head, statistics and parameters stay f32.

mod candle_net;
mod config;
mod device;
mod dropout;
mod error;
mod mirror;
mod model;
mod network;
mod optimizer;
mod parameters;
mod plan;
mod summary;
pub mod weights;

pub use candle_net::CandleNet;
pub use config::{L2Mode, Net, NetConfig};
pub use device::{Device, Hardware};
pub use error::{Error, Result};
pub use model::{LossFn, Model};
pub use network::{BATCH_NORM_EPSILON, Batch, HeadGradient, ImageLayout, Network, Output, Tape};
pub use optimizer::{Optimizer, StepRule};
pub use parameters::{Gradients, Parameters};
pub use plan::{
    BatchNormSpec, Block, ConvId, ConvSpec, NormId, Plan, Role, Shortcut, SpectralSpec, TensorId,
    TensorSpec, Unit,
};
pub use summary::{Summary, SummaryRow};
