//! When a run writes checkpoints, and which of them stay.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// When a run writes its checkpoint beside the end of every epoch, and of which epochs it keeps a
/// copy, in `checkpoints/`. None of it changes a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepConfig {
    /// Of how many latest epochs a copy stays.
    pub last: usize,
    /// Epochs whose checkpoints stay for good.
    pub epochs: Vec<usize>,
    /// Seconds of work that a killed run may lose: within an epoch a checkpoint is written at the
    /// first step after them.
    pub interval_seconds: f64,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self {
            last: 0,
            epochs: Vec::new(),
            interval_seconds: 600.0,
        }
    }
}

impl KeepConfig {
    pub(crate) fn check(&self) -> Result<()> {
        if self.interval_seconds >= 0.0 {
            return Ok(());
        }
        Err(Error::Config {
            field: "interval_seconds",
            value: self.interval_seconds.to_string(),
            remedy: "choose 0 or a positive number",
        })
    }

    /// Copies the fresh checkpoint of `epoch` where it is to be kept and removes outdated ones.
    pub(crate) fn apply(&self, latest: &Path, epoch: usize) -> Result<()> {
        if self.last == 0 && !self.epochs.contains(&epoch) {
            return Ok(());
        }
        let folder = latest.with_file_name("checkpoints");
        let name = |epoch: usize| folder.join(format!("epoch-{epoch:05}.safetensors"));
        let bytes = fs::read(latest).map_err(|e| Error::file(latest, e))?;
        collapse_files::replace(&name(epoch), &bytes)?;
        let outdated = epoch.saturating_sub(self.last);
        for old in (0..=outdated).rev() {
            let path = name(old);
            if self.epochs.contains(&old) || old == epoch {
                continue;
            }
            if !path.exists() {
                break;
            }
            fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
        }
        Ok(())
    }
}
