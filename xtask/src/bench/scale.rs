//! `cargo xtask bench scale`: how the time of a training step grows.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use collapse_files::replace_json;
use collapse_kernels::{kernel_path, release_idle_memory};
use collapse_models::{Net, NetConfig};
use collapse_report::{SCALING_SCHEMA, Scaling, StepTime};

use super::measure::machine;
use super::step::{Job, PrecisionArg};

/// Time training steps over widths, batches, networks and threads, one of them changed at a time, and write a JSON file that
/// `cargo xtask docs` draws.
///
/// The file is written after every point; the same command goes on where it stopped.
#[derive(clap::Args)]
pub struct Args {
    /// Networks, the first of which the other sweeps use.
    #[arg(long, value_delimiter = ',', default_value = "resnet18,resnet50")]
    nets: Vec<Net>,
    /// Widths, the last of which the other sweeps use.
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,64")]
    widths: Vec<usize>,
    /// Batches.
    #[arg(long, value_delimiter = ',', default_value = "32,64,128,256,512")]
    batches: Vec<usize>,
    /// Batch of the other sweeps.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Threads [default: powers of two up to all cores].
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// Timed steps a point.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// The file to write.
    #[arg(long, default_value = "target/scaling.json")]
    out: PathBuf,
}

pub fn run(args: Args) -> Result<ExitCode> {
    ensure!(args.steps > 0, "--steps must be at least 1");
    let mut scaling = Scaling {
        schema: SCALING_SCHEMA.to_owned(),
        machine: machine(),
        kernel_path: kernel_path()?.name().to_owned(),
        precision: args.precision.precision().name().to_owned(),
        steps: args.steps,
        command: command(&args),
        points: Vec::new(),
    };
    if let Some(found) = earlier(&args.out, &scaling)? {
        scaling.points = found;
    }
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    let work = points(&args)?;
    for (index, (config, batch, threads)) in work.iter().enumerate() {
        let job = Job {
            config: config.clone(),
            precision: args.precision.precision(),
            batch: *batch,
            steps: args.steps,
        };
        let net = config.net.to_string();
        if scaling.contains(&net, config.width, *batch, *threads) {
            continue;
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(*threads)
            .build()
            .with_context(|| format!("starting {threads} threads"))?;
        let (timings, rate) = pool.install(|| job.measure())?;
        let measured = StepTime {
            net,
            width: config.width,
            batch: *batch,
            threads: *threads,
            median_s: timings.median(),
            min_s: timings.min(),
            max_s: timings.max(),
            gflops: rate.gflops,
            share_of_peak: rate.share_of_peak(),
        };
        release_idle_memory();
        eprintln!(
            "{}/{}: {} width {}, batch {}, {} threads: {:.3} s",
            index + 1,
            work.len(),
            measured.net,
            measured.width,
            measured.batch,
            measured.threads,
            measured.median_s
        );
        scaling.points.push(measured);
        replace_json(&args.out, &scaling)?;
    }
    print!("{}", scaling.markdown());
    println!("written to {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// Network, batch and threads of every point, each once.
fn points(args: &Args) -> Result<Vec<(NetConfig, usize, usize)>> {
    let (Some(first), Some(widest)) = (args.nets.first(), args.widths.last()) else {
        anyhow::bail!("--nets and --widths need at least one entry");
    };
    let widths = args.widths.iter().map(|&width| (*first, width, args.batch));
    let batches = args.batches.iter().map(|&batch| (*first, *widest, batch));
    let nets = args.nets.iter().map(|&net| (net, *widest, args.batch));
    let mut points: Vec<(NetConfig, usize, usize)> = Vec::new();
    for (net, width, batch) in widths.chain(batches).chain(nets) {
        let mut config = NetConfig::new(net, 10);
        (config.width, config.spectral_norm) = (width, None);
        config.l2 = collapse_models::L2Mode::TrainAndInference;
        config.plan()?;
        for threads in thread_counts(args) {
            let point = (config.clone(), batch, threads);
            if !points.contains(&point) {
                points.push(point);
            }
        }
    }
    Ok(points)
}

fn thread_counts(args: &Args) -> Vec<usize> {
    if !args.threads.is_empty() {
        return args.threads.clone();
    }
    let all = rayon::current_num_threads();
    let mut counts: Vec<usize> = std::iter::successors(Some(1), |n| Some(2 * n))
        .take_while(|n| *n < all)
        .collect();
    counts.push(all);
    counts
}

/// The points of a file that was measured in the same way on the same machine.
fn earlier(path: &Path, now: &Scaling) -> Result<Option<Vec<StepTime>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let found: Scaling = serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is no scaling file; choose another --out",
            path.display()
        )
    })?;
    let same = Scaling {
        points: found.points.clone(),
        ..now.clone()
    } == found;
    ensure!(
        same,
        "{} holds another measurement ({}, kernels {}, {}, {} steps, `{}`); remove it or choose another --out",
        path.display(),
        found.machine,
        found.kernel_path,
        found.precision,
        found.steps,
        found.command
    );
    Ok(Some(found.points))
}

/// The command without `--out`.
fn command(args: &Args) -> String {
    let list = |values: Vec<String>| values.join(",");
    let mut words = format!(
        "cargo xtask bench scale --nets {} --widths {} --batches {} --batch {} --precision {} --steps {}",
        list(args.nets.iter().map(ToString::to_string).collect()),
        list(args.widths.iter().map(ToString::to_string).collect()),
        list(args.batches.iter().map(ToString::to_string).collect()),
        args.batch,
        args.precision.precision().name(),
        args.steps
    );
    if !args.threads.is_empty() {
        let threads = list(args.threads.iter().map(ToString::to_string).collect());
        words.push_str(&format!(" --threads {threads}"));
    }
    words
}
