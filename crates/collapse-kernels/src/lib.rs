//! CPU kernels that train convolutional networks at hardware speed, as plain functions and candle custom operations.
//!
//! ```
//! use collapse_kernels::{Act, Activation, BatchNorm, Conv, ConvWeights, Residual, Shape};
//! use collapse_kernels::{bn_act_backward, bn_act_forward, conv_backward_weights, conv_forward};
//!
//! # fn main() -> Result<(), collapse_kernels::Error> {
//! let conv = Conv::new(3, 8, 3, 1)?;
//! let weights = ConvWeights::<f32>::pack(conv, (8, 8), &vec![0.1; conv.weight_len()], 1.0)?;
//! let image: Vec<f32> = (0..2 * 3 * 8 * 8).map(|i| (i % 7) as f32 - 3.0).collect();
//! let x = Act::from_nchw(Shape { h: 8, w: 8, n: 2, c: 3 }, &image)?;
//!
//! let (y, statistics) = conv_forward(&x, &weights, true)?;
//! let statistics = statistics.expect("asked for");
//! let bn = BatchNorm {
//!     mean: &statistics.mean,
//!     variance: &statistics.variance,
//!     eps: 1e-5,
//!     weight: &[1.0; 8],
//!     bias: &[0.0; 8],
//! };
//! let act = Activation::LeakyRelu(0.01);
//! let out = bn_act_forward(&y, &bn, act, Residual::None)?;
//!
//! // Backward, with the output itself as its gradient.
//! let gradients = bn_act_backward(out.duplicate(), &out, &y, &bn, act, false)?;
//! let mut dw = vec![0.0; conv.weight_len()];
//! conv_backward_weights(&x, &gradients.dy, conv, 1.0, &mut dw)?;
//! assert!(dw.iter().all(|g| g.is_finite()));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! - [`Act`]: activations in the layout H W N C, from a pool ([`pool_statistics`]).
//! - [`Conv`], [`ConvWeights`], [`conv_forward`], [`conv_backward_data`], [`conv_backward_weights`]: convolution 3×3 and 1×1.
//! - [`bn_act_forward`], [`bn_act_backward`]: batch norm, residual and activation in one pass each way.
//! - [`global_avg_pool`], [`max_pool2`], [`pool_pad_backward`], [`add`]: pooling and shortcuts.
//! - [`linear_forward`], [`sgd_step`], [`conv_power_iteration`]: head, optimiser, spectral norm.
//! - [`Element`], [`NetworkElement`], [`Float`]: the types of activations and parameters, f32, f64 and bf16.
//! - [`candle_ops`]: the same as operations on candle tensors; its page begins with a candle model on these kernels.
//! - `cuda`, with the feature of that name: convolutions, batch norm and SGD on NVIDIA GPUs, for candle tensors there.
//! - [`peak_gflops_register_loop`], [`register_loop`]: the yardsticks of benchmarks; [`bf16_products_pay`]: whether bf16 is the faster.
//! - [`KernelPath`], [`kernel_path`], [`with_kernel_path`]: which instructions run.
//! - [`within_pool`]: for callers that start many operations.
//! - [`ConvolutionAlgorithm`], [`convolution_algorithm`], [`with_convolution`]: direct convolutions or Winograd's.
//!
//! # Caveats
//! - Results have the same bytes for any number of threads on one path; between paths they differ by rounding.
//! - Work runs on the rayon pool of the thread that starts it, else on the global one, which `RAYON_NUM_THREADS` bounds.
//! - bf16 keeps activations and operands in bf16; products accumulate in f32, parameters and statistics are f32.
//!   Subnormal bf16 operands count as zero on paths whose instructions flush them.

mod act;
pub mod candle_ops;
mod conv;
#[cfg(feature = "cuda")]
pub mod cuda;
mod element;
mod error;
mod linear;
mod norm;
mod path;
mod peak;
mod pool;
mod pooling;
mod sgd;
mod shape;
mod shared;
mod spectral;
mod threads;

pub use act::Act;
pub use conv::{
    CONVOLUTION_VARIABLE, Conv, ConvWeights, ConvolutionAlgorithm, Convolve, ConvolveParam,
    Measured, NetworkElement, conv_backward_data, conv_backward_weights, conv_forward,
    convolution_algorithm, with_convolution,
};
pub use element::{Element, Float};
pub use error::{Error, Result};
pub use half::bf16;
pub use linear::{LinearGradients, linear_backward, linear_forward};
pub use norm::{
    Activation, BatchNorm, BnBackward, ChannelStatistics, Residual, bn_act_backward,
    bn_act_forward, channel_statistics,
};
pub use path::{KernelPath, PATH_VARIABLE, kernel_path, with_kernel_path};
pub use peak::{Precision, bf16_products_pay, peak_gflops_register_loop, register_loop};
pub use pool::{PoolStatistics, pool_statistics, release_idle_memory};
pub use pooling::{
    add, global_avg_pool, global_avg_pool_backward, max_pool2, max_pool2_backward,
    pool_pad_backward,
};
pub use sgd::{Sgd, sgd_step};
pub use shape::Shape;
pub use spectral::{add_conv_sigma_gradient, conv_power_iteration, conv_sigma, inner_product};
pub use threads::within_pool;
