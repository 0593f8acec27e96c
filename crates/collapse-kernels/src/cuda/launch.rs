//! Kernels of `kernels.cu`: compiled once, launched on contiguous f32 memory.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaSlice, CudaView, LaunchConfig};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::{CudaDevice, CudaStorage, Error, Layout, Result, Storage, Tensor};

const MODULE: &str = "collapse_kernels";
const SOURCE: &str = include_str!("kernels.cu");
/// Threads of a block; of whole warps.
const THREADS: u32 = 256;
/// Threads of a block that has a sum to itself.
const MOST_THREADS: u32 = 1024;
/// Blocks of a pass over all elements are no more than fill any GPU several times; threads take several elements then.
const MOST_BLOCKS: u32 = 1 << 14;

/// A kernel by name, ready on `device`.
pub(super) fn kernel(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    static COMPILED: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| match compile_ptx(SOURCE) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(error) => Err(format!("NVRTC does not compile the kernels: {error}")),
    });
    let ptx = compiled.as_ref().map_err(Error::msg)?;
    Ok(device
        .get_or_load_custom_func(name, MODULE, ptx)?
        .into_cuda_function())
}

fn blocks_of(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// One thread for every four elements or fewer, in blocks.
pub(super) fn over_elements(total: usize) -> LaunchConfig {
    let blocks = total.div_ceil(4).div_ceil(THREADS as usize);
    blocks_of(blocks.clamp(1, MOST_BLOCKS as usize) as u32, THREADS)
}

/// One block for every channel, of as many threads as its `count` elements keep busy.
pub(super) fn over_channels(channels: usize, count: usize) -> LaunchConfig {
    let threads = count.div_ceil(8).next_multiple_of(32);
    let threads = threads.clamp(32, MOST_THREADS as usize) as u32;
    blocks_of(channels as u32, threads)
}

/// One block, of the most threads.
pub(super) fn one_block() -> LaunchConfig {
    blocks_of(1, MOST_THREADS)
}

/// A block for every part of an array.
pub(super) fn over_parts(parts: u32) -> LaunchConfig {
    blocks_of(parts, THREADS)
}

/// The elements of a contiguous f32 storage.
pub(super) fn view<'a>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, f32>> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a kernel was given a tensor that is not contiguous");
    };
    Ok(storage.as_cuda_slice::<f32>()?.slice(from..to))
}

/// Calls `f` with the elements of a contiguous f32 tensor on a CUDA device.
pub(super) fn with_view<T>(
    tensor: &Tensor,
    f: impl FnOnce(&CudaView<'_, f32>) -> Result<T>,
) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => f(&view(storage, layout)?),
        _ => candle_core::bail!("a kernel was given a tensor that is not on a CUDA device"),
    }
}

/// Memory for `n` values, with any content: every kernel writes all of its output.
pub(super) fn uninitialised(device: &CudaDevice, n: usize) -> Result<CudaSlice<f32>> {
    // SAFETY: f32 has no invalid bits, and the kernel that the memory is for writes all of it before it is read.
    unsafe { device.alloc::<f32>(n) }
}

/// A size as kernels take it.
pub(super) fn size(n: usize) -> Result<u32> {
    match u32::try_from(n) {
        Ok(n) if n < 1 << 31 => Ok(n),
        _ => candle_core::bail!("a tensor of {n} elements is too large; take smaller batches"),
    }
}

pub(super) fn storage(values: CudaSlice<f32>, device: &CudaDevice) -> CudaStorage {
    CudaStorage::wrap_cuda_slice(values, device.clone())
}

pub(super) fn device_of(storage: &CudaStorage) -> &CudaDevice {
    storage.device()
}

/// Launches a kernel with arguments in the order of its parameters: views and slices by reference, numbers as they are.
macro_rules! launch {
    ($device:expr, $name:literal, $config:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let function = $crate::cuda::launch::kernel($device, $name)?;
        let stream = $device.cuda_stream();
        // SAFETY: the arguments are those of the kernel's parameters, in number, order and type; lengths that the kernel
        // is given are those of the slices; the slices outlive the launch, and their memory is freed in stream order.
        unsafe { stream.launch_builder(&function)$(.arg($argument))+.launch($config) }.w()?
    }};
}
pub(super) use launch;

/// Of a custom operation its name and what it answers on a CPU, where candle's own operations are to be used.
macro_rules! on_cuda_alone {
    (CustomOp1, $name:literal) => {
        on_cuda_alone!($name, _storage: _layout);
    };
    (CustomOp2, $name:literal) => {
        on_cuda_alone!($name, _storage1: _layout1, _storage2: _layout2);
    };
    (CustomOp3, $name:literal) => {
        on_cuda_alone!($name, _storage1: _layout1, _storage2: _layout2, _storage3: _layout3);
    };
    ($name:literal, $($storage:ident: $layout:ident),+) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn cpu_fwd(
            &self,
            $($storage: &candle_core::CpuStorage, $layout: &Layout),+
        ) -> Result<(candle_core::CpuStorage, Shape)> {
            candle_core::bail!("{} runs on CUDA devices alone", $name)
        }
    };
}
pub(super) use on_cuda_alone;
