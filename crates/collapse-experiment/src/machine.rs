//! What computes a run: recorded beside its result, never part of the question it answers.

use collapse_models::Device;
use collapse_results::Maker;

use crate::error::Error;

/// This code on this machine.
///
/// # Errors
/// [`Error::Kernels`] when the kernel path asked for does not exist here.
pub fn maker(device: Device, code_version: &str) -> Result<Maker, Error> {
    let (path, other) = match device.hardware()? {
        Some(hardware) => (hardware.path, hardware.processor),
        // Direct and Winograd convolutions round differently, as two paths do.
        None => {
            let path = collapse_kernels::kernel_path()?.name();
            let algorithm = collapse_kernels::convolution_algorithm()?.name();
            (format!("{path} {algorithm}"), None)
        }
    };
    Ok(Maker {
        code_version: code_version.to_owned(),
        kernel_path: path,
        processor: other.unwrap_or_else(processor),
    })
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let brand = raw_cpuid::CpuId::new().get_processor_brand_string();
    brand.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |brand| brand.as_str().trim().to_owned(),
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}

/// Largest resident memory of this process so far, in bytes; `None` where the system does not tell.
#[cfg(unix)]
#[must_use]
pub fn peak_memory() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let kilobytes = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
    // macOS counts bytes, the others kilobytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(kilobytes).ok().map(|value| value * unit)
}

/// Largest resident memory of this process so far, in bytes; `None` where the system does not tell.
#[cfg(not(unix))]
#[must_use]
pub fn peak_memory() -> Option<u64> {
    None
}
