//! `cargo xtask extract`: feature files from trained weights.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use collapse_data::View;
use collapse_experiment::HeldOutImages;
use collapse_models::{Device, NetConfig, Parameters, weights};
use collapse_train::{Checkpoint, Precision, extract_to, load_model_on, read_state};

use crate::data::ImageArgs;
use crate::network::NetworkArgs;
use crate::output::out;
use crate::stop;

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    F32,
    Bf16,
}

/// Write the feature files of a trained network: training split, validation, test and OoD sets.
///
/// The weights are a run's checkpoint, which knows its network, or PyTorch's (.pt, .pth, .safetensors), whose
/// network the flags describe. Images pass batch by batch, so memory does not grow with the sets.
#[derive(clap::Args)]
pub struct Args {
    /// A run's checkpoint.safetensors, or .pt, .pth or .safetensors of PyTorch.
    weights: PathBuf,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    /// Decides which images are the training split.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Arithmetic of the forward pass [default: that of the run's training; f32 for PyTorch's weights]; files hold f32.
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// cpu (this project's kernels), candle, cuda, cuda:N, metal.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Images a forward pass.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Folder for train, validation, test and ood-NAME .safetensors.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let benchmark = args.images.open()?;
    let (parameters, net, epoch, trained) = if read_state(&args.weights).is_ok() {
        let checkpoint = Checkpoint::read(&args.weights)?;
        let parameters = checkpoint.average.unwrap_or(checkpoint.parameters);
        let epoch = Some(checkpoint.state.epoch);
        let trained = checkpoint.state.train.precision;
        (parameters, checkpoint.state.net, epoch, trained)
    } else {
        let images = benchmark.id().train_set();
        let net = NetConfig {
            in_channels: images.shape().channels,
            input_size: images.shape().height,
            ..args.network.config(images.n_classes())
        };
        let mut parameters = Parameters::initialise(&net, 0)?;
        weights::load(&args.weights, &mut parameters)
            .with_context(|| format!("reading {} as {}", args.weights.display(), net.net))?;
        (parameters, net, None, Precision::F32)
    };
    let precision = match args.precision {
        None => trained,
        Some(PrecisionArg::F32) => Precision::F32,
        Some(PrecisionArg::Bf16) => Precision::Bf16,
    };
    let mut model = load_model_on(args.device, &net, precision, parameters)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("creating {}", args.out.display()))?;

    let stop = stop::requested();
    let mut write = |name: &str, view: &View, split: &str| -> Result<()> {
        let path = args.out.join(format!("{name}.safetensors"));
        let mut metadata = vec![
            ("dataset", view.name().to_owned()),
            ("split", split.to_owned()),
            ("seed", args.seed.to_string()),
        ];
        metadata.extend(epoch.map(|epoch| ("epoch", epoch.to_string())));
        let stored = collapse_features::Precision::F32;
        let set = HeldOutImages::new(view).until(stop, &|_| {});
        extract_to(&path, stored, model.as_mut(), &set, args.batch, &metadata)?;
        out!("{}: {} images", path.display(), view.len())?;
        Ok(())
    };
    let parts = benchmark.id().split(args.seed);
    write("train", parts.train.view(), "train")?;
    write("validation", &parts.validation, "validation")?;
    write("test", &benchmark.id().test(), "test")?;
    for view in benchmark.ood() {
        write(&format!("ood-{}", view.name()), view, "ood")?;
    }
    Ok(ExitCode::SUCCESS)
}
