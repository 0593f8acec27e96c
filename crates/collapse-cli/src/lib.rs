//! The commands of the project, as a library: the program `collapse` and the repository's `cargo xtask` both run them.
//!
//! ```no_run
//! // All of a program that has the project's commands.
//! fn main() -> std::process::ExitCode {
//!     collapse_cli::main()
//! }
//! ```
//!
//! # Map
//! - [`Command`]: what can be asked for; [`Command::run`] does it.
//! - [`main()`]: arguments, the command, its exit code.
//!
//! # Features
//! `train` (default) brings networks and images, hence candle. Without it the program starts at feature files.
//! `hub` downloads image sets, `cuda` and `metal` train on candle's GPU devices.

// Both panic when nobody reads: `output` has macros that do not.
#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "train")]
mod command_line;
#[cfg(feature = "train")]
mod convert;
#[cfg(feature = "train")]
mod data;
#[cfg(feature = "train")]
mod extract;
#[cfg(feature = "train")]
mod launch;
mod named_path;
#[cfg(feature = "train")]
mod network;
mod output;
#[cfg(feature = "train")]
mod plan;
#[cfg(feature = "train")]
mod progress;
#[cfg(feature = "train")]
mod report;
#[cfg(feature = "train")]
mod reproduce;
mod score;
#[cfg(feature = "train")]
mod status;
#[cfg(feature = "train")]
mod stop;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
mod verify;
#[cfg(feature = "train")]
mod verify_store;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Version of this build, with the commit where it is known.
pub const CODE_VERSION: &str = env!("COLLAPSE_CODE_VERSION");

/// What the exit code of every command says.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, with one message on standard error; 2 arguments not understood; \
    130 stopped by Ctrl-C (SIGINT), 143 by SIGTERM: the same command goes on.";

/// Neural collapse and out-of-distribution detection: reproduce, train, score.
#[derive(Parser)]
#[command(name = "collapse", version = CODE_VERSION, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A command of the project.
#[derive(Subcommand)]
#[allow(
    missing_docs,
    reason = "each command's help is the doc of its arguments"
)]
pub enum Command {
    #[cfg(feature = "train")]
    Reproduce(reproduce::Args),
    #[cfg(feature = "train")]
    Report(report::Args),
    #[cfg(feature = "train")]
    Status(status::Args),
    #[cfg(feature = "train")]
    VerifyStore(verify_store::Args),
    #[cfg(feature = "train")]
    Train(train::Args),
    #[cfg(feature = "train")]
    Extract(extract::Args),
    Score(score::Args),
    #[cfg(feature = "train")]
    Verify(verify::Args),
    #[cfg(feature = "train")]
    Convert(convert::Args),
    #[cfg(feature = "train")]
    Summary(network::Args),
    #[cfg(feature = "train")]
    #[command(subcommand)]
    Data(data::Command),
}

impl Command {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Whatever stops the command, as a message for the user.
    pub fn run(self) -> Result<ExitCode> {
        match self {
            #[cfg(feature = "train")]
            Self::Reproduce(args) => reproduce::run(args),
            #[cfg(feature = "train")]
            Self::Report(args) => report::run(args),
            #[cfg(feature = "train")]
            Self::Status(args) => status::run(args),
            #[cfg(feature = "train")]
            Self::VerifyStore(args) => verify_store::run(args),
            #[cfg(feature = "train")]
            Self::Train(args) => train::run(args),
            #[cfg(feature = "train")]
            Self::Extract(args) => extract::run(args),
            Self::Score(args) => score::run(args),
            #[cfg(feature = "train")]
            Self::Verify(args) => verify::run(args),
            #[cfg(feature = "train")]
            Self::Convert(args) => convert::run(args),
            #[cfg(feature = "train")]
            Self::Summary(args) => network::run(args),
            #[cfg(feature = "train")]
            Self::Data(command) => data::run(command),
        }
    }
}

/// The program `collapse`: parses the arguments, runs the command, reports its error.
#[must_use]
pub fn main() -> ExitCode {
    start();
    exit(Cli::parse().command.run())
}

/// What a program does before it looks at its arguments: it takes over the signals that ask it to stop.
pub fn start() {
    #[cfg(feature = "train")]
    stop::install();
}

/// The exit code of a command's outcome; an error is told on standard error, each of its causes once.
///
/// 0: done. 1: failed. 2: the arguments cannot be understood (clap ends the process itself). 130 and 143: stopped by
/// SIGINT and SIGTERM.
#[must_use]
pub fn exit(outcome: Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output::note!("error: {}", message(&error));
            stopped().unwrap_or(ExitCode::FAILURE)
        }
    }
}

#[cfg(feature = "train")]
fn stopped() -> Option<ExitCode> {
    stop::exit_code().map(ExitCode::from)
}

#[cfg(not(feature = "train"))]
fn stopped() -> Option<ExitCode> {
    None
}

/// An error and its causes; a cause that the text above it has told already is left out.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once() {
        let missing = std::io::Error::from_raw_os_error(2);
        let told = format!("cannot read x: {missing}");
        let error = anyhow::Error::new(missing)
            .context(told)
            .context("looking for y");
        let text = message(&error);
        assert_eq!(text.matches("os error 2").count(), 1, "{text}");
        assert!(text.starts_with("looking for y: cannot read x: "), "{text}");
    }
}
