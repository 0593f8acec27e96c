//! Floors by kind of processor: `benches/floors.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::super::measure::Timings;
use super::measure::Measured;

/// What stands above the floors in the file.
const HEAD: &str = "\
# Floors of the regression guard, `cargo xtask bench --check`: written by `--bless`, not by hand.
#
# A ratio is the time of the yardstick over that of the work, measured in turn on one thread: larger is faster. `ratio` is the
# median over processes when the floor was set, `spread` how far they lay apart (largest less smallest, over the median), and the
# floor lies below the ratio by that spread, but by at least 8 % and at most 15 %: a slow-down of a quarter lowers the ratio by
# 20 %. `yardstick_s` are the seconds of one yardstick then.
";

/// Least and largest distance of a floor from its ratio, relative.
const MARGIN: (f64, f64) = (0.08, 0.15);

/// A kind of processor: what a ratio depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Processor {
    /// Kernel path in force.
    pub(super) path: String,
    /// Maker, as the processor says.
    pub(super) vendor: String,
    pub(super) family: u32,
    pub(super) model: u32,
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} family {} model {}",
            self.path, self.vendor, self.family, self.model
        )
    }
}

impl Processor {
    pub(super) fn of_this_machine() -> Result<Self> {
        let path = collapse_kernels::kernel_path()?.name().to_owned();
        let (vendor, family, model) = identity();
        Ok(Self {
            path,
            vendor,
            family,
            model,
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn identity() -> (String, u32, u32) {
    let cpuid = raw_cpuid::CpuId::new();
    let vendor = cpuid
        .get_vendor_info()
        .map_or_else(|| "x86_64".to_owned(), |vendor| vendor.as_str().to_owned());
    let (family, model) = cpuid.get_feature_info().map_or((0, 0), |features| {
        (features.family_id().into(), features.model_id().into())
    });
    (vendor, family, model)
}

#[cfg(not(target_arch = "x86_64"))]
fn identity() -> (String, u32, u32) {
    let name = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    (name, 0, 0)
}

/// The floor of one hot path.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Floor {
    pub(super) ratio: f64,
    pub(super) spread: f64,
    pub(super) floor: f64,
    pub(super) yardstick_s: f64,
}

/// The floors of one kind of processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ProcessorFloors {
    #[serde(flatten)]
    pub(super) processor: Processor,
    /// The code that was measured last.
    pub(super) blessed_by: String,
    pub(super) cases: BTreeMap<String, Floor>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Floors {
    #[serde(default)]
    processor: Vec<ProcessorFloors>,
}

impl Floors {
    /// Those of a file; none where there is no file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("{} is no file of floors", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    pub(super) fn of(&self, processor: &Processor) -> Option<&ProcessorFloors> {
        self.processor
            .iter()
            .find(|floors| floors.processor == *processor)
    }

    /// Sets the floors of the measured cases; returns those too far apart to see a slow-down of a quarter, with their spread.
    pub(super) fn bless(
        &mut self,
        processor: Processor,
        rounds: &[Vec<Measured>],
    ) -> Result<Vec<(String, f64)>> {
        let found = self.processor.iter().position(|f| f.processor == processor);
        let index = found.unwrap_or_else(|| {
            self.processor.push(ProcessorFloors {
                processor,
                blessed_by: String::new(),
                cases: BTreeMap::new(),
            });
            self.processor.len() - 1
        });
        let floors = &mut self.processor[index];
        floors.blessed_by = collapse_cli::CODE_VERSION.to_owned();
        let mut unguarded = Vec::new();
        for measured in rounds.first().context("no process measured")? {
            let of_case: Vec<&Measured> = rounds
                .iter()
                .flatten()
                .filter(|other| other.id == measured.id)
                .collect();
            let floor = Floor::of(&of_case);
            if floor.spread > MARGIN.1 {
                unguarded.push((measured.id.clone(), floor.spread));
            }
            floors.cases.insert(measured.id.clone(), floor);
        }
        Ok(unguarded)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{HEAD}\n{}", toml::to_string(self)?);
        Ok(collapse_files::replace(path, text.as_bytes())?)
    }
}

impl Floor {
    /// Of the measurements of one case by several processes.
    fn of(measured: &[&Measured]) -> Self {
        let ratios = Timings::new(measured.iter().map(|m| m.ratio()).collect());
        let yardstick = measured.iter().map(|m| m.yardstick_median_s()).collect();
        let ratio = ratios.median();
        let spread = (ratios.max() - ratios.min()) / ratio;
        Self {
            ratio: digits(ratio),
            spread: digits(spread),
            floor: digits(ratio * (1.0 - spread.clamp(MARGIN.0, MARGIN.1))),
            yardstick_s: digits(Timings::new(yardstick).median()),
        }
    }
}

/// Four significant digits.
fn digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(id: &str, work_s: f64) -> Measured {
        Measured {
            id: id.to_owned(),
            work_s: vec![work_s; 5],
            yardstick_s: vec![1e-3; 5],
        }
    }

    fn processor(model: u32) -> Processor {
        Processor {
            path: "avx2".to_owned(),
            vendor: "a maker".to_owned(),
            family: 1,
            model,
        }
    }

    #[test]
    fn a_floor_lies_below_its_ratio_by_the_spread_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("floors.toml");
        let mut floors = Floors::read(&path).unwrap();
        // Ratios 1/2 in every process; 1/2.2, 1/2 and 1/1.8; and one that jumps.
        let rounds: Vec<Vec<Measured>> = [2e-3, 2.1e-3, 1.9e-3]
            .into_iter()
            .zip([1e-3, 2e-3, 3e-3])
            .map(|(some, wild)| {
                vec![
                    measured("steady", 2e-3),
                    measured("some", some),
                    measured("wild", wild),
                ]
            })
            .collect();
        let unguarded = floors.bless(processor(1), &rounds).unwrap();
        assert_eq!(unguarded.len(), 1);
        assert_eq!(unguarded[0].0, "wild");
        floors.write(&path).unwrap();

        let read = Floors::read(&path).unwrap();
        assert_eq!(read, floors);
        assert!(read.of(&processor(2)).is_none());
        let cases = &read.of(&processor(1)).unwrap().cases;
        let margin = |id: &str| 1.0 - cases[id].floor / cases[id].ratio;
        assert!((margin("steady") - MARGIN.0).abs() < 1e-3);
        assert!((margin("some") - 0.1002).abs() < 1e-3, "{}", margin("some"));
        assert!((margin("wild") - MARGIN.1).abs() < 1e-3);
    }

    #[test]
    fn blessing_a_part_keeps_the_others() {
        let mut floors = Floors::default();
        let bless = |floors: &mut Floors, model, id, work_s| {
            let round = || vec![measured(id, work_s)];
            floors.bless(processor(model), &[round(), round()]).unwrap()
        };
        bless(&mut floors, 1, "one", 1e-3);
        bless(&mut floors, 2, "one", 2e-3);
        bless(&mut floors, 1, "two", 4e-3);
        let ratios = |model| -> Vec<f64> {
            let cases = &floors.of(&processor(model)).unwrap().cases;
            cases.values().map(|floor| floor.ratio).collect()
        };
        assert_eq!((ratios(1), ratios(2)), (vec![1.0, 0.25], vec![0.5]));
    }
}
