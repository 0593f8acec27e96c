//! Groups and seeds, the run store, planning and making of runs.
//!
//! ```
//! use collapse_experiment::Manifest;
//!
//! let manifest = Manifest::scale("quick")?;
//! let groups: Vec<&str> = manifest.groups.iter().map(|group| group.id.as_str()).collect();
//! assert!(groups.contains(&"r18-l2") && groups.contains(&"r18-base"));
//! # Ok::<(), collapse_experiment::Error>(())
//! ```
//!
//! * [`Manifest`]: a scale, i.e. groups × seeds on a benchmark; three are built in.
//! * [`RunStore`]: one folder a run, claimed by one process at a time, written atomically.
//! * [`plan()`], [`RunPlan`]: the manifest as single runs.
//! * [`reproduce()`]: makes what is missing and collects everything as [`collapse_results::Results`].
//! * [`FittedImages`], [`HeldOutImages`]: image views as training and feature extraction read them.
//!
//! Test and OoD images never reach training, fitting or selection: densities, geometry and
//! detectors are fitted on the training split, the temperature on the validation split, and the
//! last epoch counts.

mod error;
mod execute;
mod images;
mod manifest;
mod observer;
mod plan;
mod reproduce;
mod store;

pub use error::Error;
pub use images::{FittedImages, HeldOutImages};
pub use manifest::{DataSpec, GroupSpec, Manifest, Parallel, Precision};
pub use observer::{EpochProgress, Observer, RunId, Silent};
pub use plan::{RunPlan, describe_group, plan, resolve_precision};
pub use reproduce::{Setting, make_run, reproduce};
pub use store::{ClaimedRun, RunManifest, RunStore, finished_in, write_json};
