//! `cargo xtask convert`: weights between PyTorch and this project.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_models::{Batch, NetConfig, Network, Parameters, weights};
use collapse_train::TrainedWeights;

use crate::network::SizedArgs;
use crate::output::out;

/// Write weights as safetensors that both this project and PyTorch load.
///
/// Reads PyTorch weights of DDU or torchvision naming (what `torch.save` writes, or safetensors; the content decides,
/// not the name), whose network the flags describe: tensors that are missing, unexpected, repeated or of another shape
/// are listed by name. Reads checkpoints of `train` too, which know their network.
#[derive(clap::Args)]
pub struct Args {
    /// The weights of PyTorch, or a run's checkpoint.safetensors.
    input: PathBuf,
    /// The safetensors file to write.
    output: PathBuf,
    #[command(flatten)]
    network: SizedArgs,
    /// Compare with another's logits: safetensors with `images` [N, C, H, W] and `logits` [N, classes].
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// With --check: largest difference of a logit, over the largest logit or 1.
    #[arg(long, default_value_t = 1e-5)]
    tolerance: f64,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let weights = TrainedWeights::read(&args.input, || args.network.config())
        .with_context(|| format!("reading {}", args.input.display()))?;
    let (config, parameters) = (weights.net, weights.parameters);
    if let Some(expected) = &args.check {
        check(&config, &parameters, expected, args.tolerance)?;
    }
    weights::export(&args.output, &parameters)
        .with_context(|| format!("writing {}", args.output.display()))?;
    out!(
        "{}: {} with {} parameters",
        args.output.display(),
        config.net,
        config.plan()?.n_parameters()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Fails when the network's logits are not those of the file.
fn check(
    config: &NetConfig,
    parameters: &Parameters<f32>,
    file: &Path,
    tolerance: f64,
) -> Result<()> {
    let mut tensors = weights::read(file)?;
    let mut take = |name: &str| {
        let tensor = tensors.remove(name);
        tensor.with_context(|| format!("{} has no tensor `{name}`", file.display()))
    };
    let (shape, images) = take("images")?;
    let (_, expected) = take("logits")?;
    let images: Vec<f32> = images.into_iter().map(|x| x as f32).collect();
    let n = shape.first().copied().unwrap_or(0);
    let mut network = Network::<f32>::from_parameters(config, parameters.clone())?;
    let batch = Batch::nchw(n, config.input_size, config.in_channels, &images);
    let logits = network.forward_eval(&batch)?.logits;
    if logits.len() != expected.len() {
        bail!(
            "{} has {} logits, the network gives {}",
            file.display(),
            expected.len(),
            logits.len()
        );
    }
    let scale = expected.iter().fold(1.0f64, |m, x| m.max(x.abs()));
    let difference = logits
        .iter()
        .zip(&expected)
        .map(|(a, b)| (f64::from(*a) - b).abs())
        .fold(0.0, f64::max)
        / scale;
    out!("largest difference of a logit: {difference:.1e} (at most {tolerance:.0e})")?;
    // A difference that is no number is no agreement either.
    if difference <= tolerance {
        Ok(())
    } else {
        bail!("the logits are not those of {}", file.display())
    }
}
