//! `cargo xtask bench load` and `bench loader`: from files to pixels, and from pixels to batches.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use collapse_benches::{Worker, noise_images};
use collapse_data::{Cache, LoadOptions, Part, sha256};
use collapse_experiment::peak_memory;
use collapse_models::{L2Mode, Net, NetConfig, Parameters};
use collapse_train::{Batches, Draw, FittedImages, epoch_order, load_model};
use serde::Serialize;

use super::measure::{Timings, seconds};
use super::step::PrecisionArg;

/// Time loading a set: from the file on disk to its pixels and labels in memory.
#[derive(clap::Args)]
pub struct LoadArgs {
    /// Folder that holds the set.
    #[arg(long)]
    data: PathBuf,
    /// A registered set.
    #[arg(long, default_value = "cifar10")]
    set: String,
    /// Load the test part.
    #[arg(long)]
    test: bool,
    /// Load from the cache of decoded sets, filled before the clock starts, and touch every page.
    #[arg(long)]
    cached: bool,
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct LoadFigures {
    bench: &'static str,
    route: &'static str,
    set: String,
    images: usize,
    threads: usize,
    median_s: f64,
    min_s: f64,
    max_s: f64,
    images_per_s: f64,
    /// Of pixels, then labels as 64-bit integers: equal to that of `benches/peers/load.py`.
    sha256: String,
    peak_rss_bytes: Option<u64>,
}

pub fn load(args: LoadArgs) -> Result<ExitCode> {
    let part = if args.test { Part::Test } else { Part::Train };
    let folder = tempfile::tempdir()?;
    let options = LoadOptions {
        cache: args.cached.then(|| Cache::new(folder.path())),
        ..LoadOptions::default()
    };
    let once = || collapse_data::load(&args.set, part, Some(&args.data), &options);
    let set = once()?;
    let mut timings = Vec::new();
    for _ in 0..args.repeats.max(1) {
        timings.push(seconds(|| {
            std::hint::black_box(once()?);
            Ok(())
        })?);
    }
    let timings = Timings::new(timings);
    let mut content = set.pixels().to_vec();
    for &label in set.labels().unwrap_or_default() {
        content.extend((label as i64).to_le_bytes());
    }
    print(
        &LoadFigures {
            bench: "load",
            route: if args.cached {
                "cache"
            } else {
                "collapse-data"
            },
            set: args.set.clone(),
            images: set.len(),
            threads: rayon::current_num_threads(),
            median_s: timings.median(),
            min_s: timings.min(),
            max_s: timings.max(),
            images_per_s: set.len() as f64 / timings.median(),
            sha256: sha256(&content).to_hex(),
            peak_rss_bytes: peak_memory(),
        },
        args.json,
    )
}

/// Time the augmenting loader alone, and what training waits for it.
///
/// 45,000 images of 32×32 (noise: only their number and size matter) are cropped and flipped as in training.
#[derive(clap::Args)]
pub struct LoaderArgs {
    #[arg(long, default_value = "resnet18")]
    net: Net,
    #[arg(long, default_value_t = 64)]
    width: usize,
    #[arg(long, default_value_t = 128)]
    batch: usize,
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// Training steps with the loader at work.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct LoaderFigures {
    bench: &'static str,
    net: String,
    width: usize,
    batch: usize,
    threads: usize,
    kernel_path: &'static str,
    /// One augmented batch by the loader alone.
    batch_s: f64,
    loader_images_per_s: f64,
    /// A step on a batch that lies in memory.
    step_s: f64,
    step_images_per_s: f64,
    times_faster: f64,
    /// A step while the loader prepares the next batch.
    step_with_loader_s: f64,
    /// Time between steps, the first wait included, over all time.
    waiting_share: f64,
}

pub fn loader(args: LoaderArgs) -> Result<ExitCode> {
    ensure!(
        args.steps > 0 && args.batch > 1,
        "--steps must be at least 1 and --batch 2"
    );
    // As many images as CIFAR-10's training part holds, of which 45,000 are fitted.
    let train = noise_images(50_000)?.split(1).train;
    let mut config = NetConfig::new(args.net, 10);
    config.width = args.width;
    config.l2 = L2Mode::TrainAndInference;
    let model = load_model(
        &config,
        args.precision.precision(),
        Parameters::initialise(&config, 1)?,
    )?;
    let mut worker = Worker::new(&config, model, args.batch)?;

    let order = epoch_order(1, 1, train.len());
    let mut out = Vec::new();
    let mut alone = Vec::new();
    for positions in order.chunks_exact(args.batch) {
        alone.push(seconds(|| {
            Ok(train.fill_batch(positions, 1, 1, true, &mut out)?)
        })?);
    }
    let alone = Timings::new(alone);

    worker.step()?;
    let mut steps = Vec::new();
    for _ in 0..args.steps {
        steps.push(seconds(|| worker.step())?);
    }
    let steps = Timings::new(steps);

    let draw = Draw {
        order: order
            .get(..args.steps * args.batch)
            .context("--steps times --batch exceeds an epoch of 45,000 images")?,
        batch_size: args.batch,
        skip: 0,
        epoch: 2,
        seed: 1,
        augment: true,
    };
    let mut with_loader = Vec::new();
    let began = Instant::now();
    let images = FittedImages(&train);
    std::thread::scope(|scope| -> Result<()> {
        for batch in Batches::read_ahead(scope, &images, draw) {
            let batch = batch?;
            let labels: Vec<usize> = batch.indices.iter().map(|&i| train.labels()[i]).collect();
            with_loader.push(seconds(|| worker.step_on(&batch.images(), &labels))?);
        }
        Ok(())
    })?;
    let total = began.elapsed().as_secs_f64();
    let working: f64 = with_loader.iter().sum();
    let with_loader = Timings::new(with_loader);
    let per_second = |seconds: f64| args.batch as f64 / seconds;
    print(
        &LoaderFigures {
            bench: "loader",
            net: args.net.to_string(),
            width: args.width,
            batch: args.batch,
            threads: rayon::current_num_threads(),
            kernel_path: collapse_kernels::kernel_path()?.name(),
            batch_s: alone.median(),
            loader_images_per_s: per_second(alone.median()),
            step_s: steps.median(),
            step_images_per_s: per_second(steps.median()),
            times_faster: steps.median() / alone.median(),
            step_with_loader_s: with_loader.median(),
            waiting_share: (total - working) / total,
        },
        args.json,
    )
}

/// One JSON line, or its fields line by line.
fn print(figures: &impl Serialize, json: bool) -> Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let serde_json::Value::Object(fields) = serde_json::to_value(figures)? {
        for (name, value) in fields {
            println!("{name:>22}  {value}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
