//! Files of weights: safetensors both ways, PyTorch's pickles read only. What a file is, its content says.

use std::fs;
use std::path::{Path, PathBuf};

use collapse_kernels::Float;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Serialize;

use super::NamedTensors;
use super::element::{ByteOrder, Element};
use super::sealed::{RawTensor, SealedFile, write_sealed};
use super::torch::Archive;
use crate::{Error, Parameters, Result, Role};

const FORMAT: &str = "collapse.weights/1";
/// No file of weights is larger, in bytes.
const LARGEST: u64 = 16 << 30;

/// A file of weights whose kind is known.
pub struct WeightFile {
    path: PathBuf,
    content: Content,
}

enum Content {
    Sealed(SealedFile),
    Safetensors(Vec<u8>),
    Torch(Archive),
}

/// Reads a file of weights, whatever its name ends in: safetensors, or what `torch.save` writes (the archive since
/// PyTorch 1.6 and the pickles before it).
///
/// # Errors
/// [`Error::File`] when it is no regular file, of no known kind, damaged, or a pickle of other things than tensors.
pub fn open(path: &Path) -> Result<WeightFile> {
    let bytes = contents(path)?;
    let content = if Archive::is_one(&bytes) {
        Content::Torch(Archive::read(bytes).map_err(|reason| Error::file(path, reason))?)
    } else if is_safetensors(&bytes) {
        match SealedFile::recognise(path, bytes)? {
            Ok(file) => Content::Sealed(file),
            Err(bytes) => Content::Safetensors(bytes),
        }
    } else {
        return Err(Error::file(
            path,
            format!(
                "it is {}; weights are read from safetensors files and from `torch.save(net.state_dict(), path)`",
                kind(&bytes)
            ),
        ));
    };
    Ok(WeightFile {
        path: path.to_owned(),
        content,
    })
}

/// Reads all tensors of a file; see [`WeightFile::tensors`].
///
/// # Errors
/// As [`open`] and [`WeightFile::tensors`].
pub fn read(path: &Path) -> Result<NamedTensors> {
    open(path)?.tensors()
}

/// Reads a file and fills it into `parameters`; see [`WeightFile::fill`].
///
/// # Errors
/// As [`open`] and [`WeightFile::fill`].
pub fn load<P: Float>(path: &Path, parameters: &mut Parameters<P>) -> Result<()> {
    open(path)?.fill(parameters)
}

impl WeightFile {
    /// The file as one of this project's; `None` when it is another's.
    #[must_use]
    pub fn sealed(&self) -> Option<&SealedFile> {
        match &self.content {
            Content::Sealed(file) => Some(file),
            _ => None,
        }
    }

    /// As [`sealed`](Self::sealed), for good.
    #[must_use]
    pub fn into_sealed(self) -> Option<SealedFile> {
        match self.content {
            Content::Sealed(file) => Some(file),
            _ => None,
        }
    }

    /// All tensors; of a PyTorch checkpoint with several dictionaries of tensors those of the largest.
    ///
    /// # Errors
    /// [`Error::File`] when a tensor cannot be read, or the file holds features or a training checkpoint.
    pub fn tensors(&self) -> Result<NamedTensors> {
        self.fitting(|_| true)
    }

    /// Fills the tensors into `parameters`: see [`Parameters::fill`]. Of several dictionaries of tensors in a PyTorch
    /// checkpoint the one counts that names most tensors of the network.
    ///
    /// # Errors
    /// As [`tensors`](Self::tensors) and [`Parameters::fill`].
    pub fn fill<P: Float>(&self, parameters: &mut Parameters<P>) -> Result<()> {
        let tensors = self.fitting(|name| parameters.id_of(&parameters.name_here(name)).is_ok())?;
        parameters.fill(&tensors)
    }

