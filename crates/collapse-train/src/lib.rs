//! Losses, SGD, schedules, exact resume and feature extraction.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use collapse_models::{Net, NetConfig};
//! use collapse_train::{InMemory, TrainConfig, Trainer, extract};
//!
//! // Two classes of 8×8 grey images: dark and bright.
//! let labels: Vec<usize> = (0..16).map(|i| i % 2).collect();
//! let images = labels.iter().flat_map(|&c| [2.0 * c as f32 - 1.0; 64]).collect();
//! let set = InMemory { images, labels, n_classes: 2, side: 8, channels: 1 };
//!
//! let mut net = NetConfig::new(Net::Resnet18, 2);
//! (net.width, net.input_size, net.in_channels) = (4, 8, 1);
//! let config = TrainConfig { epochs: 2, batch_size: 8, ..TrainConfig::default() };
//! let folder = tempfile::tempdir()?;
//! let mut trained = Trainer::new(net, config, folder.path())?.run(&set, &mut ())?;
//! assert_eq!(trained.history.len(), 2);
//!
//! let features = extract(trained.model.as_mut(), &set, 8, &[], &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(features.features.dim(), (16, 32));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On a folder of one's own pictures, a folder a class, brought to 32×32 in colour:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use collapse_data::{Benchmark, BenchmarkOptions, IdSet};
//! use collapse_models::{Net, NetConfig};
//! use collapse_train::{FittedImages, TrainConfig, Trainer};
//!
//! let id = IdSet::Own { name: "birds".into(), path: "pictures/birds".into() };
//! let benchmark = Benchmark::open(None, &BenchmarkOptions { id, ..BenchmarkOptions::default() })?;
//! let images = benchmark.id();
//!
//! let config = TrainConfig { epochs: 60, ..TrainConfig::default() };
//! // A tenth is held out by the seed; the other part is cropped and flipped.
//! let parts = images.split(config.seed);
//! let net = NetConfig::new(Net::Resnet18, images.train_set().n_classes());
//! let trained = Trainer::new(net, config, Path::new("runs/birds"))?.run(&FittedImages(&parts.train), &mut ())?;
//! println!("loss {:.3}", trained.history[59].loss);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`TrainConfig`] and [`Trainer`]: a run in a folder, with [`Observer`] hooks.
//! * [`TrainSet`]: what a data set must offer; [`InMemory`] is the simplest, [`FittedImages`] and [`HeldOutImages`] are
//!   image views of `collapse-data` with augmentation (see the example `image_views`).
//! * [`Learner`]: one training step; [`loss`], [`Schedule`]: its pieces; [`Batches`]: what it is fed with.
//! * [`Checkpoint`], [`read_events`]: what a run leaves behind, sealed; [`model_from_checkpoint`], [`TrainedWeights`].
//! * [`extract`], [`extract_to`]: the feature file's content, in memory or straight to the file.
//!
//! A resumed run ends with the bytes of an uninterrupted one on the same kernel path, for any
//! number of threads; a checkpoint of another configuration, data or path is refused. Resume
//! starts at the last finished epoch, or within an epoch that takes more than ten minutes.

mod checkpoint;
mod config;
mod data;
mod error;
mod events;
mod extract;
mod images;
mod keep;
mod learner;
pub mod loss;
mod model;
mod observer;
mod run;
mod schedule;
mod trainer;

pub use checkpoint::{Checkpoint, EpochPart, RunState, read_state};
pub use config::{Precision, SgdConfig, TrainConfig, ValidTrainConfig};
pub use data::{Batches, Draw, InMemory, LoadedBatch, TrainSet, epoch_order};
pub use error::{Error, Result};
pub use events::{EpochRecord, Event, read_events};
pub use extract::{AfterBatch, accuracy, extract, extract_to};
pub use images::{FittedImages, HeldOutImages};
pub use keep::KeepConfig;
pub use learner::{Learner, StepResult};
pub use loss::LossConfig;
pub use model::{TrainedWeights, load_model, load_model_on, model_from_checkpoint};
pub use observer::{HookError, Observer, Step};
pub use schedule::{Schedule, log_spaced_epochs, sevenths, warm_up};
pub use trainer::{Trained, Trainer};
