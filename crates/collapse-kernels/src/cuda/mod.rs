//! Operations on NVIDIA GPUs for candle's tensors: convolutions by cuDNN, and batch norm with its activation, a shortcut's
//! sum and a step of SGD as one pass over memory each, where candle's own operations take many.
//!
//! All take f32 tensors on one CUDA device, contiguous or not, and multiply in f32; convolutions on tensor cores, which
//! round operands to the 10 bits of TF32, are for those who ask for them ([`ARITHMETIC_VARIABLE`]).
//! Gradients go through them by candle's `backward`. What they compute is what candle's operations compute; the tests of
//! `collapse-models` compare whole steps where a device is at hand. Formulas are those of this crate's CPU functions.
//!
//! The kernels are compiled by NVRTC when first used, so their toolkit must be as new as the driver or older. cuDNN 9 is
//! taken from the system's library path, where PyTorch's wheels have it too.
#![allow(unsafe_code)] // device memory is written by kernels; what each launch rests on stands beside it

mod convolution;
mod launch;
mod normalisation;
mod optimizer;
mod spectral;

use std::sync::OnceLock;

use candle_core::backend::BackendDevice;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, sys};
use candle_core::{CudaDevice, Device, Result};

pub use convolution::{convolution, convolution_gradients, convolution_input_gradient};
pub use normalisation::{
    Moments, add_activated, add_activated_gradient, batch_norm, batch_norm_gradients,
    batch_norm_moments,
};
pub use optimizer::sgd_step;
pub use spectral::{divided_by_norm, divided_by_norm_gradients, unit_length};

/// CUDA device number `index`, for the thread that opens it: its work goes to a stream of that thread, so the threads of
/// a process keep a device busy side by side. Memory that was freed is kept for the next tensors instead of going back
/// to the driver at every synchronisation.
///
/// # Errors
/// When there is no such device or driver.
pub fn open(index: usize) -> Result<Device> {
    let device = CudaDevice::new(index)?;
    let context = device.cuda_stream().context().clone();
    // SAFETY: events order the work of several streams on one array; here an array is used by the thread that made it,
    // whose stream orders all its work. They would be made and destroyed, two for every array.
    unsafe { context.disable_event_tracking() };
    if context.has_async_alloc() {
        let mut pool = std::ptr::null_mut();
        // SAFETY: the context holds the device; the call writes the local variable it is given.
        unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()) }
            .result()
            .w()?;
        use sys::CUmemPool_attribute as Attribute;
        // SAFETY: the first attribute is a u64, the number of bytes to keep. The second is an i32, whether to wait for another
        // stream to have the memory that it freed: threads would wait for each other.
        unsafe {
            set_attribute(pool, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX)?;
            set_attribute(
                pool,
                Attribute::CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES,
                0i32,
            )?;
        }
    }
    Ok(Device::Cuda(device))
}

/// # Safety
/// The pool is a device's own, and `value` of the attribute's type.
unsafe fn set_attribute<T>(
    pool: sys::CUmemoryPool,
    attribute: sys::CUmemPool_attribute,
    mut value: T,
) -> Result<()> {
    // SAFETY: the pool lives as long as its device; the call reads the local variable, whose type the caller vouches for.
    unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut value).cast()) }
        .result()
        .w()
}

/// The variable that chooses the arithmetic of convolutions: `f32` (the default) or `tf32`.
pub const ARITHMETIC_VARIABLE: &str = "COLLAPSE_CUDA_ARITHMETIC";

/// Arithmetic of convolutions on a GPU; sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Products of f32 operands.
    F32,
    /// Tensor cores: operands are rounded to 10 bits behind the point. PyTorch's default for convolutions.
    Tf32,
}

impl Arithmetic {
    /// The name by which it is chosen and recorded.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
        }
    }
}

/// The arithmetic of this process.
///
/// # Errors
/// When [`ARITHMETIC_VARIABLE`] names no arithmetic.
pub fn arithmetic() -> Result<Arithmetic> {
    static CHOSEN: OnceLock<std::result::Result<Arithmetic, String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| match std::env::var(ARITHMETIC_VARIABLE).as_deref() {
        Err(_) | Ok("" | "f32") => Ok(Arithmetic::F32),
        Ok("tf32") => Ok(Arithmetic::Tf32),
        Ok(other) => Err(other.to_owned()),
    });
    chosen.clone().map_err(|other| {
        candle_core::Error::msg(format!(
            "unknown arithmetic `{other}` in {ARITHMETIC_VARIABLE}; known are f32 and tf32"
        ))
    })
}

/// The name of CUDA device number `index`, such as `NVIDIA H100`.
///
/// # Errors
/// When there is no such device or driver.
pub fn name(index: usize) -> Result<String> {
    CudaContext::new(index).w()?.name().w()
}

/// Whether `tensor` can be given to this module's operations: f32, on a CUDA device.
pub fn takes(tensor: &candle_core::Tensor) -> bool {
    tensor.device().is_cuda() && tensor.dtype() == candle_core::DType::F32
}
