//! What every run is made with.

use collapse_data::Benchmark;
use collapse_models::Device;

use crate::observer::Observer;
use crate::stop::Stop;

/// What every run is made with.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The images.
    pub benchmark: &'a Benchmark,
    /// Receives progress.
    pub observer: &'a dyn Observer,
    /// Where networks are trained and run: recorded in every run, no part of the question that it answers.
    pub device: Device,
    /// Raised by Ctrl-C.
    pub stop: &'a Stop,
    /// Version of the code, recorded in every run.
    pub code_version: &'a str,
    /// Refuse to go on with what another kernel path has begun.
    pub one_path: bool,
}
