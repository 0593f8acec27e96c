//! `cargo xtask mutations`: every kind of file, damaged many times over.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use collapse_testing::{Kind, Tally};

/// Read damaged copies of every kind of file that the project writes or reads, and count what comes of them.
///
/// Runs the test programs called `mutations` of all crates; fails when a reader panics, hangs, takes more memory than
/// it states, or takes damage to a sealed file for content.
#[derive(clap::Args)]
pub struct Args {
    /// Damaged copies of each file, beside the truncated ones.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// Where the counts go; `cargo xtask docs` shows the default file.
    #[arg(long, default_value = DEFAULT_OUT)]
    out: PathBuf,
}

const DEFAULT_OUT: &str = "docs/reliability/mutations.json";

pub fn run(args: Args) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let lines = folder.path().join("mutations.jsonl");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--workspace", "--test", "mutations"])
        .env("COLLAPSE_MUTATIONS", args.count.to_string())
        .env("COLLAPSE_MUTATION_REPORT", &lines)
        .status()
        .context("starting cargo test")?;
    if !status.success() {
        bail!("a reader broke its rules; the test's message above names file and mutation");
    }
    let mut tallies = read_lines(&lines)?;
    tallies.sort_by(|a, b| a.file.cmp(&b.file));
    collapse_files::replace_json(&args.out, &tallies)?;
    print!("{}", markdown(&tallies));
    println!("\nCounts: {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn read_lines(path: &Path) -> Result<Vec<Tally>> {
    let text = std::fs::read_to_string(path).context("no test program wrote its counts")?;
    let tallies = text.lines().map(serde_json::from_str);
    Ok(tallies.collect::<Result<_, _>>()?)
}

/// The counts as a table.
pub fn markdown(tallies: &[Tally]) -> String {
    let mut table = String::from(
        "| File | Sealed | Damaged copies | Refused | Read as written | Read as something else | Panics | Slowest (ms) | Peak memory (MiB) |\n\
         | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for tally in tallies {
        table.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} | {:.1} |\n",
            tally.file,
            match tally.kind {
                Kind::Sealed => "yes",
                Kind::Foreign => "no",
            },
            tally.copies,
            tally.refused,
            tally.same,
            tally.other,
            tally.panics,
            1e3 * tally.slowest_seconds,
            tally.peak_bytes as f64 / f64::from(1 << 20),
        ));
    }
    table
}
