//! `cargo xtask docs`: the parts of the documentation that are made from measurements.

mod full;
mod page;
mod results;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_report::{
    Figure, PeerRun, Scaling, group_label, page_algorithms, page_figure, page_peers, page_table,
};
use collapse_results::{Results, Role, ScoreId};
use collapse_testing::Tally;

use crate::reliability::Count;
use page::{Page, read, write};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The reproduction that README shows; only what its table and picture need.
const QUICK: &str = "docs/quick/results.json";
const QUICK_FIGURE: &str = "docs/quick/auroc.svg";
/// What docs/performance.md shows.
const SCALING: &str = "docs/performance/scaling.json";
const SCALING_FIGURE: &str = "docs/performance/scaling.svg";
/// What docs/reliability.md shows, written by `cargo xtask mutations` and `cargo xtask reliability`.
const MUTATIONS: &str = "docs/reliability/mutations.json";
const TROUBLES: &str = "docs/reliability/troubles.json";
const PRECISION: &str = "docs/performance/precision.json";
/// Groups of [`PRECISION`] with direct convolutions.
const DIRECT: &str = "docs/performance/direct.json";
/// The experiment of [`PRECISION`] by PyTorch: its page, and lines of `benches/peers/train_embedded.py`.
const PYTORCH: &str = "docs/pytorch";
/// Folders of docs that show one training experiment each: its results, its page, and lines of
/// `benches/peers/train_cifar.py --json` to hold it against.
const WIDTH_8: &str = "docs/cifar10-width8";
const CIFAR10: &str = "docs/cifar10";

/// Write the tables and pictures of README and docs from the measurements committed beside them.
#[derive(clap::Args)]
pub struct Args {
    /// Results of `cargo xtask reproduce` to take, and keep, for README.
    #[arg(long, value_name = "RESULTS.JSON")]
    from: Option<PathBuf>,
    /// Results of `cargo xtask reproduce --scale precision` to take, and keep, for docs/performance.md and docs/pytorch.
    #[arg(long, value_name = "RESULTS.JSON")]
    precision: Option<PathBuf>,
    /// The same with `COLLAPSE_CONVOLUTION=direct` and f32 alone, for docs/performance.md.
    #[arg(long, value_name = "RESULTS.JSON")]
    direct: Option<PathBuf>,
    /// Results of `cargo xtask reproduce --scale experiments/cifar10-width8.toml` to take, and keep, for docs/cifar10-width8.
    #[arg(long, value_name = "RESULTS.JSON")]
    cifar10_width8: Option<PathBuf>,
    /// Results of `cargo xtask reproduce --scale experiments/cifar10.toml` to take, and keep, for docs/cifar10.
    #[arg(long, value_name = "RESULTS.JSON")]
    cifar10: Option<PathBuf>,
    /// Results of `cargo xtask reproduce --scale small` to take, and keep, for docs/results.
    #[arg(long, value_name = "RESULTS.JSON")]
    small: Option<PathBuf>,
    /// Folder of `cargo xtask reproduce --scale full --out`, whose runs, finished or not, to join to the committed
    /// ones, and keep, for docs/results.
    #[arg(long, value_name = "OUT")]
    full: Option<PathBuf>,
    /// What `cargo xtask reproduce --scale small --plan --json` said, to take, and keep, for docs/results.
    #[arg(long, value_name = "PLAN.JSON")]
    plan: Option<PathBuf>,
    /// File of `cargo xtask bench scale` to take, and keep, for docs/performance.md.
    #[arg(long, value_name = "SCALING.JSON")]
    scaling: Option<PathBuf>,
    /// Write nothing; fail unless the files are what would be written.
    #[arg(long)]
    check: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let root = Path::new(ROOT);
    let source = |given: &Option<PathBuf>, kept: &str| match given {
        Some(path) => path.clone(),
        None => root.join(kept),
    };
    let quick = shortened(&source(&args.from, QUICK))?;
    let precision = of_many_seeds(&source(&args.precision, PRECISION))?;
    let direct = of_many_seeds(&source(&args.direct, DIRECT))?;
    let scaling_source = source(&args.scaling, SCALING);
    let scaling: Scaling = serde_json::from_str(&read(&scaling_source)?)
        .with_context(|| format!("reading {}", scaling_source.display()))?;

    let scaling_figure = scaling
        .figure()
        .with_context(|| format!("{SCALING} holds no point"))?;

