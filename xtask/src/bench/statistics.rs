//! `cargo xtask bench density|em|knn|auroc`: the statistics on generated data of any size.

use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_benches::ClassFeatures;
use collapse_density::{EmParams, LabelledGaussianMixture};
use collapse_experiment::peak_memory;
use collapse_ood::detectors::Knn;
use collapse_ood::{Detector, Inputs, RowsView, TrainInputs};
use collapse_random::Stream;
use ndarray::{Array1, Array2};
use serde::Serialize;

use super::measure::{Timings, seconds, use_threads};

/// Sizes and repetitions.
#[derive(clap::Args)]
pub struct Args {
    /// Rows to fit on (density, em, knn) or scores of either set together (auroc).
    #[arg(long)]
    n: Option<usize>,
    /// Dimensions.
    #[arg(long, default_value_t = 512)]
    d: usize,
    /// Classes, and Gaussians of em.
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Rows to score.
    #[arg(long, default_value_t = 10_000)]
    queries: usize,
    /// Distance of the class means (density, em), in standard deviations of a feature; 0 makes every class matter to every
    /// row.
    #[arg(long, default_value_t = 3.0)]
    separation: f64,
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
    /// Operations of the products that the work consists of, over the median, in GFLOP/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    gflops: Option<f64>,
    /// The same over the f64 peak (f32 products may pass 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_peak_f64: Option<f64>,
    /// `median_s` under the name that benches/peers/density.py has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fit_median_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score_median_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Score>,
    peak_gflops_f64: f64,
    /// Bytes of what is worked on.
    data_bytes: usize,
    /// Peak memory of the process, data included.
    peak_rss_bytes: Option<u64>,
    peak_over_data: Option<f64>,
}

/// Scoring with a fitted density.
#[derive(Serialize)]
struct Score {
    rows: usize,
    median_s: f64,
    min_s: f64,
    /// As if every class were evaluated for every row; classes that cannot matter are left, so this may pass the peak.
    nominal_gflops: f64,
    nominal_share_of_peak_f64: f64,
    /// Features and rows to score.
    data_bytes: usize,
    peak_rss_bytes: Option<u64>,
    peak_over_data: Option<f64>,
}

fn over(peak: Option<u64>, bytes: usize) -> Option<f64> {
    peak.map(|peak| peak as f64 / bytes as f64)
}

/// Which statistic.
pub enum What {
    Density,
    Em,
    Knn,
    Auroc,
}

pub fn run(what: What, args: Args) -> Result<ExitCode> {
    use_threads(args.threads)?;
    let figures = match what {
        What::Density => density(&args)?,
        What::Em => em(&args)?,
        What::Knn => knn(&args)?,
        What::Auroc => auroc(&args)?,
    };
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}, {} threads", figures.what, figures.threads);
    println!(
        "  median {:.4} s, fastest {:.4} s",
        figures.median_s, figures.min_s
    );
    if let (Some(gflops), Some(share)) = (figures.gflops, figures.share_of_peak_f64) {
        println!(
            "  {gflops:.0} GFLOP/s, {:.0} % of the {:.0} GFLOP/s of f64 on registers alone",
            100.0 * share,
            figures.peak_gflops_f64
        );
    }
    memory(figures.peak_rss_bytes, figures.data_bytes);
    if let Some(score) = &figures.score {
        println!(
            "  scoring {} rows: median {:.4} s, fastest {:.4} s, as if {:.0} GFLOP/s, {:.0} % of the peak",
            score.rows,
            score.median_s,
            score.min_s,
            score.nominal_gflops,
            100.0 * score.nominal_share_of_peak_f64
        );
        memory(score.peak_rss_bytes, score.data_bytes);
    }
    Ok(ExitCode::SUCCESS)
}

fn memory(peak: Option<u64>, data: usize) {
    if let Some(bytes) = peak {
        println!(
            "  peak memory {:.0} MB, {:.2} times the data",
            bytes as f64 / 1e6,
            bytes as f64 / data as f64
        );
    }
}

/// A register loop does half as many f64 as f32 operations on every path.
fn peak_f64() -> Result<f64> {
    let path = collapse_kernels::kernel_path()?;
    Ok(0.5 * collapse_kernels::peak_gflops_register_loop(path, collapse_kernels::Precision::F32)?)
}

fn features(n: usize, args: &Args, purpose: &str) -> (Array2<f64>, Vec<usize>) {
    let classes = ClassFeatures {
        d: args.d,
        n_classes: args.classes,
        separation: args.separation,
    };
    classes.draw(n, purpose)
}

fn repeat(repetitions: usize, mut work: impl FnMut() -> Result<()>) -> Result<Timings> {
    let timings = (0..repetitions.max(1))
        .map(|_| seconds(&mut work))
        .collect::<Result<Vec<f64>>>()?;
    Ok(Timings::new(timings))
}

/// Figures of work on data of so many bytes, done so far.
fn figures(what: String, timings: &Timings, data_bytes: usize) -> Result<Figures> {
    let peak = peak_memory();
    Ok(Figures {
        what,
        threads: rayon::current_num_threads(),
        median_s: timings.median(),
        min_s: timings.min(),
        gflops: None,
        share_of_peak_f64: None,
        fit_median_s: None,
        score_median_s: None,
        score: None,
        peak_gflops_f64: peak_f64()?,
        data_bytes,
        peak_rss_bytes: peak,
        peak_over_data: over(peak, data_bytes),
    })
}

