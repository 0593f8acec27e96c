//! `cargo xtask docs`: the parts of the documentation that are made from measurements.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_report::{Scaling, page_figure, page_table};
use collapse_results::Results;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The reproduction that README shows; only what its table and picture need.
const QUICK: &str = "docs/quick/results.json";
const QUICK_FIGURE: &str = "docs/quick/auroc.svg";
/// What docs/performance.md shows.
const SCALING: &str = "docs/performance/scaling.json";
const SCALING_FIGURE: &str = "docs/performance/scaling.svg";
const PRECISION: &str = "docs/performance/precision.json";
/// What docs/c4 shows.
const C4: &str = "docs/c4/results.json";
const C4_FIGURE: &str = "docs/c4/nc-epochs.svg";
/// Lines of `benches/peers/train_cifar.py --json`.
const C4_PEER: &str = "docs/c4/pytorch.jsonl";

/// Write the tables and pictures of README, docs/performance.md and docs/c4 from the measurements committed beside them.
#[derive(clap::Args)]
pub struct Args {
    /// Results of `cargo xtask reproduce` to take, and keep, for README.
    #[arg(long, value_name = "RESULTS.JSON")]
    from: Option<PathBuf>,
    /// Results of `cargo xtask reproduce --scale precision` to take, and keep, for docs/performance.md.
    #[arg(long, value_name = "RESULTS.JSON")]
    precision: Option<PathBuf>,
    /// Results of `cargo xtask reproduce --scale experiments/c4.toml` to take, and keep, for docs/c4.
    #[arg(long, value_name = "RESULTS.JSON")]
    c4: Option<PathBuf>,
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
    let precision = shortened(&source(&args.precision, PRECISION))?;
    let c4 = shortened(&source(&args.c4, C4))?;
    let scaling_source = source(&args.scaling, SCALING);
    let scaling: Scaling = serde_json::from_str(&read(&scaling_source)?)
        .with_context(|| format!("reading {}", scaling_source.display()))?;

    let table = |results: &Results, id: &str, origin: &str| {
        page_table(results, id).with_context(|| format!("{origin} does not make table {id:?}"))
    };
    let figure = |results: &Results, id: &str, origin: &str| {
        page_figure(results, id).with_context(|| format!("{origin} does not make figure {id:?}"))
    };
    let scaling_figure = scaling
        .figure()
        .with_context(|| format!("{SCALING} holds no point"))?;

    let mut readme = Page::open(root.join("README.md"))?;
    readme.fill(
        "quick",
        &format!(
            "{}\n![AUROC of every seed of every group]({QUICK_FIGURE})\n",
            table(&quick, "main", QUICK)?
        ),
    )?;
    let mut performance = Page::open(root.join("docs/performance.md"))?;
    performance.fill("precision", &table(&precision, "precision", PRECISION)?)?;
    performance.fill(
        "scaling",
        &format!(
            "{}\n![Time of a training step against width, batch and threads](performance/scaling.svg)\n",
            scaling.markdown()
        ),
    )?;
    let mut collapse = Page::open(root.join("docs/c4/README.md"))?;
    for id in ["history", "nc-epochs", "main"] {
        collapse.fill(id, &table(&c4, id, C4)?)?;
    }
    let sets: Vec<String> = c4
        .data
        .iter()
        .filter(|set| set.role == "ood")
        .map(|set| {
            let scores = table(&c4, &format!("scores-{}", set.name), C4)?;
            Ok(format!("Against {}:\n\n{scores}", set.name))
        })
        .collect::<Result<_>>()?;
    collapse.fill("pytorch", &peer_table(&root.join(C4_PEER))?)?;
    collapse.fill("scores", &sets.join("\n"))?;
    let mut scaling_text = serde_json::to_string_pretty(&scaling)?;
    scaling_text.push('\n');
    for (path, content) in [
        (readme.path, readme.text),
        (performance.path, performance.text),
        (root.join(QUICK), quick.to_json()?),
        (
            root.join(QUICK_FIGURE),
            figure(&quick, "auroc-by-group", QUICK)?,
        ),
        (collapse.path, collapse.text),
        (root.join(C4), c4.to_json()?),
        (root.join(C4_FIGURE), figure(&c4, "nc-epochs", C4)?),
        (root.join(PRECISION), precision.to_json()?),
        (root.join(SCALING), scaling_text),
        (root.join(SCALING_FIGURE), scaling_figure),
    ] {
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

/// What PyTorch printed after an epoch.
#[derive(serde::Deserialize)]
struct PeerEpoch {
    epoch: usize,
    loss: f64,
    train_accuracy: f64,
    validation_accuracy: f64,
    test_accuracy: f64,
    l2: bool,
    seed: u64,
}

fn peer_table(path: &Path) -> Result<String> {
    let mut table = String::from(
        "| PyTorch | Seed | Epoch | Train loss | Train accuracy (%) | Validation accuracy (%) | Test accuracy (%) |\n\
         | :--- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for line in read(path)?.lines() {
        let e: PeerEpoch =
            serde_json::from_str(line).with_context(|| format!("reading {}", path.display()))?;
        table.push_str(&format!(
            "| {} | {} | {} | {:.3} | {:.2} | {:.2} | {:.2} |\n",
            if e.l2 { "L2" } else { "no L2" },
            e.seed,
            e.epoch,
            e.loss,
            100.0 * e.train_accuracy,
            100.0 * e.validation_accuracy,
            100.0 * e.test_accuracy
        ));
    }
    Ok(table)
}

/// A Markdown file with generated parts between marks.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn open(path: PathBuf) -> Result<Self> {
        let text = read(&path)?;
        Ok(Self { path, text })
    }

    /// Puts `content` between the marks of the part `name`.
    fn fill(&mut self, name: &str, content: &str) -> Result<()> {
        let begin = format!("<!-- generated: cargo xtask docs, {name} -->\n");
        let end = "<!-- /generated -->";
        let found = self.text.find(&begin).and_then(|at| {
            let start = at + begin.len();
            let length = self.text[start..].find(end)?;
            Some(start..start + length)
        });
        let Some(range) = found else {
            bail!(
                "{} has lost the marks {begin:?} and {end:?} of a generated part",
                self.path.display()
            );
        };
        self.text.replace_range(range, &format!("\n{content}\n"));
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