    let seeds = figure(&quick, "auroc-by-group", QUICK)?;
    let mut readme = Page::open(root.join("README.md"))?;
    let small = shortened(&source(&args.small, results::KEPT))?;
    readme.fill(
        "quick",
        &format!(
            "{}\n{}",
            table(&quick, "main", QUICK)?,
            picture(&seeds, QUICK_FIGURE)
        ),
    )?;
    let mut performance = Page::open(root.join("docs/performance.md"))?;
    performance.fill("precision", &table(&precision, "precision", PRECISION)?)?;
    let algorithms = page_algorithms(&precision, &direct)
        .with_context(|| format!("{PRECISION} and {DIRECT} have no group in common"))?;
    performance.fill("algorithm", &algorithms)?;
    performance.fill(
        "scaling",
        &format!(
            "{}\n![Time of a training step against width, batch and threads](performance/scaling.svg)\n",
            scaling.markdown()
        ),
    )?;
    let mut scaling_text = serde_json::to_string_pretty(&scaling)?;
    scaling_text.push('\n');
    let pages = results::pages(root, &small, &args.plan, args.full.as_ref(), &mut readme)?;
    let mut files = vec![
        (readme.path, readme.text),
        (performance.path, performance.text),
        (root.join(QUICK), quick.to_json()?),
        (root.join(QUICK_FIGURE), seeds.standalone()),
        (root.join(PRECISION), precision.to_json()?),
        (root.join(DIRECT), direct.to_json()?),
        (root.join(SCALING), scaling_text),
        (root.join(SCALING_FIGURE), scaling_figure),
    ];
    files.push(reliability(root)?);
    files.push(peers(root, &precision)?);
    files.extend(experiment(root, WIDTH_8, &args.cifar10_width8)?);
    files.extend(experiment(root, CIFAR10, &args.cifar10)?);
    files.extend(pages);
    for (path, content) in files {
        if args.check {
            if read(&path)? != content {
                bail!(
                    "{} is not what `cargo xtask docs` writes; run it and commit",
                    path.display()
                );
            }
        } else {
            write(&path, &content)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(results: &Results, id: &str, origin: &str) -> Result<String> {
    page_table(results, id).with_context(|| format!("{origin} does not make table {id:?}"))
}

fn figure(results: &Results, id: &str, origin: &str) -> Result<Figure> {
    page_figure(results, id).with_context(|| format!("{origin} does not make figure {id:?}"))
}

/// docs/reliability.md with what damaged files did.
fn reliability(root: &Path) -> Result<(PathBuf, String)> {
    let counts = root.join(MUTATIONS);
    let tallies: Vec<Tally> = serde_json::from_str(&read(&counts)?)
        .with_context(|| format!("reading {}", counts.display()))?;
    let mut page = Page::open(root.join("docs/reliability.md"))?;
    page.fill("mutations", &crate::mutations::markdown(&tallies))?;
    let counts = root.join(TROUBLES);
    let counts: Vec<Count> = serde_json::from_str(&read(&counts)?)
        .with_context(|| format!("reading {}", counts.display()))?;
    page.fill("troubles", &crate::reliability::markdown(&counts))?;
    Ok((page.path, page.text))
}

/// docs/pytorch with the precision experiment held against PyTorch's runs of it.
fn peers(root: &Path, ours: &Results) -> Result<(PathBuf, String)> {
    let source = root.join(PYTORCH).join("pytorch.jsonl");
    let runs: Vec<PeerRun> = read(&source)?
        .lines()
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("reading {}", source.display()))
        })
        .collect::<Result<_>>()?;
    let table = page_peers(ours, "PyTorch", &runs)
        .with_context(|| format!("{PYTORCH} and {PRECISION} have no group in common"))?;
    let mut page = Page::open(root.join(PYTORCH).join("README.md"))?;
    page.fill("peers", &table)?;
    Ok((page.path, page.text))
}

/// A figure on a page, with its caption below.
fn picture(figure: &Figure, file: &str) -> String {
    format!("![{}]({file})\n\n{}\n", figure.title, figure.caption)
}

