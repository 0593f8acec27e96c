//! Between candle's storage and the kernels' tensors.

use crate::act::Act;
use crate::conv::Convolve;
use crate::element::{Element, Float};
use crate::shape::Shape;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};
use half::bf16;

/// An element type that candle stores too.
pub(super) trait CandleElement: Convolve {
    /// Widens a contiguous stretch of storage.
    fn read(storage: &CpuStorage, range: std::ops::Range<usize>) -> Result<Vec<Self::Param>>;
    /// Narrows into new storage.
    fn write(values: Vec<Self::Param>) -> CpuStorage;
}

macro_rules! candle_element {
    ($type:ident, $variant:ident) => {
        impl CandleElement for $type {
            fn read(
                storage: &CpuStorage,
                range: std::ops::Range<usize>,
            ) -> Result<Vec<Self::Param>> {
                match storage {
                    CpuStorage::$variant(values) => {
                        Ok(values[range].iter().map(|v| v.widen()).collect())
                    }
                    _ => bail!(
                        "the kernels mix no element types: every tensor of an operation must be {}",
                        Self::NAME
                    ),
                }
            }

            fn write(values: Vec<Self::Param>) -> CpuStorage {
                CpuStorage::$variant(values.into_iter().map(Self::narrow).collect())
            }
        }
    };
}
candle_element!(f32, F32);
candle_element!(f64, F64);
candle_element!(bf16, BF16);

/// Calls `$function::<T>` for the element type of a storage.
macro_rules! by_type {
    ($dtype:expr, $function:ident ( $($argument:expr),* $(,)? )) => {
        match $dtype {
            candle_core::DType::F32 => $function::<f32>($($argument),*),
            candle_core::DType::F64 => $function::<f64>($($argument),*),
            candle_core::DType::BF16 => $function::<half::bf16>($($argument),*),
            other => candle_core::bail!("no CPU kernel for {other:?}: convert to F32, F64 or BF16 first"),
        }
    };
}
pub(super) use by_type;

pub(super) fn values<T: CandleElement>(
    storage: &CpuStorage,
    layout: &Layout,
) -> Result<Vec<T::Param>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => T::read(storage, start..end),
        None => bail!("the kernels read contiguous tensors: call contiguous() first"),
    }
}

/// [N, C, H, W].
pub(super) fn shape(dims: &candle_core::Shape) -> Result<Shape> {
    let (n, c, h, w) = dims.dims4()?;
    Ok(Shape { h, w, n, c })
}

pub(super) fn act<T: CandleElement>(storage: &CpuStorage, layout: &Layout) -> Result<Act<T>> {
    let values = values::<T>(storage, layout)?;
    Act::from_nchw(shape(layout.shape())?, &values).map_err(candle_core::Error::wrap)
}

pub(super) fn stored<T: CandleElement>(act: &Act<T>) -> (CpuStorage, candle_core::Shape) {
    let Shape { h, w, n, c } = act.shape();
    (T::write(act.to_nchw()), (n, c, h, w).into())
}

pub(super) fn tensor_values<T: CandleElement>(tensor: &Tensor) -> Result<Vec<T::Param>> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => values::<T>(storage, layout),
        _ => bail!("a gradient left the CPU on its way back"),
    }
}

pub(super) fn tensor_act<T: CandleElement>(tensor: &Tensor) -> Result<Act<T>> {
    Act::from_nchw(shape(tensor.shape())?, &tensor_values::<T>(tensor)?)
        .map_err(candle_core::Error::wrap)
}

pub(super) fn to_tensor<T: CandleElement>(
    values: Vec<T::Param>,
    dims: impl Into<candle_core::Shape>,
) -> Result<Tensor> {
    let device = candle_core::Device::Cpu;
    let dims = dims.into();
    match T::write(values) {
        CpuStorage::F32(values) => Tensor::from_vec(values, dims, &device),
        CpuStorage::F64(values) => Tensor::from_vec(values, dims, &device),
        CpuStorage::BF16(values) => Tensor::from_vec(values, dims, &device),
        other => bail!(
            "no tensor of {:?} here",
            candle_core::backend::BackendStorage::dtype(&other)
        ),
    }
}

pub(super) fn act_tensor<T: CandleElement>(act: &Act<T>) -> Result<Tensor> {
    let Shape { h, w, n, c } = act.shape();
    to_tensor::<T>(act.to_nchw(), (n, c, h, w))
}

pub(super) fn same_type(tensors: &[&Tensor]) -> Result<DType> {
    let dtype = tensors[0].dtype();
    match tensors.iter().find(|t| t.dtype() != dtype) {
        None => Ok(dtype),
        Some(other) => bail!(
            "tensors of {dtype:?} and {:?} met in one operation: convert one of them",
            other.dtype()
        ),
    }
}

pub(super) fn to_f64<P: Float>(values: &[P]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}