    fn fitting(&self, fits: impl Fn(&str) -> bool) -> Result<NamedTensors> {
        match &self.content {
            Content::Sealed(file) if file.format() == FORMAT => self.safetensors(&file.tensors()?),
            Content::Sealed(file) => Err(Error::file(
                &self.path,
                format!(
                    "it is a file of format `{}`, not of weights (`{FORMAT}`)",
                    file.format()
                ),
            )),
            Content::Safetensors(bytes) => {
                let file = SafeTensors::deserialize(bytes).map_err(|e| {
                    Error::file(&self.path, format!("not a valid safetensors file ({e})"))
                })?;
                if file.tensor("features").is_ok() {
                    let reason = "it is a feature file (it has a tensor `features`), not a network's weights";
                    return Err(Error::file(&self.path, reason));
                }
                self.safetensors(&file)
            }
            Content::Torch(archive) => archive
                .tensors(fits)
                .map_err(|reason| Error::file(&self.path, reason)),
        }
    }

    fn safetensors(&self, file: &SafeTensors<'_>) -> Result<NamedTensors> {
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let element = Element::of_safetensors(view.dtype()).ok_or_else(|| {
                let reason = format!(
                    "tensor `{name}` has type {:?}; store f16, bf16, f32, f64 or integers",
                    view.dtype()
                );
                Error::file(&self.path, reason)
            })?;
            let numbers = view.data().chunks_exact(element.size());
            let values = numbers.map(|bytes| element.value(bytes, ByteOrder::Little));
            Ok((name, (view.shape().to_vec(), values.collect())))
        });
        tensors.collect()
    }
}

#[derive(Serialize)]
struct About {
    format: &'static str,
}

/// Writes all tensors as safetensors (f32; `num_batches_tracked` as i64), sealed and as a whole or not at all, for
/// `net.load_state_dict(safetensors.torch.load_file(path))`.
///
/// # Errors
/// [`Error::NotFinite`] when a value is no number, [`Error::Storage`] when the file cannot be written.
pub fn export<P: Float>(path: &Path, parameters: &Parameters<P>) -> Result<()> {
    parameters.check_values()?;
    let tensors: Vec<RawTensor<'_>> = parameters
        .iter()
        .map(|(spec, values)| {
            let values = values.iter().map(|x| x.to_f64());
            let (dtype, bytes) = match spec.role {
                Role::BatchesTracked => (
                    Dtype::I64,
                    values.flat_map(|x| (x as i64).to_le_bytes()).collect(),
                ),
                _ => (
                    Dtype::F32,
                    values.flat_map(|x| (x as f32).to_le_bytes()).collect(),
                ),
            };
            RawTensor {
                name: spec.name.clone(),
                dtype,
                shape: &spec.shape,
                bytes,
            }
        })
        .collect();
    write_sealed(path, &About { format: FORMAT }, &tensors)
}

/// The bytes of a regular file; what has no end (a pipe, a device) is not read.
fn contents(path: &Path) -> Result<Vec<u8>> {
    let unreadable =
        |error: std::io::Error| Error::file(path, format!("it cannot be read: {error}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::file(path, "it is not a regular file"));
    }
    if metadata.len() > LARGEST {
        let reason = format!(
            "it has {} bytes; no network here is larger than {LARGEST}",
            metadata.len()
        );
        return Err(Error::file(path, reason));
    }
    fs::read(path).map_err(unreadable)
}

/// Eight bytes of length, then a JSON object.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// What a file of another kind is.
fn kind(bytes: &[u8]) -> &'static str {
    let beginnings: [(&[u8], &str); 9] = [
        (b"\x89HDF", "an HDF5 file (Keras, MATLAB)"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"\x1f\x8b", "compressed by gzip (unpack it first)"),
        (b"BZh", "compressed by bzip2 (unpack it first)"),
        (b"\xfd7zXZ", "compressed by xz (unpack it first)"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd (unpack it first)"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer (fetch it with `git lfs pull`)",
        ),
        (b"\x80", "a pickle that `torch.save` did not write"),
        (b"<", "a web page"),
    ];
    if bytes.is_empty() {
        return "empty";
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return "a tar archive (unpack it first; PyTorch wrote such before 0.1.10)";
    }
    let known = beginnings
        .iter()
        .find(|(beginning, _)| bytes.starts_with(beginning));
    known.map_or("of no known kind", |(_, kind)| kind)
}
