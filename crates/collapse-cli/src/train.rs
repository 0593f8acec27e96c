//! `cargo xtask train`: one run from flags.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::ValueEnum;
use collapse_experiment::{
    Observer as _, RunManifest, RunPlan, Work, auto_precision, finished_in, images_of, make_run,
    maker,
};
use collapse_models::{Device, L2Mode, NetConfig};
use collapse_report::{TerminalStyle, evaluation_table, render};
use collapse_train::loss::CollapseWeights;
use collapse_train::{KeepConfig, LossConfig, Schedule, SgdConfig, TrainConfig, log_spaced_epochs};

use crate::data::ImageArgs;
use crate::network::NetworkArgs;
use crate::output::out;
use crate::progress::Board;
use crate::{CODE_VERSION, stop};

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionArg {
    /// bf16 where the machine multiplies it faster than f32, f32 elsewhere.
    Auto,
    F32,
    Bf16,
}

#[derive(Clone, Copy, ValueEnum)]
enum LossArg {
    CrossEntropy,
    NeuralCollapse,
}

#[derive(Clone, Copy, ValueEnum)]
enum ScheduleArg {
    /// Tenfold down at 3/7 and 5/7 of the epochs.
    Sevenths,
    /// Tenfold down at --milestones.
    MultiStep,
    /// Half a cosine down to 0.
    Cosine,
    Constant,
}

/// Train one network and write its run folder and feature files.
///
/// The folder receives manifest.json, events.jsonl, checkpoint.safetensors, features/*.safetensors and
/// result.json. The same command on an interrupted folder goes on where it was: at the last checkpoint, which is
/// written after every epoch, within long ones and at Ctrl-C.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    network: NetworkArgs,
    /// Epochs.
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// Images a step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Decides split, initialisation, order and augmentation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    images: ImageArgs,
    /// Arithmetic of training.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionArg,
    /// What is minimised.
    #[arg(long, value_enum, default_value = "cross-entropy")]
    loss: LossArg,
    /// With cross-entropy: share of the target spread over all classes.
    #[arg(long, default_value_t = 0.0)]
    label_smoothing: f64,
    /// Initial learning rate.
    #[arg(long, default_value_t = 0.1)]
    learning_rate: f64,
    #[arg(long, default_value_t = 0.9)]
    momentum: f64,
    /// On all parameters, batch norm and biases too.
    #[arg(long, default_value_t = 5e-4)]
    weight_decay: f64,
    /// Nesterov's form of momentum.
    #[arg(long)]
    nesterov: bool,
    /// How the learning rate falls.
    #[arg(long, value_enum, default_value = "sevenths")]
    schedule: ScheduleArg,
    /// Epochs at which the rate of the multi-step schedule falls, e.g. 150,250.
    #[arg(long, value_delimiter = ',', required_if_eq("schedule", "multi-step"))]
    milestones: Vec<usize>,
    /// Epochs over which the rate first rises linearly.
    #[arg(long, default_value_t = 0)]
    warm_up: usize,
    /// Scale gradients down to this norm.
    #[arg(long)]
    clip_norm: Option<f64>,
    /// Evaluate an exponential moving average of the weights with this decay.
    #[arg(long)]
    ema: Option<f64>,
    /// No random crop and flip.
    #[arg(long)]
    no_augment: bool,
    /// cpu (this project's kernels), candle (its operations on the CPU), cuda, cuda:N, metal.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Keep a copy of the checkpoints of so many latest epochs, in checkpoints/.
    #[arg(long, default_value_t = 0)]
    keep_last: usize,
    /// Keep a copy of the checkpoint of these epochs for good, e.g. 10,60.
    #[arg(long, value_delimiter = ',')]
    keep_at: Vec<usize>,
    /// Seconds of work that a killed run may lose within an epoch.
    #[arg(long, value_parser = seconds, default_value_t = KeepConfig::default().interval_seconds)]
    checkpoint_seconds: f64,
    /// Measure geometry and detection at the log-spaced epochs too, not only at the end.
    #[arg(long)]
    measure: bool,
    /// Fail when another kernel path than this machine's has had a part in the run.
    #[arg(long)]
    one_path: bool,
    /// The run's folder.
    #[arg(long)]
    out: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match seconds >= 0.0 {
        true => Ok(seconds),
        false => Err("give 0 or more seconds".to_owned()),
    }
}

