//! Files of weights: safetensors both ways, PyTorch's pickle read only.

use std::fs;
use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, pickle};
use collapse_kernels::Float;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::NamedTensors;
use crate::{Error, Parameters, Result, Role};

/// Reads all tensors of a `.safetensors`, `.pt` or `.pth` file.
///
/// A PyTorch checkpoint may be the `state_dict` itself or a dictionary with it under
/// `state_dict`, `model`, `model_state_dict` or `net`.
pub fn read(path: &Path) -> Result<NamedTensors> {
    let fail = |message: String| Error::File {
        path: path.to_owned(),
        message,
    };
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => {
            let bytes = fs::read(path).map_err(|e| fail(e.to_string()))?;
            let file = SafeTensors::deserialize(&bytes)
                .map_err(|e| fail(format!("not a valid safetensors file ({e})")))?;
            file.tensors()
                .into_iter()
                .map(|(name, view)| {
                    let values = decode(&view).ok_or_else(|| {
                        fail(format!(
                            "tensor `{name}` has type {:?}; store f16, bf16, f32, f64 or i64",
                            view.dtype()
                        ))
                    })?;
                    Ok((name, (view.shape().to_vec(), values)))
                })
                .collect()
        }
        Some("pt" | "pth") => {
            if !path.is_file() {
                return Err(fail("there is no such file".to_owned()));
            }
            let mut tensors = Vec::new();
            for key in [
                None,
                Some("state_dict"),
                Some("model"),
                Some("model_state_dict"),
                Some("net"),
            ] {
                if let Ok(found) = pickle::read_all_with_key(path, key)
                    && !found.is_empty()
                {
                    tensors = found;
                    break;
                }
            }
            if tensors.is_empty() {
                return Err(fail(
                    "no tensors found; save with `torch.save(net.state_dict(), path)` \
                     (a pickled module cannot be read)"
                        .to_owned(),
                ));
            }
            tensors
                .into_iter()
                .map(|(name, tensor)| {
                    let shape = tensor.dims().to_vec();
                    let values = tensor
                        .to_device(&Device::Cpu)?
                        .to_dtype(DType::F64)?
                        .flatten_all()?
                        .to_vec1()?;
                    Ok((name, (shape, values)))
                })
                .collect()
        }
        _ => Err(fail(
            "unknown kind of weights; use .safetensors, .pt or .pth".to_owned(),
        )),
    }
}

/// Reads a file and fills it into `parameters`; see [`Parameters::fill`].
pub fn load<P: Float>(path: &Path, parameters: &mut Parameters<P>) -> Result<()> {
    parameters.fill(&read(path)?)
}

/// Writes all tensors as safetensors (f32; `num_batches_tracked` as i64), atomically, for
/// `net.load_state_dict(safetensors.torch.load_file(path))`.
pub fn export<P: Float>(path: &Path, parameters: &Parameters<P>) -> Result<()> {
    let fail = |message: String| Error::File {
        path: path.to_owned(),
        message,
    };
    let tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = parameters
        .iter()
        .map(|(spec, values)| {
            let (dtype, bytes) = if spec.role == Role::BatchesTracked {
                let bytes = values
                    .iter()
                    .flat_map(|x| (x.to_f64() as i64).to_le_bytes());
                (Dtype::I64, bytes.collect())
            } else {
                let bytes = values
                    .iter()
                    .flat_map(|x| (x.to_f64() as f32).to_le_bytes());
                (Dtype::F32, bytes.collect())
            };
            (spec.name.clone(), dtype, spec.shape.clone(), bytes)
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes)
                .map(|view| (name.as_str(), view))
                .map_err(|e| fail(e.to_string()))
        })
        .collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, None).map_err(|e| fail(e.to_string()))?;
    let temporary = path.with_extension("safetensors.tmp");
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| fail(e.to_string()))
}

fn decode(view: &TensorView<'_>) -> Option<Vec<f64>> {
    let data = view.data();
    fn each<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.chunks_exact(N)
            .filter_map(|chunk| chunk.try_into().ok())
            .map(read)
            .collect()
    }
    Some(match view.dtype() {
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::F32 => each(data, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F16 => each(data, |b| half::f16::from_le_bytes(b).to_f64()),
        Dtype::BF16 => each(data, |b| half::bf16::from_le_bytes(b).to_f64()),
        Dtype::I64 => each(data, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(data, |b| f64::from(i32::from_le_bytes(b))),
        _ => return None,
    })
}
