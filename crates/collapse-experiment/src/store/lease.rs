//! Who is at a run, as a file in its folder says: for file systems whose locks fail, or are granted twice.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::Error;

pub(crate) const CLAIM: &str = "claim";
/// Its name in the run's folder.
pub(crate) const LEASE: &str = "lease";
/// How often the holder gives a sign of life.
const BEAT: Duration = Duration::from_secs(5);
/// After so long without one the holder counts as dead.
const SILENT: Duration = Duration::from_secs(60);

/// Who holds a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the machine.
    pub host: String,
    /// Number of the process there.
    pub process: u32,
    /// Number of the scheduler's job, where one started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl Holder {
    pub(crate) fn here() -> Self {
        let variable = |name| std::env::var(name).ok();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host
            .or_else(|| variable("HOSTNAME"))
            .or_else(|| variable("COMPUTERNAME"));
        let array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        Self {
            host: host.map_or_else(|| "unknown".to_owned(), |host| host.trim().to_owned()),
            process: std::process::id(),
            job: array
                .map(|(job, task)| format!("{job}_{task}"))
                .or_else(|| variable("SLURM_JOB_ID")),
        }
    }
}

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    #[serde(flatten)]
    holder: Holder,
    /// Different for every lease ever taken.
    token: String,
}

/// A lease as it stands in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// `None` while it is being written, or damaged.
    content: Option<Content>,
    /// Time since the last sign of life.
    pub(crate) silence: Duration,
}

impl Found {
    /// The lease of `folder`; `None` where nobody has one.
    pub(crate) fn of(folder: &Path, now: SystemTime) -> Result<Option<Self>, Error> {
        let path = folder.join(LEASE);
        let failed = |source| Error::Read {
            path: path.clone(),
            source,
        };
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(failed)?,
        };
        let beat = match std::fs::metadata(&path).and_then(|found| found.modified()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            time => time.map_err(failed)?,
        };
        Ok(Some(Self {
            content: serde_json::from_slice(&bytes).ok(),
            silence: now.duration_since(beat).unwrap_or_default(),
        }))
    }

    pub(crate) fn holder(&self) -> Option<&Holder> {
        self.content.as_ref().map(|content| &content.holder)
    }

    /// Whether its holder is still at the run, as far as can be told from here.
    pub(crate) fn is_alive(&self) -> bool {
        self.silence < SILENT && !self.is_of_a_dead_process()
    }

    /// Whether its process was of this machine and is gone.
    pub(crate) fn is_of_a_dead_process(&self) -> bool {
        let Some(Content { holder, token }) = &self.content else {
            return false;
        };
        let here = Holder::here();
        if holder.host != here.host {
            return false;
        }
        match holder.process == here.process {
            // The number may have been another process's before.
            true => !token.starts_with(PROCESS.as_str()),
            false => !process_exists(holder.process),
        }
    }
}

/// Where it cannot be told, a process is believed to exist, and its silence decides.
fn process_exists(process: u32) -> bool {
    let processes = Path::new("/proc");
    !processes.join("self").exists() || processes.join(process.to_string()).exists()
}

/// What tokens of this process begin with.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = started.unwrap_or_default().as_nanos();
    format!("{:x}-{:x}-", std::process::id(), nanoseconds)
});

/// The lease of this process; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    content: Content,
    /// Closed when the lease ends.
    beats: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lease {
    /// Takes the lease of `folder`; `None` when a living process has it.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Unwritable`] when the folder cannot be read or written.
    pub(crate) fn take(folder: &Path) -> Result<Option<Self>, Error> {
        // Twice is enough where nobody else is at it; others may come in between.
        for _ in 0..5 {
            if let Some(lease) = Self::create(folder)? {
                return Ok(Some(lease));
            }
            match Found::of(folder, now_at(folder))? {
                None => {}
                Some(found) if found.is_alive() => return Ok(None),
                Some(found) => remove(folder, &found)?,
            }
        }
        Ok(None)
    }

    /// A new lease; `None` when there is one.
    fn create(folder: &Path) -> Result<Option<Self>, Error> {
        static TAKEN: AtomicU64 = AtomicU64::new(0);
        let path = folder.join(LEASE);
        let failed = |source| Error::Unwritable {
            path: path.clone(),
            source,
        };
        let content = Content {
            holder: Holder::here(),
            token: format!("{}{}", *PROCESS, TAKEN.fetch_add(1, Ordering::Relaxed)),
        };
        // Exclusive creation is atomic on every file system in use, NFS from version 3 on.
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = match opened {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let text = serde_json::to_vec(&content).map_err(|error| failed(error.into()))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        let (end, ended) = channel();
        let beats = std::thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || {
                while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                    beat(&file, &text);
                }
            })
            .map_err(failed)?;
        Ok(Some(Self {
            path,
            content,
            beats: Some((end, beats)),
        }))
    }

    /// Whether it is the one in its folder: nobody has taken it over.
    pub(crate) fn is_ours(&self) -> bool {
        std::fs::read(&self.path)
            .is_ok_and(|bytes| serde_json::from_slice(&bytes).ok().as_ref() == Some(&self.content))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((end, beats)) = self.beats.take() {
            drop(end);
            // It has ended by itself only if it panicked; the lease is given back all the same.
            let _ = beats.join();
        }
        if self.is_ours() {
            // Left behind, it counts as dead after a minute.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes the same bytes again: the file server's clock dates them, so that no two clocks are compared.
///
/// It writes to the file that was created, so it never touches a lease that has taken its place.
fn beat(mut file: &File, text: &[u8]) {
    use std::io::Seek;
    // A failed beat is tried again; who is silent too long loses the run at its next write.
    let _ = file
        .rewind()
        .and_then(|()| file.write_all(text))
        .and_then(|()| file.sync_data());
}

/// The time by the clock that dates files of `folder`.
fn now_at(folder: &Path) -> SystemTime {
    let claim = folder.join(CLAIM);
    let dated = std::fs::write(&claim, b"\n").and_then(|()| std::fs::metadata(&claim)?.modified());
    dated.unwrap_or_else(|_| SystemTime::now())
}

/// Removes a dead process's lease, unless another has replaced it meanwhile.
fn remove(folder: &Path, dead: &Found) -> Result<(), Error> {
    let path = folder.join(LEASE);
    let aside = folder.join(format!(".collapse-{}lease.tmp", *PROCESS));
    let failed = |source| Error::Unwritable {
        path: path.clone(),
        source,
    };
    match std::fs::rename(&path, &aside) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(failed)?,
    }
    let taken = std::fs::read(&aside).map_err(failed)?;
    let is_the_dead_one = serde_json::from_slice(&taken).ok() == dead.content;
    if !is_the_dead_one {
        // A third process was quicker. Its lease goes back; if a fourth has come meanwhile, that one holds the run.
        let _ = std::fs::hard_link(&aside, &path);
    }
    std::fs::remove_file(&aside).map_err(failed)
}
