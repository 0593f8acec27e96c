//! The repository's command line: the commands of `collapse` and chores of its own.

mod bench;
mod docs;
mod mutations;
#[cfg(unix)]
mod reliability;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Neural collapse and out-of-distribution detection: reproduce, train, score, measure.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    version = collapse_cli::CODE_VERSION,
    propagate_version = true,
    after_help = collapse_cli::EXIT_CODES
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Product(Box<collapse_cli::Command>),
    Docs(docs::Args),
    Mutations(mutations::Args),
    #[cfg(unix)]
    Reliability(reliability::Args),
    Bench(bench::Args),
}

fn main() -> ExitCode {
    collapse_cli::start();
    collapse_cli::exit(match Cli::parse().command {
        Command::Product(command) => (*command).run(),
        Command::Docs(args) => docs::run(args),
        Command::Mutations(args) => mutations::run(args),
        #[cfg(unix)]
        Command::Reliability(args) => reliability::run(args),
        Command::Bench(args) => bench::run(args),
    })
}
