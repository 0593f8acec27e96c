//! Whether every file of a store is what was written.

use std::path::{Path, PathBuf};

use collapse_files::Check;
use collapse_train::{read_events, read_state};

use crate::error::Error;
use crate::stop::Stop;
use crate::store::{
    CHECKPOINT, EVENTS, FAILURE, MANIFEST, RESULT, RunManifest, is_leftover, read_result,
};

/// What [`verify_store`] says of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what was written.
    Sound,
    /// It has no seal: another's file, or one that needs none.
    Unsealed,
    /// It is not what was written.
    Damaged {
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A temporary file of a process that was killed.
    Leftover,
}

/// One file below the folder that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What it is worth.
    pub verdict: Verdict,
}

/// Checks every file that the project writes below `root`: a store, or one run's folder.
///
/// What was set aside (`*.before-*`) is left alone, and so are files that are written only to be looked at (tables,
/// figures, the report).
///
/// # Errors
/// [`Error::Read`] when `root` is no folder or a file in it cannot be read; [`Error::Interrupted`].
pub fn verify_store(root: &Path, stop: &Stop) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    visit(root, stop, &mut findings)?;
    Ok(findings)
}

fn visit(folder: &Path, stop: &Stop, findings: &mut Vec<Finding>) -> Result<(), Error> {
    let failed = |source| Error::Read {
        path: folder.to_owned(),
        source,
    };
    let mut entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if stop.is_raised() {
            return Err(Error::Interrupted);
        }
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().contains(".before-") {
            continue;
        }
        // Links are not followed: they lead out of the store.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            visit(&path, stop, findings)?;
        } else if kind.is_file()
            && let Some(verdict) = verdict(&path, &name.to_string_lossy())?
        {
            findings.push(Finding { path, verdict });
        }
    }
    // One that is gone as a whole is no entry.
    let events = folder.join(EVENTS);
    if folder.join(CHECKPOINT).is_file()
        && !events.exists()
        && let verdict @ Verdict::Damaged { .. } = verdict_of_events(&events)
    {
        findings.push(Finding {
            path: events,
            verdict,
        });
    }
    Ok(())
}

/// What a run's events are worth: whether lines were cut from their end, only the checkpoint beside them can tell.
fn verdict_of_events(path: &Path) -> Verdict {
    let events = match read_state(&path.with_file_name(CHECKPOINT)) {
        Ok(state) => state.events(path),
        // There is none, or its own line says what is wrong with it.
        Err(_) => read_events(path),
    };
    match events {
        Ok(_) => Verdict::Sound,
        Err(error) => damaged(EVENTS, error.to_string()),
    }
}

/// What a file is worth; `None` for one of a kind that is not read again.
fn verdict(path: &Path, name: &str) -> Result<Option<Verdict>, Error> {
    if is_leftover(name.as_ref()) {
        return Ok(Some(Verdict::Leftover));
    }
    if name == EVENTS {
        return Ok(Some(verdict_of_events(path)));
    }
    let sealed = name.ends_with(".json") || name.ends_with(".safetensors");
    if !sealed {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(match collapse_files::check(&bytes) {
        Check::Sound(_) if [RESULT, MANIFEST].contains(&name) => belonging(path, name)?,
        Check::Sound(_) => Verdict::Sound,
        Check::Damaged => damaged(name, "its seal does not fit its content".to_owned()),
        Check::Unsealed if is_of_a_run(path) => damaged(
            name,
            "it has no seal: it is damaged, or of a version that wrote none".to_owned(),
        ),
        Check::Unsealed => Verdict::Unsealed,
    }))
}

/// Whether the sealed manifest or result at `path` belongs to its folder's run.
fn belonging(path: &Path, name: &str) -> Result<Verdict, Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let outcome = RunManifest::read(folder).and_then(|manifest| match manifest {
        Some(manifest) if name == RESULT => read_result(folder, &manifest).map(|_| None),
        Some(_) => Ok(None),
        None => Ok(Some(format!("there is no {MANIFEST} beside it"))),
    });
    match outcome {
        Ok(None) => Ok(Verdict::Sound),
        Ok(Some(reason)) => Ok(damaged(name, reason)),
        Err(Error::Damaged { path: of, message }) if of == path => Ok(damaged(name, message)),
        // The manifest's own line says what is wrong with it.
        Err(Error::Damaged { .. }) => Ok(Verdict::Sound),
        Err(error) => Err(error),
    }
}

/// Whether a file stands in the folder of a run or in one of its sub-folders.
fn is_of_a_run(path: &Path) -> bool {
    let folders = path.ancestors().skip(1).take(2);
    folders.into_iter().any(|folder| {
        [MANIFEST, RESULT, CHECKPOINT]
            .iter()
            .any(|name| folder.join(name).exists())
    })
}

fn damaged(name: &str, reason: String) -> Verdict {
    let remedy = match name {
        RESULT => "delete it: the same command makes it again from the checkpoint",
        MANIFEST => "move its folder away or delete it: the same command makes the run anew",
        CHECKPOINT | EVENTS => {
            "delete it, with checkpoint.safetensors, events.jsonl and result.json beside it: the same command makes the run anew"
        }
        "made-by.json" => "delete it: only who computed which epochs is lost",
        FAILURE => "delete it: only the reason of a failure is lost",
        "store.json" => "delete it: the next process decides anew what the precision `auto` means",
        "results.json" => "draw it again with `report`",
        _ => {
            "delete it, and result.json of its run: the same command makes both again from the checkpoint"
        }
    };
    Verdict::Damaged { reason, remedy }
}
