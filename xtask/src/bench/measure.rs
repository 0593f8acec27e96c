//! Timings of repeated work and the memory of the process.

use std::time::Instant;

use anyhow::Context;

/// Seconds of repeated work, ascending.
pub struct Timings(Vec<f64>);

impl Timings {
    /// From single timings in seconds.
    pub fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    /// The middle one; the mean of the middle two of an even number.
    pub fn median(&self) -> f64 {
        let n = self.0.len();
        match (self.0.get(n.saturating_sub(1) / 2), self.0.get(n / 2)) {
            (Some(below), Some(above)) => 0.5 * (below + above),
            _ => f64::NAN,
        }
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

/// Settles how many threads work, where it is asked for.
pub fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    match threads {
        Some(threads) => rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("--threads must be given before any work runs"),
        None => Ok(()),
    }
}

/// Seconds that `work` takes.
pub fn seconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Resident memory of this process now; `None` where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}

/// The processor and its number of cores, as far as they can be found.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let unit = if cores == 1 { "core" } else { "cores" };
    format!("{}, {cores} {unit}", processor())
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    raw_cpuid::CpuId::new()
        .get_processor_brand_string()
        .map_or_else(
            || "x86_64".to_owned(),
            |brand| brand.as_str().trim().to_owned(),
        )
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}
