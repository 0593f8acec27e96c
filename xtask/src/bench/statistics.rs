//! `cargo xtask bench density|knn|auroc`: the statistics on generated data of any size.

use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_density::LabelledGaussianMixture;
use collapse_models::rng::Stream;
use collapse_ood::detectors::Knn;
use collapse_ood::{Detector, Inputs, TrainInputs};
use ndarray::Array2;
use serde::Serialize;

use super::measure::{Timings, peak_rss_bytes, seconds};

/// Sizes and repetitions.
#[derive(clap::Args)]
pub struct Args {
    /// Rows to fit on (density, knn) or scores of either set together (auroc).
    #[arg(long)]
    n: Option<usize>,
    /// Dimensions.
    #[arg(long, default_value_t = 512)]
    d: usize,
    /// Classes.
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Rows to score.
    #[arg(long, default_value_t = 10_000)]
    queries: usize,
    /// Neighbours.
    #[arg(long, default_value_t = 50)]
    k: usize,
    /// Timed repetitions.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Threads [default: all cores, or RAYON_NUM_THREADS].
    #[arg(long)]
    threads: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Figures {
    what: String,
    threads: usize,
    median_s: f64,
    min_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    score_median_s: Option<f64>,
    /// f64 operations of the products that the work consists of, over the median, in GFLOP/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    gflops: Option<f64>,
    peak_gflops_f64: f64,
    peak_rss_bytes: Option<u64>,
}

/// Which statistic.
pub enum What {
    Density,
    Knn,
    Auroc,
}

pub fn run(what: What, args: Args) -> Result<ExitCode> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .context("--threads must be given before any work runs")?;
    }
    let figures = match what {
        What::Density => density(&args)?,
        What::Knn => knn(&args)?,
        What::Auroc => auroc(&args)?,
    };
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}, {} threads", figures.what, figures.threads);
    println!(
        "  median {:.3} s, fastest {:.3} s",
        figures.median_s, figures.min_s
    );
    if let Some(score) = figures.score_median_s {
        println!("  scoring: median {score:.3} s");
    }
    if let Some(gflops) = figures.gflops {
        println!(
            "  {gflops:.0} GFLOP/s, {:.0} % of the {:.0} GFLOP/s of f64 on registers alone",
            100.0 * gflops / figures.peak_gflops_f64,
            figures.peak_gflops_f64
        );
    }
    if let Some(bytes) = figures.peak_rss_bytes {
        println!("  peak memory {:.0} MB", bytes as f64 / 1e6);
    }
    Ok(ExitCode::SUCCESS)
}

/// A register loop does half as many f64 as f32 operations on every path.
fn peak_f64() -> Result<f64> {
    let path = collapse_kernels::kernel_path()?;
    Ok(0.5 * collapse_kernels::peak_gflops_register_loop(path, collapse_kernels::Precision::F32)?)
}

/// Class centres on random directions with noise around them, [n, d].
fn features(n: usize, d: usize, classes: usize, purpose: &str) -> (Array2<f64>, Vec<usize>) {
    let mut centres = Stream::new(1, "bench-centres", 0);
    let centres = Array2::from_shape_fn((classes, d), |_| centres.uniform());
    let mut noise = Stream::new(1, purpose, 0);
    let values = Array2::from_shape_fn((n, d), |(i, j)| {
        centres[(i % classes, j)] + 0.3 * (noise.uniform() - 0.5)
    });
    (values, (0..n).map(|i| i % classes).collect())
}

fn repeat(repetitions: usize, mut work: impl FnMut() -> Result<()>) -> Result<Timings> {
    let timings = (0..repetitions.max(1))
        .map(|_| seconds(&mut work))
        .collect::<Result<Vec<f64>>>()?;
    Ok(Timings::new(timings))
}

fn density(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(45_000);
    let (train, labels) = features(n, args.d, args.classes, "bench-train");
    let (queries, _) = features(args.queries, args.d, args.classes, "bench-queries");
    let params = LabelledGaussianMixture::params(args.classes).check()?;
    let mut model = params.fit_view(train.view(), &labels)?;
    let fit = repeat(args.repetitions, || {
        model = params.fit_view(train.view(), &labels)?;
        Ok(())
    })?;
    let score = repeat(args.repetitions, || {
        std::hint::black_box(model.score(queries.view())?);
        Ok(())
    })?;
    let (n, d, c) = (n as f64, args.d as f64, args.classes as f64);
    let work = n * d * d + c * d * d * d / 3.0;
    Ok(Figures {
        what: format!(
            "density: fit {n} x {d}, {c} classes, score {} rows",
            args.queries
        ),
        threads: rayon::current_num_threads(),
        gflops: Some(work / fit.median() / 1e9),
        median_s: fit.median(),
        min_s: fit.min(),
        score_median_s: Some(score.median()),
        peak_gflops_f64: peak_f64()?,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

fn knn(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(45_000);
    let (bank, labels) = features(n, args.d, args.classes, "bench-train");
    let (queries, _) = features(args.queries, args.d, args.classes, "bench-queries");
    let logits = Array2::zeros((n, args.classes));
    let query_logits = Array2::zeros((args.queries, args.classes));
    let train = TrainInputs::new(Inputs::new(bank.view(), logits.view(), false)?, &labels)?;
    let detector = Knn::fit(&train, args.k)?;
    let timings = repeat(args.repetitions, || {
        let inputs = Inputs::new(queries.view(), query_logits.view(), false)?;
        std::hint::black_box(detector.score(&inputs)?);
        Ok(())
    })?;
    Ok(Figures {
        what: format!(
            "kNN: k = {}, bank {n} x {}, {} queries",
            args.k, args.d, args.queries
        ),
        threads: rayon::current_num_threads(),
        median_s: timings.median(),
        min_s: timings.min(),
        score_median_s: None,
        gflops: None,
        peak_gflops_f64: peak_f64()?,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

fn auroc(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(10_000_000);
    let mut stream = Stream::new(1, "bench-scores", 0);
    let id: Vec<f64> = (0..n / 2).map(|_| stream.normal() + 1.0).collect();
    let ood: Vec<f64> = (0..n - n / 2).map(|_| stream.normal()).collect();
    let timings = repeat(args.repetitions, || {
        std::hint::black_box(collapse_ood::metrics::auroc(&id, &ood)?);
        Ok(())
    })?;
    Ok(Figures {
        what: format!("AUROC of {n} scores"),
        threads: rayon::current_num_threads(),
        median_s: timings.median(),
        min_s: timings.min(),
        score_median_s: None,
        gflops: None,
        peak_gflops_f64: peak_f64()?,
        peak_rss_bytes: peak_rss_bytes(),
    })
}