pub fn run(args: Args) -> Result<ExitCode> {
    // A device that is not there and a flag that cannot be meant are known before any image is read.
    args.device.open()?;
    let train = train_config(&args)?;
    check_used(&args)?;
    let benchmark = args.images.open()?;
    let plan = plan(&args, train, &benchmark)?;

    let maker = maker(args.device, CODE_VERSION)?;
    let manifest = plan.manifest(&benchmark, CODE_VERSION)?;
    let board = Board::new();
    board.say(&format!(
        "{} width {}, {} training images, {} {}, {}",
        plan.net.net,
        plan.net.width,
        benchmark.id().split(args.seed).train.len(),
        match args.device {
            Device::Cpu => "kernel path",
            _ => "device",
        },
        maker.kernel_path,
        plan.train.precision.name(),
    ));
    let work = Work {
        benchmark: &benchmark,
        observer: &board,
        device: args.device,
        stop: stop::requested(),
        code_version: CODE_VERSION,
        one_path: args.one_path,
    };
    let run = match finished_in(&args.out, &manifest)? {
        Some(run) => {
            board.say(&format!("{}: finished before", plan.id()));
            run
        }
        None => {
            let (trained, measured) = images_of(&plan, &benchmark);
            board.planned(1, 0, trained, measured);
            make_run(&plan, &manifest, &args.out, &work)?
        }
    };
    drop(board);
    let Some(evaluation) = run.last_evaluation() else {
        bail!(
            "the run in {} has no evaluation; remove the folder and run again",
            args.out.display()
        );
    };
    out!(
        "{}",
        render::terminal(&evaluation_table(evaluation), TerminalStyle::detect())
    )?;
    out!("\nRun folder: {}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Epochs named beyond the last, and settings of a schedule or loss that is not chosen, would silently have no effect.
fn check_used(args: &Args) -> Result<()> {
    if !args.milestones.is_empty() && !matches!(args.schedule, ScheduleArg::MultiStep) {
        bail!("--milestones are of --schedule multi-step alone; give that too, or leave them out");
    }
    if args.label_smoothing != 0.0 && !matches!(args.loss, LossArg::CrossEntropy) {
        bail!(
            "--label-smoothing {} is of --loss cross-entropy alone; leave it out",
            args.label_smoothing
        );
    }
    for (flag, epochs) in [
        ("--milestones", &args.milestones),
        ("--keep-at", &args.keep_at),
    ] {
        if let Some(epoch) = epochs
            .iter()
            .find(|&&epoch| epoch == 0 || epoch > args.epochs)
        {
            bail!(
                "{flag} names epoch {epoch}; name epochs from 1 to --epochs {}",
                args.epochs
            );
        }
    }
    Ok(())
}

fn train_config(args: &Args) -> Result<TrainConfig> {
    let precision = match args.precision {
        PrecisionArg::Auto if args.device == Device::Cpu => collapse_experiment::Precision::Auto,
        PrecisionArg::Auto | PrecisionArg::F32 => collapse_experiment::Precision::F32,
        PrecisionArg::Bf16 => collapse_experiment::Precision::Bf16,
    };
    // A run begun elsewhere goes on with what `auto` meant there.
    let begun = RunManifest::read(&args.out).ok().flatten();
    let auto = match begun.and_then(|run| run.precision()) {
        Some(precision) => precision,
        None => auto_precision(args.device, collapse_kernels::kernel_path()?)?,
    };
    let train = TrainConfig {
        seed: args.seed,
        epochs: args.epochs,
        batch_size: args.batch,
        sgd: SgdConfig {
            learning_rate: args.learning_rate,
            momentum: args.momentum,
            weight_decay: args.weight_decay,
            nesterov: args.nesterov,
        },
        schedule: match args.schedule {
            ScheduleArg::Sevenths => Schedule::Sevenths,
            ScheduleArg::MultiStep => Schedule::MultiStep {
                milestones: args.milestones.clone(),
                factor: 0.1,
            },
            ScheduleArg::Cosine => Schedule::Cosine,
            ScheduleArg::Constant => Schedule::Constant,
        },
        warm_up_epochs: args.warm_up,
        clip_norm: args.clip_norm,
        ema_decay: args.ema,
        augment: !args.no_augment,
        loss: match args.loss {
            LossArg::CrossEntropy => LossConfig::CrossEntropy {
                label_smoothing: args.label_smoothing,
            },
            LossArg::NeuralCollapse => LossConfig::NeuralCollapse {
                weights: CollapseWeights::default(),
            },
        },
        precision: collapse_experiment::resolve_precision(precision, auto),
        ..TrainConfig::default()
    };
    train.check()?;
    Ok(train)
}

fn plan(args: &Args, train: TrainConfig, benchmark: &collapse_data::Benchmark) -> Result<RunPlan> {
    let images = benchmark.id().train_set();
    let net = NetConfig {
        in_channels: images.shape().channels,
        input_size: images.shape().height,
        ..args.network.config(images.n_classes())
    };
    net.plan()?;
    let measure_at = if args.measure {
        log_spaced_epochs(args.epochs)
    } else {
        Vec::new()
    };
    Ok(RunPlan {
        group: match net.l2 {
            L2Mode::TrainAndInference => format!("{}-l2", net.net),
            L2Mode::Off | L2Mode::TrainOnly => net.net.to_string(),
        },
        seed: args.seed,
        net,
        train,
        measure_at,
        evaluate_at: vec![args.epochs],
        measure_images: None,
        keep: KeepConfig {
            last: args.keep_last,
            epochs: args.keep_at.clone(),
            interval_seconds: args.checkpoint_seconds,
        },
    })
}
