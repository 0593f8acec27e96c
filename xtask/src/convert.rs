//! `cargo xtask convert`: weights between PyTorch and this project.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_models::{L2Mode, Net, NetConfig, Parameters, weights};

/// Read weights of DDU or torchvision naming (.pt, .pth, .safetensors) and write them as safetensors
/// that both this project and PyTorch load.
///
/// The flags say what network the file holds; missing and unexpected tensors are listed by name.
#[derive(clap::Args)]
pub struct Args {
    /// The weights: .pt, .pth or .safetensors.
    input: PathBuf,
    /// The safetensors file to write.
    output: PathBuf,
    #[arg(long, default_value = "resnet18")]
    net: Net,
    #[arg(long, default_value_t = 64)]
    width: usize,
    #[arg(long, default_value_t = 10)]
    classes: usize,
    #[arg(long, default_value_t = 3)]
    in_channels: usize,
    #[arg(long, default_value_t = 32)]
    input_size: usize,
    /// Coefficient of spectral normalisation; 0 when the file has none.
    #[arg(long, default_value_t = 3.0)]
    spectral_norm: f64,
    /// ReLU and convolutional shortcuts.
    #[arg(long)]
    no_mod: bool,
    /// The head sees L2-normalised features.
    #[arg(long)]
    l2: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let mut config = NetConfig::new(args.net, args.classes);
    config.width = args.width;
    config.in_channels = args.in_channels;
    config.input_size = args.input_size;
    config.modified = !args.no_mod;
    config.spectral_norm = (args.spectral_norm != 0.0).then_some(args.spectral_norm);
    config.l2 = if args.l2 {
        L2Mode::TrainAndInference
    } else {
        L2Mode::Off
    };
    let mut parameters = Parameters::<f32>::initialise(&config, 0)?;
    weights::load(&args.input, &mut parameters)
        .with_context(|| format!("reading {} as {}", args.input.display(), args.net))?;
    weights::export(&args.output, &parameters)
        .with_context(|| format!("writing {}", args.output.display()))?;
    println!(
        "{}: {} parameters",
        args.output.display(),
        config.plan()?.n_parameters()
    );
    Ok(ExitCode::SUCCESS)
}
