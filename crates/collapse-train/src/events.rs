//! The event log: one JSON object a line, truncated to the checkpoint on resume.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What happened in one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate (at the end of a warm-up epoch: that of its last step).
    pub learning_rate: f64,
    /// Mean training loss over the epoch's images.
    pub loss: f64,
    /// Training accuracy (training mode, augmented images), 0..=1.
    pub accuracy: f64,
    /// Mean of each named part of the loss.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, f64>,
    /// Seconds of the epoch; not part of the run's identity.
    pub time: f64,
}

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An epoch was trained.
    Epoch(EpochRecord),
    /// The network was evaluated.
    Evaluation {
        /// After this epoch; 0 = untrained.
        epoch: usize,
        /// What the evaluation hook returned.
        values: serde_json::Value,
        /// Seconds of the evaluation; not part of the run's identity.
        time: f64,
    },
}

impl Event {
    /// The epoch it belongs to.
    pub fn epoch(&self) -> usize {
        match self {
            Self::Epoch(record) => record.epoch,
            Self::Evaluation { epoch, .. } => *epoch,
        }
    }

    /// The same event with its time set to 0, for comparison.
    pub fn without_time(mut self) -> Self {
        match &mut self {
            Self::Epoch(record) => record.time = 0.0,
            Self::Evaluation { time, .. } => *time = 0.0,
        }
        self
    }
}

/// Reads an event log; a torn last line (after a kill) ends it.
pub fn read_events(path: &Path) -> Result<Vec<Event>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(path, error)),
    };
    let mut events = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) if i + 1 == lines.len() => break,
            Err(error) => {
                return Err(Error::file(
                    path,
                    format!(
                        "line {} is no event ({error}); remove the run's folder",
                        i + 1
                    ),
                ));
            }
        }
    }
    Ok(events)
}

/// The open log of a run.
pub(crate) struct EventLog {
    path: PathBuf,
    file: fs::File,
}

impl EventLog {
    /// Opens the log with exactly `events` in it.
    pub(crate) fn rewrite(path: &Path, events: &[Event]) -> Result<Self> {
        let mut text = String::new();
        for event in events {
            text.push_str(&line(path, event)?);
        }
        crate::atomic::write(path, text.as_bytes())?;
        let file = fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|e| Error::file(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Appends one event and waits until it is on disk.
    pub(crate) fn append(&mut self, event: &Event) -> Result<()> {
        let text = line(&self.path, event)?;
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|e| Error::file(&self.path, e))
    }
}

fn line(path: &Path, event: &Event) -> Result<String> {
    let mut text = serde_json::to_string(event).map_err(|e| Error::file(path, e))?;
    text.push('\n');
    Ok(text)
}
