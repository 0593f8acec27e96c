//! The flags that describe a network, and `cargo xtask summary`.

use std::process::ExitCode;

use anyhow::Result;
use collapse_models::{L2Mode, Net, NetConfig};

use crate::output::out;

/// What the network is, but for classes and image size.
#[derive(clap::Args)]
pub struct NetworkArgs {
    /// resnet18, resnet34, resnet50, resnet101, wide-resnet28, vgg16.
    #[arg(long, default_value = "resnet18")]
    net: Net,
    /// Channels of the first stage [default: the reference's, 64; of wide-resnet28 160].
    #[arg(long)]
    width: Option<usize>,
    /// Normalise features to unit length before the head, in training and inference.
    #[arg(long)]
    l2: bool,
    /// Normalise in training only: inference uses raw features (the feature-norm follow-up).
    #[arg(long, conflicts_with = "l2")]
    l2_train_only: bool,
    /// Coefficient of spectral normalisation; 0 turns it off.
    #[arg(long, default_value_t = 3.0)]
    spectral_norm: f64,
    /// ReLU and convolutional shortcuts instead of LeakyReLU and average-pool shortcuts.
    #[arg(long)]
    no_mod: bool,
    /// Divides the logits.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Dropout rate [default: the reference's, 0.3 in wide-resnet28, else 0].
    #[arg(long)]
    dropout: Option<f64>,
}

impl NetworkArgs {
    /// The network for 32x32 colour images.
    pub fn config(&self, n_classes: usize) -> NetConfig {
        let mut config = NetConfig::new(self.net, n_classes);
        config.width = self.width.unwrap_or(config.width);
        config.modified = !self.no_mod;
        config.spectral_norm = (self.spectral_norm != 0.0).then_some(self.spectral_norm);
        config.l2 = match (self.l2, self.l2_train_only) {
            (true, _) => L2Mode::TrainAndInference,
            (_, true) => L2Mode::TrainOnly,
            _ => L2Mode::Off,
        };
        config.temperature = self.temperature;
        config.dropout = self.dropout.unwrap_or(config.dropout);
        config
    }
}

/// A network and the images it takes.
#[derive(clap::Args)]
pub struct SizedArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// 1 (grey) or 3 (colour).
    #[arg(long, default_value_t = 3)]
    in_channels: usize,
    /// Side of the images in pixels.
    #[arg(long, default_value_t = 32)]
    input_size: usize,
}

impl SizedArgs {
    pub fn config(&self) -> NetConfig {
        NetConfig {
            in_channels: self.in_channels,
            input_size: self.input_size,
            ..self.network.config(self.classes)
        }
    }
}

/// List a network's layers with shapes, parameters and operations.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: SizedArgs,
}

pub fn run(args: Args) -> Result<ExitCode> {
    out!("{}", args.network.config().summary()?)?;
    Ok(ExitCode::SUCCESS)
}
