//! Timings of repeated work and the memory of the process.

use std::time::Instant;

/// Seconds of repeated work, ascending.
pub struct Timings(Vec<f64>);

impl Timings {
    /// From single timings in seconds.
    pub fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The fastest.
    pub fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// The slowest.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

/// Seconds that `work` takes.
pub fn seconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Largest resident memory of this process so far; `None` where the system does not tell.
#[cfg(unix)]
pub fn peak_rss_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let kilobytes = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
    // macOS counts bytes, the others kilobytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(kilobytes).ok().map(|value| value * unit)
}

/// Largest resident memory of this process so far; `None` where the system does not tell.
#[cfg(not(unix))]
pub fn peak_rss_bytes() -> Option<u64> {
    None
}
