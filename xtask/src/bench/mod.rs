//! `cargo xtask bench`: how fast this machine does the work.

mod check;
mod data;
mod detectors;
mod measure;
mod scale;
mod statistics;
mod step;

use std::process::ExitCode;

use anyhow::Result;

/// Measure speed and memory on this machine, or hold the hot paths against their floors with --check.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: check::Args,
}

#[derive(clap::Subcommand)]
enum Command {
    Step(step::Args),
    Scale(scale::Args),
    Load(data::LoadArgs),
    Loader(data::LoaderArgs),
    /// Time fitting and scoring of one Gaussian per class.
    Density(statistics::Args),
    /// Time fitting and scoring of a mixture without labels.
    Em(statistics::Args),
    /// Time the distance to the k-th nearest neighbour.
    Knn(statistics::Args),
    /// Time the AUROC of many scores.
    Auroc(statistics::Args),
    Detectors(detectors::Args),
}

pub fn run(args: Args) -> Result<ExitCode> {
    let Some(command) = args.command else {
        return check::run(&args.check);
    };
    match command {
        Command::Step(args) => step::run(args),
        Command::Scale(args) => scale::run(args),
        Command::Load(args) => data::load(args),
        Command::Loader(args) => data::loader(args),
        Command::Density(args) => statistics::run(statistics::What::Density, args),
        Command::Em(args) => statistics::run(statistics::What::Em, args),
        Command::Knn(args) => statistics::run(statistics::What::Knn, args),
        Command::Auroc(args) => statistics::run(statistics::What::Auroc, args),
        Command::Detectors(args) => detectors::run(args),
    }
}
