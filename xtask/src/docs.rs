//! `cargo xtask docs`: the parts of the documentation that are made from results.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use collapse_results::Results;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The reproduction that README shows; only what its table and picture need.
const RESULTS: &str = "docs/quick/results.json";
const FIGURE: &str = "docs/quick/auroc.svg";
const BEGIN: &str = "<!-- generated: cargo xtask docs -->\n";
const END: &str = "<!-- /generated -->";

/// Write README's table and picture from results of `cargo xtask reproduce`.
#[derive(clap::Args)]
pub struct Args {
    /// Take these results instead of those committed, and keep them.
    #[arg(long, value_name = "RESULTS.JSON")]
    from: Option<PathBuf>,
    /// Write nothing; fail unless the files are what would be written.
    #[arg(long)]
    check: bool,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let root = Path::new(ROOT);
    let source = args.from.unwrap_or_else(|| root.join(RESULTS));
    let mut results = Results::from_json(&read(&source)?)?;
    // Tables, claims and histograms follow from the rest or are not shown here.
    results.tables.clear();
    results.claims.clear();
    for evaluation in results.runs.iter_mut().flat_map(|run| &mut run.evaluations) {
        evaluation.histograms.clear();
    }
    let (Some(table), Some(figure)) = (
        collapse_report::readme_table(&results),
        collapse_report::readme_figure(&results),
    ) else {
        bail!("{} holds no finished run", source.display());
    };
    let readme = root.join("README.md");
    let text = read(&readme)?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("README.md has lost the marks of its generated part, {BEGIN:?} and {END:?}");
    };
    let picture = format!("![AUROC of every seed of every group]({FIGURE})");
    let made = format!(
        "{}{BEGIN}\n{table}\n{picture}\n\n{}",
        &text[..begin],
        &text[end..]
    );
    for (path, content) in [
        (readme, made),
        (root.join(FIGURE), figure),
        (root.join(RESULTS), results.to_json()?),
    ] {
        if args.check {
            if read(&path)? != content {
                bail!(
                    "{} is not what `cargo xtask docs` writes; run it and commit",
                    path.display()
                );
            }
        } else {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("creating {}", folder.display()))?;
            }
            std::fs::write(&path, content)
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
