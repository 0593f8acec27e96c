//! The kernels as operations on candle tensors [N, C, H, W], with gradients, for models on candle's tape.
//!
//! On CPU tensors of f32, f64 or bf16 they run this crate's kernels, on other devices candle's own operations, through the
//! same functions:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use collapse_kernels::Activation;
//! use collapse_kernels::candle_ops::{BatchStatistics, batch_norm_act, conv2d, global_avg_pool};
//!
//! # fn main() -> candle_core::Result<()> {
//! let device = Device::Cpu;
//! let image = Tensor::arange(0f32, 2.0 * 3.0 * 8.0 * 8.0, &device)?.reshape((2, 3, 8, 8))?;
//! let weight = Var::from_tensor(&Tensor::full(0.1f32, (4, 3, 3, 3), &device)?)?;
//! let (scale, shift) = (Tensor::ones(4, image.dtype(), &device)?, Tensor::zeros(4, image.dtype(), &device)?);
//! let y = conv2d(&image, &weight, 1)?;
//! let normed = batch_norm_act(&y, &scale, &shift, None, BatchStatistics::OfBatch, 1e-5, Activation::LeakyRelu(0.01))?;
//! let loss = global_avg_pool(&normed.out)?.sqr()?.sum_all()?;
//! assert_eq!(loss.backward()?.get(&weight).map(|g| g.dims().to_vec()), Some(vec![4, 3, 3, 3]));
//! # Ok(())
//! # }
//! ```
//!
//! Every call converts between candle's layout and the kernels' H W N C, and the tape adds its own passes; a network that
//! wants the last factor of two calls the functions of the crate root and keeps [`crate::Act`] from stem to head.

mod convolution;
mod normalisation;
mod shortcut;
mod storage;

pub use convolution::conv2d;
pub use normalisation::{BatchStatistics, Normed, batch_norm_act};
pub use shortcut::{avg_pool_shortcut, global_avg_pool};
