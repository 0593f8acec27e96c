//! Groups and seeds, the run store, planning and making of runs.
//!
//! ```
//! use collapse_experiment::Manifest;
//!
//! let manifest = Manifest::scale_named("quick")?;
//! let groups: Vec<&str> = manifest.groups().iter().map(|group| group.id.as_str()).collect();
//! assert!(groups.contains(&"r18-l2") && groups.contains(&"r18-base"));
//! # Ok::<(), collapse_experiment::Error>(())
//! ```
//!
//! * [`Manifest`]: a scale, i.e. groups × seeds on a benchmark; five are built in.
//! * [`plan()`], [`RunPlan`]: the manifest as single runs; [`Shard`]: a part of them.
//! * [`RunStore`], [`ClaimedRun`]: one folder a run, claimed by one process at a time, every file sealed.
//! * [`reproduce()`]: makes what is missing, beside any number of other processes, and collects everything as
//!   [`collapse_results::Results`]; [`make_run`]: one run.
//! * [`estimate()`]: what all that will take, timed on the spot.
//! * [`launch`]: the same runs as jobs of a cluster.
//! * [`status()`], [`gather_store`], [`verify_store`]: what a store holds, without the image sets; [`merge()`]: with the results of
//!   another store.
//!
//! Test and OoD images never reach training, fitting or selection: densities, geometry and
//! detectors are fitted on the training split, the temperature on the validation split, and the
//! last epoch counts.

mod choice;
mod ensembles;
mod error;
mod estimate;
mod execute;
mod gather;
mod image_form;
pub mod launch;
mod machine;
mod make;
mod manifest;
mod merge;
mod observer;
mod plan;
mod reproduce;
mod splits;
mod status;
mod stop;
mod store;
mod verify;
mod work;

pub use choice::Shard;
pub use error::{Error, Mistake};
pub use estimate::{Estimate, GroupEstimate, estimate};
pub use gather::{Gathered, gather_store};
pub use image_form::ImageForm;
pub use machine::{maker, peak_memory};
pub use make::{images_of, make_run};
pub use manifest::{DataSpec, GroupSpec, Manifest, Parallel, Precision, Resources};
pub use merge::merge;
pub use observer::{EpochProgress, Observer, RunId, Silent};
pub use plan::{RunPlan, auto_precision, plan, resolve_precision};
pub use reproduce::{Setting, reproduce};
pub use status::{RunState, RunStatus, refresh_status, status};
pub use stop::Stop;
pub use store::{ClaimedRun, Holder, RunManifest, RunStore, finished_in, spans_in};
pub use verify::{Finding, Verdict, verify_store};
pub use work::Work;
