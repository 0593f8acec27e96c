//! The event log: one sealed JSON object a line, truncated to the checkpoint on resume.
//!
//! The `seal` that ends each line is the SHA-256 of the seal before it and of the line without it. So a line that was
//! changed, lost, moved or added breaks the chain; that lines were cut from the end is seen from the checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::RunState;
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
    #[must_use]
    pub fn epoch(&self) -> usize {
        match self {
            Self::Epoch(record) => record.epoch,
            Self::Evaluation { epoch, .. } => *epoch,
        }
    }

    /// The same event with its time set to 0, for comparison.
    #[must_use]
    pub fn without_time(mut self) -> Self {
        match &mut self {
            Self::Epoch(record) => record.time = 0.0,
            Self::Evaluation { time, .. } => *time = 0.0,
        }
        self
    }
}

/// The seals of a log so far; each line's depends on all lines before it.
#[derive(Clone, Debug)]
struct Chain(String);

impl Chain {
    fn new() -> Self {
        Self("collapse.events/2".to_owned())
    }

    /// The seal of the next line, whose JSON object without it is `object`.
    fn next(&mut self, object: &str) -> &str {
        let mut hasher = Sha256::new();
        hasher.update(&self.0);
        hasher.update(object);
        self.0 = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        &self.0
    }

    /// The event of a line, if it is the next one.
    fn open(&mut self, line: &str) -> Option<Event> {
        let (object, seal) = line.strip_suffix(CLOSE)?.rsplit_once(OPEN)?;
        let object = format!("{object}}}");
        (self.next(&object) == seal).then(|| serde_json::from_str(&object).ok())?
    }

    /// The line of an event, its end included.
    fn close(&mut self, event: &Event) -> serde_json::Result<String> {
        let object = serde_json::to_string(event)?;
        let seal = self.next(&object);
        let fields = &object[..object.len() - 1];
        Ok(format!("{fields}{OPEN}{seal}{CLOSE}\n"))
    }
}

const OPEN: &str = ",\"seal\":\"";
const CLOSE: &str = "\"}";

/// Reads an event log as far as it goes; a torn last line (after a kill) ends it, a missing file is an empty one.
///
/// Whether it goes far enough only the checkpoint can tell: see [`RunState::events`].
///
/// # Errors
/// [`Error::File`] when it cannot be read, or a line is not the one that was written there.
pub fn read_events(path: &Path) -> Result<Vec<Event>> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(Error::file(path, "it is not a regular file"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        _ => {}
    }
    let bytes = fs::read(path).map_err(|e| Error::file(path, format!("it cannot be read: {e}")))?;
    let mut chain = Chain::new();
    let mut events = Vec::new();
    for (i, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let event = std::str::from_utf8(line)
            .ok()
            .and_then(|line| chain.open(line));
        events.push(event.ok_or_else(|| {
            let reason = format!(
                "line {} is not the one that was written there; restore the file, or remove the run's folder to train \
                 anew",
                i + 1
            );
            Error::file(path, reason)
        })?);
    }
    Ok(events)
}

impl RunState {
    /// The events of the run up to this position: every epoch and every evaluation of it, in order.
    ///
    /// # Errors
    /// As [`read_events`], and [`Error::EventsLost`] when one is missing.
    pub fn events(&self, path: &Path) -> Result<Vec<Event>> {
        let mut events = read_events(path)?;
        events.retain(|event| event.epoch() <= self.epoch);
        let missing = |what: &str, wanted: &mut dyn Iterator<Item = usize>, found: Vec<usize>| {
            let mut lost = wanted.filter(|epoch| !found.contains(epoch));
            lost.next().map_or(Ok(()), |epoch| {
                Err(Error::EventsLost {
                    path: path.to_owned(),
                    lost: format!("{what} {epoch}"),
                    epoch: self.epoch,
                })
            })
        };
        let epochs = events.iter().filter_map(|event| match event {
            Event::Epoch(record) => Some(record.epoch),
            Event::Evaluation { .. } => None,
        });
        missing("epoch", &mut (1..=self.epoch), epochs.collect())?;
        let evaluations = events.iter().filter_map(|event| match event {
            Event::Epoch(_) => None,
            Event::Evaluation { epoch, .. } => Some(*epoch),
        });
        let wanted = &mut self.evaluated.iter().copied();
        missing("the evaluation after epoch", wanted, evaluations.collect())?;
        Ok(events)
    }
}

/// The open log of a run.
pub(crate) struct EventLog {
    path: PathBuf,
    file: fs::File,
    chain: Chain,
    events: Vec<Event>,
}

impl EventLog {
    /// Opens the log with exactly `events` in it.
    pub(crate) fn rewrite(path: &Path, events: Vec<Event>) -> Result<Self> {
        let mut chain = Chain::new();
        let lines = events.iter().map(|event| chain.close(event));
        let text: String = lines
            .collect::<serde_json::Result<_>>()
            .map_err(|e| Error::file(path, e))?;
        collapse_files::replace(path, text.as_bytes())?;
        let file = fs::OpenOptions::new().append(true).open(path);
        Ok(Self {
            file: file.map_err(|e| Error::file(path, e))?,
            path: path.to_owned(),
            chain,
            events,
        })
    }

    /// Appends one event and waits until it is on disk.
    pub(crate) fn append(&mut self, event: Event) -> Result<()> {
        let line = self
            .chain
            .close(&event)
            .map_err(|e| Error::file(&self.path, e))?;
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|e| Error::file(&self.path, e))?;
        self.events.push(event);
        Ok(())
    }

    /// All events in it.
    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> (PathBuf, Vec<Event>) {
        let path = folder.join("events.jsonl");
        let events: Vec<Event> = (0..4)
            .map(|epoch| Event::Evaluation {
                epoch,
                values: serde_json::json!({ "seal": ",\"seal\":\"x\"}" }),
                time: 0.25,
            })
            .collect();
        let mut log = EventLog::rewrite(&path, events[..2].to_vec()).unwrap();
        log.append(events[2].clone()).unwrap();
        log.append(events[3].clone()).unwrap();
        assert_eq!(log.into_events(), events);
        (path, events)
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_line_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, events) = written(folder.path());
        assert_eq!(read_events(&path).unwrap(), events);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(read_events(&path).unwrap(), events[..3]);
        assert_eq!(read_events(&folder.path().join("none")).unwrap(), []);
    }

    #[test]
    fn lines_lost_swapped_repeated_or_changed_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = written(folder.path());
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let changed = lines[1].replace("0.25", "0.75");
        for other in [
            vec![lines[1], lines[2]],
            vec![lines[0], lines[2], lines[3]],
            vec![lines[0], lines[2], lines[1], lines[3]],
            vec![lines[0], lines[0], lines[1]],
            vec![lines[0], &changed, lines[2]],
            vec![lines[0], "", lines[1]],
        ] {
            fs::write(&path, other.join("\n") + "\n").unwrap();
            let error = read_events(&path).unwrap_err().to_string();
            assert!(
                error.contains("is not the one that was written there"),
                "{error}"
            );
        }
    }
}
