//! `cargo xtask bench step`: one training step, or the features of many images.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::{Barrier, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use collapse_benches::Worker;
use collapse_experiment::peak_memory;
use collapse_kernels::{PoolStatistics, kernel_path, peak_gflops_register_loop, pool_statistics};
use collapse_models::{CandleNet, Device, L2Mode, Model, Net, NetConfig, Parameters};
use collapse_train::{Precision, load_model, load_model_on};
use serde::Serialize;

use super::measure::{Timings, resident_bytes, seconds, use_threads};

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum PrecisionArg {
    F32,
    Bf16,
}

impl PrecisionArg {
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Opponent {
    /// The same network on candle's own operations.
    Candle,
    /// The same network here without spectral normalisation.
    NoSpectralNorm,
}

impl Opponent {
    fn name(self) -> &'static str {
        match self {
            Self::Candle => "stock candle",
            Self::NoSpectralNorm => "without spectral normalisation",
        }
    }

    fn worker(self, config: &NetConfig, precision: Precision, batch: usize) -> Result<Worker> {
        let mut config = config.clone();
        let model: Box<dyn Model> = match self {
            Self::Candle => Box::new(CandleNet::new(
                &config,
                Parameters::initialise(&config, 1)?,
                candle_core::Device::Cpu,
            )?),
            Self::NoSpectralNorm => {
                ensure!(
                    config.spectral_norm.take().is_some(),
                    "--against no-spectral-norm needs --spectral-norm"
                );
                load_model(&config, precision, Parameters::initialise(&config, 1)?)?
            }
        };
        Worker::new(&config, model, batch)
    }
}

/// Time training steps: forward, loss, backward and SGD on a batch that is in memory.
#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value = "resnet18")]
    net: Net,
    /// Channels of the first stage [default: the reference's].
    #[arg(long)]
    width: Option<usize>,
    #[arg(long, default_value_t = 128)]
    batch: usize,
    #[arg(long, default_value_t = 32)]
    input_size: usize,
    #[arg(long, default_value_t = 3)]
    in_channels: usize,
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// Where: cpu, candle, cuda, cuda:N, metal or metal:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Threads [default: all cores, or RAYON_NUM_THREADS].
    #[arg(long)]
    threads: Option<usize>,
    /// Timed steps.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Steps before the timed ones.
    #[arg(long, default_value_t = 3)]
    warm_up: usize,
    /// Spectral normalisation with this coefficient; off unless given.
    #[arg(long)]
    spectral_norm: Option<f64>,
    /// Head without L2 normalisation.
    #[arg(long)]
    plain: bool,
    /// Time feature extraction of --images images instead of training steps.
    #[arg(long)]
    eval: bool,
    /// With --eval: how many images.
    #[arg(long, default_value_t = 10_000)]
    images: usize,
    /// Networks that are trained at the same time, each by a thread of its own: what one GPU makes of several runs.
    #[arg(long, default_value = "1", conflicts_with = "against")]
    side_by_side: NonZeroUsize,
    /// Run an alternative in turn (A B A B) and print the ratio.
    #[arg(long, value_enum)]
    against: Option<Opponent>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    what: &'static str,
    net: String,
    width: usize,
    batch: usize,
    precision: &'static str,
    threads: usize,
    /// Networks trained at the same time; rates are those of all together.
    side_by_side: usize,
    device: String,
    kernel_path: &'static str,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    images_per_s: f64,
    gflops: f64,
    /// Of a loop on registers alone; of a CPU.
    peak_gflops: Option<f64>,
    share_of_peak: Option<f64>,
    bytes_allocated_per_step: f64,
    peak_rss_bytes: Option<u64>,
    /// Resident memory after the timed steps less that before them.
    resident_growth_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against_median_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times_faster: Option<f64>,
}

pub fn run(args: Args) -> Result<ExitCode> {
    use_threads(args.threads)?;
    let figures = measure(&args)?;
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        print(&figures);
    }
    Ok(ExitCode::SUCCESS)
}

fn network(args: &Args) -> NetConfig {
    let mut config = NetConfig::new(args.net, 10);
    config.width = args.width.unwrap_or(config.width);
    config.input_size = args.input_size;
    config.in_channels = args.in_channels;
    config.spectral_norm = args.spectral_norm;
    config.l2 = if args.plain {
        L2Mode::Off
    } else {
        L2Mode::TrainAndInference
    };
    config
}