/// The last of the models that were fitted, and what each took.
fn fitted<M>(args: &Args, fit: impl Fn() -> Result<M>) -> Result<(M, Timings)> {
    let mut model = None;
    let timings = repeat(args.repetitions, || {
        // The model before is not part of the work.
        drop(model.take());
        model = Some(fit()?);
        Ok(())
    })?;
    let model = model.context("--repetitions must be at least 1")?;
    Ok((model, timings))
}

/// What scoring rows of their own took, and how many bytes these are.
fn scoring(
    args: &Args,
    score: impl Fn(RowsView) -> Result<Array1<f64>>,
) -> Result<(Timings, usize)> {
    let (queries, _) = features(args.queries, args, "bench-queries");
    let timings = repeat(args.repetitions, || {
        std::hint::black_box(score(RowsView::from(queries.view()))?);
        Ok(())
    })?;
    Ok((timings, 8 * queries.len()))
}

fn density(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(45_000);
    let (train, labels) = features(n, args, "bench-train");
    let params = LabelledGaussianMixture::params(args.classes).check()?;
    let (model, fit) = fitted(args, || {
        Ok(params.fit_view(RowsView::from(train.view()), &labels)?)
    })?;
    let what = format!("density: fit {n} x {}, {} classes", args.d, args.classes);
    let figures = figures(what, &fit, 8 * train.len())?;
    let (timed, scored_bytes) = scoring(args, |rows| Ok(model.score(rows)?))?;
    let (d, c) = (args.d as f64, args.classes as f64);
    let peak_gflops_f64 = figures.peak_gflops_f64;
    let gflops = (n as f64 * d * d + c * d * d * d / 3.0) / fit.median() / 1e9;
    let nominal_gflops = args.queries as f64 * c * d * d / timed.median() / 1e9;
    let all_bytes = figures.data_bytes + scored_bytes;
    let score = Score {
        rows: args.queries,
        median_s: timed.median(),
        min_s: timed.min(),
        nominal_gflops,
        nominal_share_of_peak_f64: nominal_gflops / peak_gflops_f64,
        data_bytes: all_bytes,
        peak_rss_bytes: peak_memory(),
        peak_over_data: over(peak_memory(), all_bytes),
    };
    Ok(Figures {
        gflops: Some(gflops),
        share_of_peak_f64: Some(gflops / peak_gflops_f64),
        fit_median_s: Some(fit.median()),
        score_median_s: Some(timed.median()),
        score: Some(score),
        ..figures
    })
}

fn em(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(45_000);
    let (train, _) = features(n, args, "bench-train");
    let params = EmParams::new(args.classes);
    let (model, fit) = fitted(args, || Ok(params.fit(RowsView::from(train.view()))?))?;
    let what = format!("EM: fit {n} x {}, {} Gaussians", args.d, args.classes);
    let figures = figures(what, &fit, 8 * train.len())?;
    let (timed, _) = scoring(args, |rows| Ok(model.score(rows)?))?;
    Ok(Figures {
        fit_median_s: Some(fit.median()),
        score_median_s: Some(timed.median()),
        ..figures
    })
}

fn knn(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(45_000);
    let normals = |rows, purpose| {
        let mut stream = Stream::new(1, purpose, 0);
        Array2::from_shape_simple_fn((rows, args.d), || stream.normal())
    };
    let (bank, queries) = (
        normals(n, "bench-train"),
        normals(args.queries, "bench-queries"),
    );
    let labels = vec![0; n];
    let train = TrainInputs::new(Inputs::of_features(bank.view(), false)?, &labels)?;
    let detector = Knn::fit(&train, args.k)?;
    let timings = repeat(args.repetitions, || {
        let inputs = Inputs::of_features(queries.view(), false)?;
        std::hint::black_box(detector.score(&inputs)?);
        Ok(())
    })?;
    let what = format!(
        "kNN: k = {}, bank {n} x {}, {} queries",
        args.k, args.d, args.queries
    );
    let figures = figures(what, &timings, 8 * (bank.len() + queries.len()))?;
    let gflops = 2.0 * n as f64 * args.queries as f64 * args.d as f64 / timings.median() / 1e9;
    Ok(Figures {
        gflops: Some(gflops),
        share_of_peak_f64: Some(gflops / figures.peak_gflops_f64),
        ..figures
    })
}

fn auroc(args: &Args) -> Result<Figures> {
    let n = args.n.unwrap_or(10_000_000);
    let mut stream = Stream::new(1, "bench-scores", 0);
    let id: Vec<f64> = (0..n / 2).map(|_| stream.normal() + 2.0).collect();
    let ood: Vec<f64> = (0..n - n / 2).map(|_| stream.normal()).collect();
    let timings = repeat(args.repetitions, || {
        std::hint::black_box(collapse_ood::metrics::auroc(&id, &ood)?);
        Ok(())
    })?;
    // Sorting does no arithmetic to compare with a peak.
    figures(format!("AUROC of {n} scores"), &timings, 8 * n)
}
