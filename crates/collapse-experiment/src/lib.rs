//! Groups and seeds, the run store, planning, launching and evaluation of finished runs.

mod error;
mod manifest;
mod store;

pub use error::Error;
pub use manifest::{DataSpec, GroupSpec, Manifest, Parallel, Precision};
pub use store::{ClaimedRun, RunManifest, RunStore, write_json};