/// What was timed of a network, and of its opponent.
#[derive(Default)]
struct Times {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// A network to be timed and its opponent, both after steps that are not timed.
fn prepare(args: &Args, passes: usize) -> Result<(Worker, Option<Worker>)> {
    let config = network(args);
    let precision = args.precision.precision();
    let parameters = Parameters::initialise(&config, 1)?;
    let model = load_model_on(args.device, &config, precision, parameters)?;
    let mut worker = Worker::new(&config, model, args.batch)?;
    let mut opponent = match args.against {
        Some(opponent) => Some(opponent.worker(&config, precision, args.batch)?),
        None => None,
    };
    for _ in 0..args.warm_up {
        work(&mut worker, args.eval, passes)?;
    }
    if let Some(opponent) = &mut opponent {
        work(opponent, args.eval, passes)?;
    }
    Ok((worker, opponent))
}

/// Times one network, which the calling thread makes: work on a GPU is ordered by thread. Calls `ready` before the first
/// timed step, also when there will be none.
fn time(args: &Args, passes: usize, ready: impl FnOnce()) -> Result<Times> {
    let prepared = prepare(args, passes);
    ready();
    let (mut worker, mut opponent) = prepared?;
    let mut times = Times::default();
    for _ in 0..args.steps {
        times
            .ours
            .push(seconds(|| work(&mut worker, args.eval, passes))?);
        if let Some(opponent) = &mut opponent {
            times
                .theirs
                .push(seconds(|| work(opponent, args.eval, passes))?);
        }
    }
    Ok(times)
}

/// Times several networks at the same time.
fn time_side_by_side(args: &Args, passes: usize, ready: impl Fn() + Sync) -> Result<Times> {
    let networks = args.side_by_side.get();
    let barrier = Barrier::new(networks);
    let timed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..networks)
            .map(|_| {
                scope.spawn(|| {
                    time(args, passes, || {
                        if barrier.wait().is_leader() {
                            ready();
                        }
                    })
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread of the measurement failed")))
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    Ok(Times {
        ours: timed.into_iter().flat_map(|times| times.ours).collect(),
        theirs: Vec::new(),
    })
}

fn measure(args: &Args) -> Result<Figures> {
    let config = network(args);
    let precision = args.precision.precision();
    let networks = args.side_by_side.get();
    let passes = if args.eval {
        args.images.div_ceil(args.batch)
    } else {
        1
    };
    let images = passes * args.batch * networks;
    let start = OnceLock::new();
    let ready = || {
        start.get_or_init(|| (pool_statistics(), resident_bytes()));
    };
    let Times { ours, theirs } = match networks {
        1 => time(args, passes, ready)?,
        _ => time_side_by_side(args, passes, ready)?,
    };
    let (before, resident) = start.into_inner().context("nothing was timed")?;
    let growth = resident
        .zip(resident_bytes())
        .map(|(a, b)| b as i64 - a as i64);
    let allocated = allocated_between(before, pool_statistics()) as f64 / args.steps.max(1) as f64;

    let ours = Timings::new(ours);
    let against = (!theirs.is_empty()).then(|| Timings::new(theirs).median());
    let passes_per_image = if args.eval { 1.0 } else { PASSES_PER_STEP };
    let rate = Rate::of(
        &config,
        precision,
        passes_per_image * images as f64,
        ours.median(),
    )?;
    let on_cpu = args.device == Device::Cpu;
    Ok(Figures {
        what: if args.eval {
            "features"
        } else {
            "training step"
        },
        net: args.net.to_string(),
        width: config.width,
        batch: args.batch,
        precision: precision.name(),
        threads: rayon::current_num_threads(),
        side_by_side: networks,
        device: args.device.to_string(),
        kernel_path: kernel_path()?.name(),
        median_s: ours.median(),
        min_s: ours.min(),
        max_s: ours.max(),
        images_per_s: images as f64 / ours.median(),
        gflops: rate.gflops,
        peak_gflops: on_cpu.then_some(rate.peak_gflops),
        share_of_peak: on_cpu.then(|| rate.share_of_peak()),
        bytes_allocated_per_step: allocated,
        peak_rss_bytes: peak_memory(),
        resident_growth_bytes: growth,
        against: args.against.map(Opponent::name),
        against_median_s: against,
        times_faster: against.map(|seconds| seconds / ours.median()),
    })
}

/// A training step costs a forward pass and twice as much again for both gradients.
const PASSES_PER_STEP: f64 = 3.0;

/// How fast work was done, and a loop on registers alone, on the current threads.
pub(super) struct Rate {
    pub(super) gflops: f64,
    peak_gflops: f64,
}

impl Rate {
    /// Of so many forward passes of one image in `seconds`.
    fn of(config: &NetConfig, precision: Precision, passes: f64, seconds: f64) -> Result<Self> {
        let operands = match precision {
            Precision::F32 => collapse_kernels::Precision::F32,
            Precision::Bf16 => collapse_kernels::Precision::Bf16,
        };
        Ok(Self {
            gflops: config.summary()?.flops as f64 * passes / seconds / 1e9,
            peak_gflops: peak_gflops_register_loop(kernel_path()?, operands)?,
        })
    }

    pub(super) fn share_of_peak(&self) -> f64 {
        self.gflops / self.peak_gflops
    }
}

/// A training step to be timed on the current threads, after one that is not.
pub(super) struct Job {
    pub(super) config: NetConfig,
    pub(super) precision: Precision,
    pub(super) batch: usize,
    pub(super) steps: usize,
}

impl Job {
    pub(super) fn measure(&self) -> Result<(Timings, Rate)> {
        let model = load_model(
            &self.config,
            self.precision,
            Parameters::initialise(&self.config, 1)?,
        )?;
        let mut worker = Worker::new(&self.config, model, self.batch)?;
        worker.step()?;
        let seconds: Result<Vec<f64>> =
            (0..self.steps).map(|_| seconds(|| worker.step())).collect();
        let timings = Timings::new(seconds?);
        let passes = PASSES_PER_STEP * self.batch as f64;
        let rate = Rate::of(&self.config, self.precision, passes, timings.median())?;
        Ok((timings, rate))
    }
}

fn allocated_between(before: PoolStatistics, after: PoolStatistics) -> usize {
    after.allocated_bytes_total - before.allocated_bytes_total
}

fn print(figures: &Figures) {
    let Figures {
        what,
        net,
        width,
        batch,
        precision,
        threads,
        device,
        kernel_path,
        ..
    } = figures;
    let place = match device.as_str() {
        "cpu" => format!("kernel path {kernel_path}"),
        device => device.to_owned(),
    };
    println!("{what}: {net} width {width}, batch {batch}, {precision}, {threads} threads, {place}");
    if figures.side_by_side > 1 {
        println!("  {} networks at the same time", figures.side_by_side);
    }
    println!(
        "  median {:.1} ms, fastest {:.1} ms, slowest {:.1} ms",
        1e3 * figures.median_s,
        1e3 * figures.min_s,
        1e3 * figures.max_s
    );
    println!(
        "  {:.0} images/s, {:.0} GFLOP/s",
        figures.images_per_s, figures.gflops
    );
    if let (Some(share), Some(peak)) = (figures.share_of_peak, figures.peak_gflops) {
        println!(
            "  {:.0} % of the {peak:.0} GFLOP/s of a loop on registers alone",
            100.0 * share
        );
    }
    println!(
        "  {:.0} bytes allocated for tensors a step",
        figures.bytes_allocated_per_step
    );
    if let Some(bytes) = figures.peak_rss_bytes {
        println!("  peak memory {:.0} MB", bytes as f64 / 1e6);
    }
    if let Some(bytes) = figures.resident_growth_bytes {
        println!(
            "  memory grew by {:.1} MB over the timed steps",
            bytes as f64 / 1e6
        );
    }
    if let (Some(name), Some(theirs), Some(ratio)) = (
        figures.against,
        figures.against_median_s,
        figures.times_faster,
    ) {
        println!("  {name}, in turn: median {theirs:.3} s, {ratio:.3} times as long");
    }
}

fn work(worker: &mut Worker, eval: bool, passes: usize) -> Result<()> {
    for _ in 0..passes {
        if eval {
            worker.features()?;
        } else {
            worker.step()?;
        }
    }
    Ok(())
}
