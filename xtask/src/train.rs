//! `cargo xtask train`: one run from flags.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::ValueEnum;
use collapse_experiment::{DataSpec, RunPlan, make_run};
use collapse_models::{L2Mode, Net, NetConfig};
use collapse_report::{TerminalStyle, evaluation_table, render};
use collapse_train::loss::CollapseWeights;
use collapse_train::{LossConfig, Precision, SgdConfig, TrainConfig, log_spaced_epochs};

use crate::data::{OodSet, open_benchmark};
use crate::progress::Board;
use crate::{CODE_VERSION, stop};

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    /// bf16 where the machine multiplies it in hardware, f32 elsewhere.
    Auto,
    F32,
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
enum LossArg {
    CrossEntropy,
    NeuralCollapse,
}

/// Train one network and write its run folder and feature files.
///
/// The folder receives manifest.json, events.jsonl, checkpoint.safetensors, features/*.safetensors and
/// result.json. The same command on an interrupted folder goes on from its last finished epoch.
#[derive(clap::Args)]
pub struct Args {
    /// resnet18, resnet34, resnet50, resnet101, vgg16.
    #[arg(long, default_value = "resnet18")]
    net: Net,
    /// Channels of the first stage.
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Normalise features to unit length before the head, in training and inference.
    #[arg(long)]
    l2: bool,
    /// Normalise in training only: inference uses raw features (the feature-norm follow-up).
    #[arg(long, conflicts_with = "l2")]
    l2_train_only: bool,
    /// Epochs; the rate falls tenfold at 3/7 and 5/7 of them.
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// Images a step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Decides split, initialisation, order and augmentation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// embedded, or a folder that holds the image sets.
    #[arg(long, default_value = "embedded")]
    data: String,
    /// In-distribution set within --data.
    #[arg(long, default_value = "cifar10")]
    id: String,
    /// A further OoD set.
    #[arg(long = "ood", value_name = "NAME=PATH")]
    ood: Vec<OodSet>,
    /// Arithmetic of training.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionArg,
    /// What is minimised.
    #[arg(long, value_enum, default_value = "cross-entropy")]
    loss: LossArg,
    /// Initial learning rate.
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    /// Coefficient of spectral normalisation; 0 turns it off.
    #[arg(long, default_value_t = 3.0)]
    spectral_norm: f64,
    /// ReLU and convolutional shortcuts instead of LeakyReLU and average-pool shortcuts.
    #[arg(long)]
    no_mod: bool,
    /// Measure geometry and detection at the log-spaced epochs too, not only at the end.
    #[arg(long)]
    measure: bool,
    /// The run's folder.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let embedded = args.data == "embedded";
    let spec = DataSpec {
        id: if embedded {
            "embedded".to_owned()
        } else {
            args.id.clone()
        },
        ood: if embedded {
            Vec::new()
        } else {
            ["svhn", "cifar100", "tiny-imagenet"]
                .map(str::to_owned)
                .to_vec()
        },
        drop_duplicates: false,
    };
    let folder = (!embedded).then(|| PathBuf::from(&args.data));
    let benchmark = open_benchmark(&spec, folder.as_deref(), &args.ood)?;
    let plan = plan(&args, &benchmark)?;

    let path = collapse_kernels::kernel_path()?;
    let identity = plan.manifest(&benchmark, path, CODE_VERSION)?;
    let board = Board::new();
    board.say(&format!(
        "{} width {}, {} training images, kernel path {}, {}",
        args.net,
        args.width,
        benchmark.id().split(args.seed).train.len(),
        path.name(),
        match plan.train.precision {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        },
    ));
    let run = make_run(
        &plan,
        &identity,
        &args.out,
        &benchmark,
        &board,
        &stop::flag(),
    )?;
    drop(board);
    let Some(evaluation) = run.last_evaluation() else {
        bail!(
            "the run in {} has no evaluation; remove the folder and run again",
            args.out.display()
        );
    };
    println!(
        "{}",
        render::terminal(&evaluation_table(evaluation), TerminalStyle::detect())
    );
    println!("\nRun folder: {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &Args, benchmark: &collapse_data::Benchmark) -> Result<RunPlan> {
    let images = benchmark.id().train_set();
    let mut net = NetConfig::new(args.net, images.n_classes());
    net.width = args.width;
    net.in_channels = images.shape().channels;
    net.input_size = images.shape().height;
    net.modified = !args.no_mod;
    net.spectral_norm = (args.spectral_norm != 0.0).then_some(args.spectral_norm);
    net.l2 = match (args.l2, args.l2_train_only) {
        (true, _) => L2Mode::TrainAndInference,
        (_, true) => L2Mode::TrainOnly,
        _ => L2Mode::Off,
    };
    net.plan()?;
    let precision = match args.precision {
        PrecisionArg::Auto => collapse_experiment::Precision::Auto,
        PrecisionArg::F32 => collapse_experiment::Precision::F32,
        PrecisionArg::Bf16 => collapse_experiment::Precision::Bf16,
    };
    let train = TrainConfig {
        seed: args.seed,
        epochs: args.epochs,
        batch_size: args.batch,
        sgd: SgdConfig {
            learning_rate: args.learning_rate,
            ..SgdConfig::default()
        },
        loss: match args.loss {
            LossArg::CrossEntropy => LossConfig::default(),
            LossArg::NeuralCollapse => LossConfig::NeuralCollapse {
                weights: CollapseWeights::default(),
            },
        },
        precision: collapse_experiment::resolve_precision(
            precision,
            collapse_kernels::kernel_path()?,
        ),
        ..TrainConfig::default()
    };
    train.check()?;
    let measure_at = if args.measure {
        log_spaced_epochs(args.epochs)
    } else {
        Vec::new()
    };
    Ok(RunPlan {
        group: format!("{}{}", args.net, if args.l2 { "-l2" } else { "" }),
        seed: args.seed,
        net,
        train,
        measure_at,
        evaluate_at: vec![args.epochs],
    })
}
