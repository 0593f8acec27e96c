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

#[cfg(feature = "train")]
mod convert;
#[cfg(feature = "train")]
mod data;
#[cfg(feature = "train")]
mod extract;
mod named_path;
#[cfg(feature = "train")]
mod network;
#[cfg(feature = "train")]
mod progress;
#[cfg(feature = "train")]
mod reproduce;
mod score;
#[cfg(feature = "train")]
mod stop;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Version of this build, with the commit where it is known.
pub const CODE_VERSION: &str = env!("COLLAPSE_CODE_VERSION");

/// Neural collapse and out-of-distribution detection: reproduce, train, score.
#[derive(Parser)]
#[command(name = "collapse", version = CODE_VERSION, propagate_version = true)]
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
    exit(Cli::parse().command.run())
}

/// The exit code of a command's outcome; an error is told on standard error.
#[must_use]
pub fn exit(outcome: Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
