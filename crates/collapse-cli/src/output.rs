//! Standard output and standard error without a panic: who reads them may have seen enough, or the disk may be full.

use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

/// Writes a line to standard output, as `println!` does.
///
/// A reader that has closed its end, as `head -1` does, has seen enough: that is no error.
macro_rules! out {
    ($($argument:tt)*) => { $crate::output::print(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Writes a line to standard error, as `eprintln!` does; where nobody can read it, nothing is lost.
macro_rules! note {
    ($($argument:tt)*) => { $crate::output::tell(format_args!($($argument)*)) };
}

pub(crate) use {note, out};

/// Writes `text` to standard output, see [`out!`].
///
/// # Errors
/// When it cannot be written, because the disk of a redirection is full, say.
pub fn print(text: impl Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, see [`note!`].
pub fn tell(line: Arguments<'_>) {
    // There is no one left to be told of a failure.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
