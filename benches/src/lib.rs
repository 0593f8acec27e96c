//! The hot paths, each with a fixed yardstick: one list for criterion and for `cargo xtask bench --check`.
//!
//! ```
//! let cases = collapse_benches::cases()?;
//! let auroc = cases.iter().find(|case| case.id.starts_with("auroc/")).expect("in the list");
//! let (mut work, mut yardstick) = (auroc.prepare()?, auroc.yardstick.prepare()?);
//! work()?; // timed in turn with
//! yardstick()?;
//! # anyhow::Ok(())
//! ```
//!
//! A [`Case`] is data: what it is called, whether the short form of the guard measures it, how to prepare its work, and the
//! [`Yardstick`] that is measured beside it. Every input is drawn from a named stream of seed 1, so it is the same in every run.

mod case;
mod convolutions;
mod data;
mod inputs;
mod networks;
mod passes;
mod report;
mod scores;
mod statistics;
mod yardstick;

pub use case::{Case, Work};
pub use inputs::{ClassFeatures, noise_f32, noise_images, normals};
pub use networks::Worker;
pub use yardstick::Yardstick;

use anyhow::Result;

/// Every hot path, for the kernel paths of this machine: the one in force, and of each other one a layer.
///
/// # Errors
/// If an environment variable names a kernel path that this machine does not have.
pub fn cases() -> Result<Vec<Case>> {
    let mut cases = convolutions::cases()?;
    cases.extend(passes::cases()?);
    cases.extend(networks::cases()?);
    cases.extend(data::cases());
    cases.extend(statistics::cases()?);
    cases.extend(scores::cases());
    cases.extend(report::cases());
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_chooses_one_case() {
        let cases = cases().unwrap();
        for case in &cases {
            let chosen = cases.iter().filter(|other| other.id.contains(&case.id));
            assert_eq!(chosen.count(), 1, "{}", case.id);
            assert!(!case.id.contains(char::is_whitespace), "{}", case.id);
        }
        let short = cases.iter().filter(|case| case.short).count();
        assert!(0 < short && short < cases.len());
    }

    #[test]
    fn every_score_is_measured() {
        let cases = cases().unwrap();
        for entry in collapse_ood::detectors() {
            let part = format!("score/{}/", entry.id());
            let found: Vec<&Case> = cases.iter().filter(|c| c.id.contains(&part)).collect();
            assert_eq!(found.len(), 1, "{part}");
            let mut score = found[0].prepare().unwrap();
            score().unwrap();
        }
    }
}
