//! `cargo xtask extract`: feature files from trained weights.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use collapse_data::{ImageSet, View};
use collapse_models::{Device, NetConfig};
use collapse_train::{
    HeldOutImages, Precision, RunState, TrainedWeights, extract_to, load_model_on,
};

use crate::data::ImageArgs;
use crate::network::NetworkArgs;
use crate::output::{note, out};
use crate::stop;

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    F32,
    Bf16,
}

/// Write the feature files of a trained network: training split, validation, test and OoD sets.
///
/// The weights are a run's checkpoint, which knows its network, or PyTorch's (what `torch.save` writes, or
/// safetensors), whose network the flags describe. Images pass batch by batch, so memory does not grow with the sets.
#[derive(clap::Args)]
pub struct Args {
    /// A run's checkpoint.safetensors, or weights of PyTorch.
    weights: PathBuf,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    /// Decides which images are the training split [default: that of the run; 1 for PyTorch's weights].
    #[arg(long)]
    seed: Option<u64>,
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
    if args.batch == 0 {
        bail!("--batch is 0; give at least 1 image a forward pass");
    }
    let benchmark = args.images.open()?;
    let images = benchmark.id().train_set();
    let weights = TrainedWeights::read(&args.weights, || NetConfig {
        in_channels: images.shape().channels,
        input_size: images.shape().height,
        ..args.network.config(images.n_classes())
    })
    .with_context(|| format!("reading {}", args.weights.display()))?;
    if let Some(state) = &weights.state {
        check_images(state, images, &args.weights)?;
    }
    let seed = split_seed(args.seed, weights.state.as_ref(), &args.weights)?;
    let epoch = weights.state.as_ref().map(|state| state.epoch);
    let trained = weights
        .state
        .map_or(Precision::F32, |state| state.train.precision);
    let precision = match args.precision {
        None => trained,
        Some(PrecisionArg::F32) => Precision::F32,
        Some(PrecisionArg::Bf16) => Precision::Bf16,
    };
    let mut model = load_model_on(args.device, &weights.net, precision, weights.parameters)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("creating {}", args.out.display()))?;

    let stop = stop::requested();
    let mut after_batch = |_| stop.go_on();
    let mut write = |name: &str, view: &View, split: &str| -> Result<()> {
        let path = args.out.join(format!("{name}.safetensors"));
        let mut metadata = vec![
            ("dataset", view.name().to_owned()),
            ("split", split.to_owned()),
            ("seed", seed.to_string()),
        ];
        metadata.extend(epoch.map(|epoch| ("epoch", epoch.to_string())));
        let stored = collapse_features::Precision::F32;
        let set = HeldOutImages(view);
        let model = model.as_mut();
        extract_to(
            &path,
            stored,
            model,
            &set,
            args.batch,
            &metadata,
            &mut after_batch,
        )?;
        out!("{}: {} images", path.display(), view.len())?;
        Ok(())
    };
    let parts = benchmark.id().split(seed);
    write("train", parts.train.view(), "train")?;
    write("validation", &parts.validation, "validation")?;
    write("test", &benchmark.id().test(), "test")?;
    for view in benchmark.ood() {
        write(&format!("ood-{}", view.name()), view, "ood")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails when the images have other classes than the run's; tells when they are others of as many classes.
fn check_images(state: &RunState, images: &ImageSet, checkpoint: &Path) -> Result<()> {
    let (checkpoint, name) = (checkpoint.display(), images.name());
    let (known, found) = (state.net.n_classes, images.n_classes());
    if found != known {
        bail!(
            "{checkpoint} was trained on {known} classes and {name} has {found}; give --data and --id as in its training, or a \
             set of {known} classes"
        );
    }
    // A run made through the library may not have said what its images were.
    if !state.data_hash.is_empty() && state.data_hash != images.content_hash().to_hex() {
        note!(
            "note: {checkpoint} was trained on other data than {name}: what is called train here was not trained on"
        );
    }
    Ok(())
}

/// The seed whose training split is extracted: no other than the run's, whose validation images would else be trained ones.
fn split_seed(given: Option<u64>, state: Option<&RunState>, checkpoint: &Path) -> Result<u64> {
    match (given, state.map(|state| state.train.seed)) {
        (Some(given), Some(trained)) if given != trained => bail!(
            "--seed is {given}, and {} was trained on the training split of seed {trained}; leave --seed out",
            checkpoint.display()
        ),
        (given, trained) => Ok(trained.or(given).unwrap_or(1)),
    }
}
