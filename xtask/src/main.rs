//! The project's command line: `cargo xtask <command>`.

mod bench;
mod convert;
mod data;
mod docs;
mod extract;
mod network;
mod progress;
mod reproduce;
mod score;
mod stop;
mod train;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Neural collapse and out-of-distribution detection: reproduce, train, score, measure.
#[derive(Parser)]
#[command(name = "cargo xtask", version = CODE_VERSION, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Reproduce(reproduce::Args),
    Train(train::Args),
    Extract(extract::Args),
    Score(score::Args),
    Verify(verify::Args),
    Convert(convert::Args),
    Summary(network::Args),
    Docs(docs::Args),
    #[command(subcommand)]
    Data(data::Command),
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Version of this build, with the commit where it is known.
pub const CODE_VERSION: &str = env!("COLLAPSE_CODE_VERSION");

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Reproduce(args) => reproduce::run(args),
        Command::Train(args) => train::run(args),
        Command::Extract(args) => extract::run(args),
        Command::Score(args) => score::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Summary(args) => network::run(args),
        Command::Docs(args) => docs::run(args),
        Command::Data(command) => data::run(command),
        Command::Bench(command) => bench::run(command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
