//! `cargo xtask convert`: weights between PyTorch and this project.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_models::{Parameters, weights};
use collapse_train::{Checkpoint, read_state};

use crate::network::SizedArgs;

/// Write weights as safetensors that both this project and PyTorch load.
///
/// Reads PyTorch weights of DDU or torchvision naming (.pt, .pth, .safetensors), whose network the flags describe:
/// tensors that are missing, unexpected or of another shape are listed by name. Reads checkpoints of `train` too,
/// which know their network.
#[derive(clap::Args)]
pub struct Args {
    /// The weights: .pt, .pth or .safetensors, or a run's checkpoint.safetensors.
    input: PathBuf,
    /// The safetensors file to write.
    output: PathBuf,
    #[command(flatten)]
    network: SizedArgs,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let input = args.input.display();
    let (config, parameters) = if read_state(&args.input).is_ok() {
        let checkpoint = Checkpoint::read(&args.input)?;
        let parameters = checkpoint.average.unwrap_or(checkpoint.parameters);
        (checkpoint.state.net, parameters)
    } else {
        let config = args.network.config();
        let mut parameters = Parameters::<f32>::initialise(&config, 0)?;
        weights::load(&args.input, &mut parameters)
            .with_context(|| format!("reading {input} as {}", config.net))?;
        (config, parameters)
    };
    weights::export(&args.output, &parameters)
        .with_context(|| format!("writing {}", args.output.display()))?;
    println!(
        "{}: {} with {} parameters",
        args.output.display(),
        config.net,
        config.plan()?.n_parameters()
    );
    Ok(ExitCode::SUCCESS)
}
