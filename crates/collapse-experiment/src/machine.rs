//! What computes a run: recorded beside its result, never part of the question it answers.

use collapse_models::Device;
use collapse_results::{Maker, Span};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::store::ClaimedRun;

/// This code on this machine.
///
/// # Errors
/// [`Error::Kernels`] when the kernel path asked for does not exist here.
pub fn maker(device: Device, code_version: &str) -> Result<Maker, Error> {
    Ok(Maker {
        code_version: code_version.to_owned(),
        kernel_path: match device {
            // Direct and Winograd convolutions round differently, as two paths do.
            Device::Cpu => format!(
                "{} {}",
                collapse_kernels::kernel_path()?.name(),
                collapse_kernels::convolution_algorithm()?.name()
            ),
            other => other.to_string(),
        },
        processor: processor(),
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

/// Where a maker took a run up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// First epoch of which it computed something, from 1.
    epoch: usize,
    /// Whether another had begun that epoch.
    within: bool,
    maker: Maker,
}

/// Everyone who worked at a run, in order: the content of its `made-by.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Starts {
    starts: Vec<Start>,
}

impl Starts {
    /// Those of the run's folder with `maker` added, who goes on after `finished` epochs and, `within` one, some steps.
    ///
    /// With `one_path`, [`Error::MixedPaths`] when another kernel path has had a part in it.
    pub(crate) fn record(
        claimed: &ClaimedRun,
        finished: usize,
        within: bool,
        maker: Maker,
        one_path: bool,
    ) -> Result<Self, Error> {
        let mut record = claimed.starts()?.unwrap_or_default();
        let starts = &mut record.starts;
        // What a killed process did after the checkpoint is done again.
        starts.retain(|start| start.epoch <= finished + usize::from(within));
        let other_path = |start: &&Start| start.maker.kernel_path != maker.kernel_path;
        if one_path && let Some(other) = starts.iter().find(other_path) {
            return Err(Error::MixedPaths {
                run: claimed.folder().display().to_string(),
                found: other.maker.kernel_path.clone(),
                here: maker.kernel_path,
            });
        }
        if starts.last().is_none_or(|last| last.maker != maker) {
            starts.push(Start {
                epoch: finished + 1,
                within,
                maker,
            });
            claimed.write_starts(&record)?;
        }
        Ok(record)
    }

    /// The spans of epochs of a run of `epochs`.
    pub(crate) fn spans(&self, epochs: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let ends = self.starts.iter().skip(1);
        let ends = ends.map(|next| next.epoch - 1 + usize::from(next.within));
        for (start, last_epoch) in self.starts.iter().zip(ends.chain([epochs])) {
            let first_epoch = spans.last().map_or(1, |span| span.last_epoch + 1);
            if last_epoch >= first_epoch {
                spans.push(Span {
                    first_epoch,
                    last_epoch,
                    maker: start.maker.clone(),
                });
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RunManifest;

    fn maker(path: &str) -> Maker {
        Maker {
            code_version: "1".to_owned(),
            kernel_path: path.to_owned(),
            processor: "test".to_owned(),
        }
    }

    #[test]
    fn spans_say_who_trained_which_epochs() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = RunManifest::new("g", 1, serde_json::json!({}), "1");
        let claimed = ClaimedRun::take(&folder.path().join("run"), &manifest)
            .unwrap()
            .unwrap();
        let at = |finished, within, path| {
            Starts::record(&claimed, finished, within, maker(path), false)
                .unwrap()
                .spans(10)
                .into_iter()
                .map(|span| (span.first_epoch, span.last_epoch, span.maker.kernel_path))
                .collect::<Vec<_>>()
        };
        let span = |first, last, path: &str| (first, last, path.to_owned());
        assert_eq!(at(0, false, "a"), [span(1, 10, "a")]);
        // Killed before its first checkpoint: nothing of it is left.
        assert_eq!(at(0, false, "b"), [span(1, 10, "b")]);
        assert_eq!(at(4, false, "b"), [span(1, 10, "b")]);
        assert_eq!(at(4, true, "a"), [span(1, 5, "b"), span(6, 10, "a")]);
        assert_eq!(at(10, false, "b"), [span(1, 5, "b"), span(6, 10, "a")]);
        let mixed = Starts::record(&claimed, 10, false, maker("a"), true).unwrap_err();
        assert!(mixed.to_string().contains("--one-path"), "{mixed}");
    }
}