/// The files of a folder that shows a training experiment, from new results or from those it holds.
fn experiment(root: &Path, folder: &str, new: &Option<PathBuf>) -> Result<[(PathBuf, String); 3]> {
    let inside = |name: &str| root.join(folder).join(name);
    let kept = inside("results.json");
    let results = shortened(new.as_ref().unwrap_or(&kept))?;
    let mut page = Page::open(inside("README.md"))?;
    for id in ["history", "main"] {
        page.fill(id, &table(&results, id, folder)?)?;
    }
    let curves = figure(&results, "nc-epochs", folder)?;
    page.fill(
        "nc-epochs",
        &format!(
            "{}\n{}",
            table(&results, "nc-epochs", folder)?,
            picture(&curves, "nc-epochs.svg")
        ),
    )?;
    let sets: Vec<String> = results
        .data
        .iter()
        .filter(|set| set.role == Role::Ood)
        .map(|set| {
            let scores = table(&results, &format!("scores-{}", set.name), folder)?;
            Ok(format!("Against {}:\n\n{scores}", set.name))
        })
        .collect::<Result<_>>()?;
    page.fill("scores", &sets.join("\n"))?;
    // Times are shown where the machine was left to the runs.
    let timed = page.has("seconds");
    page.fill("pytorch", &peer_table(&inside("pytorch.jsonl"), timed)?)?;
    if timed {
        page.fill("seconds", &seconds_table(&results))?;
    }
    Ok([
        (page.path, page.text),
        (kept, results.to_json()?),
        (inside("nc-epochs.svg"), curves.standalone()),
    ])
}

/// Wall-clock time of every run; kept out of the report's tables, which are the same for the same seeds.
fn seconds_table(results: &Results) -> String {
    let mut table = String::from(
        "| Group | Seed | Epochs | Seconds an epoch, mean | Seconds measuring |\n\
         | :--- | ---: | ---: | ---: | ---: |\n",
    );
    for run in &results.runs {
        let epochs = run
            .history
            .iter()
            .filter(|r| r.train_loss.is_some())
            .count();
        let label = results
            .groups
            .iter()
            .find(|group| group.id == run.group)
            .map_or_else(|| run.group.clone(), group_label);
        table.push_str(&format!(
            "| {label} | {} | {epochs} | {:.0} | {:.0} |\n",
            run.seed,
            run.times.train_seconds / epochs.max(1) as f64,
            run.times.evaluate_seconds,
        ));
    }
    table
}

/// Results without what follows from the rest or is not shown in the documentation.
fn shortened(path: &Path) -> Result<Results> {
    let mut results =
        Results::from_json(&read(path)?).with_context(|| format!("reading {}", path.display()))?;
    results.tables.clear();
    results.claims.clear();
    for evaluation in results.runs.iter_mut().flat_map(|run| &mut run.evaluations) {
        evaluation.histograms.clear();
    }
    Ok(results)
}

/// Results of hundreds of runs, with only the score that the pages show.
fn of_many_seeds(path: &Path) -> Result<Results> {
    let mut results = shortened(path)?;
    for evaluation in results.runs.iter_mut().flat_map(|run| &mut run.evaluations) {
        evaluation
            .ood
            .retain(|found| found.score == ScoreId::GMM_FEATURES);
    }
    Ok(results)
}

/// What PyTorch printed after an epoch.
#[derive(serde::Deserialize)]
struct PeerEpoch {
    epoch: usize,
    loss: f64,
    train_accuracy: f64,
    validation_accuracy: f64,
    test_accuracy: f64,
    seconds: f64,
    l2: bool,
    seed: u64,
}

fn peer_table(path: &Path, timed: bool) -> Result<String> {
    let mut table = String::from(
        "| PyTorch | Seed | Epoch | Train loss | Train accuracy (%) | Validation accuracy (%) | Test accuracy (%) |",
    );
    table.push_str(if timed { " Seconds |\n" } else { "\n" });
    table.push_str("| :--- | ---: | ---: | ---: | ---: | ---: | ---: |");
    table.push_str(if timed { " ---: |\n" } else { "\n" });
    for line in read(path)?.lines() {
        let e: PeerEpoch =
            serde_json::from_str(line).with_context(|| format!("reading {}", path.display()))?;
        table.push_str(&format!(
            "| {} | {} | {} | {:.3} | {:.2} | {:.2} | {:.2} |",
            if e.l2 { "L2" } else { "no L2" },
            e.seed,
            e.epoch,
            e.loss,
            100.0 * e.train_accuracy,
            100.0 * e.validation_accuracy,
            100.0 * e.test_accuracy
        ));
        if timed {
            table.push_str(&format!(" {:.0} |", e.seconds));
        }
        table.push('\n');
    }
    Ok(table)
}
