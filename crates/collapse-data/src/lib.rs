//! Image sets for out-of-distribution benchmarks: an embedded sample, readers, splits, augmentation and batches.
//!
//! ```
//! # #[cfg(feature = "embedded")] {
//! use collapse_data::Benchmark;
//!
//! let benchmark = Benchmark::embedded()?;
//! let parts = benchmark.id().split(1);
//! let mut batch = Vec::new();
//! parts.train.fill_batch(&[0, 1, 2], 0, 1, true, &mut batch)?; // epoch 0, seed 1, augmented
//! assert_eq!(batch.len(), 28 * 28 * 3); // [H, W, N, C] with one grey channel
//! assert_eq!(benchmark.ood()[0].name(), "fashion-heldout");
//! # }
//! # Ok::<(), collapse_data::Error>(())
//! ```
//!
//! # Map
//! - [`ImageSet`]: decoded `u8` images of one shape with labels and a content hash.
//! - [`readers`]: parquet of the Hugging Face hub, CIFAR binary, SVHN `.mat`, IDX, folders, archives.
//! - [`registry`]: the one table of sets; [`load`] finds them in a folder by what its files hold, and
//!   [`Cache`] keeps them decoded.
//! - [`InDistribution`] and [`Benchmark`]: splits and the out-of-distribution sets; they alone hand out
//!   [`View`]s, so a set can only be normalised with the in-distribution constants.
//! - [`TrainingView::fill_batch`]: seeded crops and flips, in parallel, the same bytes for any number of threads.
//! - `fetch` (feature `hub`): resumable, checked downloads from the Hugging Face hub or the sets' authors.
//! - `candle` (feature `candle`): the sets that candle-datasets loads, brought upright.
//! - [`controls`]: noise, colours and scrambled images as out-of-distribution sets.
//! - [`verify`] and [`contact_sheet`]: what a set holds, in numbers and as a picture.
//! - [`duplicates`]: images that occur twice, within a set or across sets.
//!
//! # Caveats
//! - Everything is decoded to memory (CIFAR-10: 184 MB); ImageNet-sized sets are out of scope.
//! - Photographs are turned as their EXIF orientation says, as viewers and the hub's `datasets` do; torchvision's
//!   `ImageFolder` does not.
//! - Resizing square images follows Pillow to the bit; torchvision's tensor path rounds differently by up to one grey level.
//! - JPEGs are decoded in Rust; single values differ from libjpeg-turbo's (Pillow's) by up to five levels, mostly by
//!   none or one, because inverse DCT and colour conversion round differently. PNGs are exact.

mod batch;
mod benchmark;
mod cache;
#[cfg(feature = "candle")]
pub mod candle;
mod contact_sheet;
pub mod controls;
pub mod duplicates;
pub mod embed;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
#[cfg(feature = "hub")]
pub mod fetch;
mod hash;
mod image_set;
mod in_distribution;
mod input;
mod names;
mod pack;
pub mod readers;
pub mod registry;
mod resize;
mod shape;
mod shared;
mod source;
mod statistics;
pub mod verify;
mod walk;

pub use batch::{Augmentation, Constants, Normalization, Role, TrainingView, View};
pub use benchmark::{Benchmark, BenchmarkOptions, IdSet};
pub use cache::Cache;
pub use contact_sheet::contact_sheet;
#[cfg(feature = "embedded")]
pub use embedded::{Quick, quick};
pub use error::Error;
pub use hash::{ContentHash, file_sha256, sha256};
pub use image_set::ImageSet;
pub use in_distribution::{InDistribution, Parts};
pub use names::check_set_name;
pub use resize::Fit;
pub use shape::{ImageShape, Part};
pub(crate) use source::set_name;
pub use source::{LoadOptions, hub_cache, load, load_own, load_path, locate_files};
pub use statistics::ChannelStatistics;
