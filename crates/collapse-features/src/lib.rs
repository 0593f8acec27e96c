//! The feature file: what a network says about one split of a data set, in one file that any
//! framework can write and read.
//!
//! ```
//! use collapse_features::{FeatureSet, Precision, read};
//! use ndarray::array;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("test.safetensors");
//!
//! FeatureSet::new(array![[3.0, 4.0], [0.0, 2.0]])
//!     .with_labels(vec![0, 1])
//!     .with_head(array![[1.0, 0.0], [0.0, 1.0]], array![0.0, 0.5])
//!     .with_l2(true)
//!     .write(&path, Precision::F32)?;
//!
//! let test = read(&path)?;
//! assert!(test.l2());
//! // The head saw z / ‖z‖, so the logits do too.
//! assert_eq!(*test.logits()?, array![[0.6, 1.3], [0.0, 1.5]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The format
//! A [safetensors](https://huggingface.co/docs/safetensors) file with
//!
//! | tensor | shape | type | |
//! |---|---|---|---|
//! | `features` | [N, D] | f16, bf16, f32, f64 | raw features z, the input of the head before any normalisation |
//! | `logits` | [N, C] | same | may be absent when the head is there |
//! | `labels` | `[N]` | any integer | optional for out-of-distribution sets |
//! | `head.weight`, `head.bias` | [C, D], `[C]` | same | the last linear layer |
//!
//! and text metadata in the header, of which only `l2` (`true`: the head saw z/‖z‖) changes what
//! is computed (a tensor `l2` of one truth value says the same); `dataset`, `split`, `net`, `epoch` and `seed` are carried along.
//! A file written here says so (`collapse.format`) and carries a seal (`collapse.seal`), a SHA-256 over all of it: damage is told
//! on reading. Files of other programs need neither.
//!
//! `.npz` archives with arrays of the same names, folders of `.npy` files of the same names, and single `.npy` files of
//! bare features are read too, and rows of text, `.csv` and `.jsonl`.
//!
//! # The map
//! * [`FeatureSet`], [`Head`]: the values, their shapes and the checks on them.
//! * [`read`], [`read_within`] and its [`Limits`], [`FeatureSet::write`], [`Precision`]: files.
//! * [`Rows`]: reading row by row, from files or a stream, with bounded memory.
//! * [`FeatureWriter`]: writing row by row, for sets larger than memory.
//! * [`check_agreement`]: do train, test and out-of-distribution files belong together?
//!
//! # Caveats
//! * A [`FeatureSet`] is held in memory: 4·N·D bytes for features of f32 or less, 8·N·D for those of f64; logits, 8·N·C.
//! * Extra tensors in a file are ignored.
#![forbid(unsafe_code)]

mod container;
mod error;
mod file;
mod npy;
mod number;
mod numpy;
mod read;
mod rows;
mod seal;
mod set;
mod stream;
mod tensors;
mod whole;
mod write;

pub use collapse_numeric::{Matrix, NORM_FLOOR, RowSource, RowsView, normalize_rows};
pub use error::{Error, Result};
pub use file::Limits;
pub use read::{read, read_logits, read_unlabelled, read_unlabelled_logits, read_within};
pub use rows::Rows;
pub use set::{FeatureSet, Head, check_agreement};
pub use stream::{FeatureWriter, Outline};
pub use write::Precision;
