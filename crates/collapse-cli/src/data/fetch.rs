//! `data fetch`: downloads.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use collapse_data::registry;

#[cfg(feature = "hub")]
use crate::output::out;

#[derive(clap::Args)]
#[cfg_attr(
    not(feature = "hub"),
    allow(dead_code, reason = "read by the build that has the network libraries")
)]
pub struct Args {
    /// Registered sets.
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Folder that receives them, for --data.
    #[arg(long, default_value = "data")]
    pub out: PathBuf,
    /// Who serves them: the hub as parquet, or the authors in their own format.
    #[arg(long, value_enum, default_value = "hub")]
    pub from: Server,
    /// Only this part.
    #[arg(long, value_enum)]
    pub part: Option<PartArg>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Server {
    Hub,
    Authors,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum PartArg {
    Train,
    Test,
}

#[cfg(feature = "hub")]
pub(super) fn fetch(args: &Args) -> Result<ExitCode> {
    use collapse_data::Part;
    use collapse_data::fetch::{FetchOptions, fetch};
    use collapse_data::registry::Source;
    let options = FetchOptions {
        source: match args.from {
            Server::Hub => Source::Hub,
            Server::Authors => Source::Authors,
        },
        ..FetchOptions::default()
    };
    let style = indicatif::ProgressStyle::with_template(
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
    )?;
    for name in &args.names {
        let info = registry::find(name)?;
        let parts = [(PartArg::Train, Part::Train), (PartArg::Test, Part::Test)];
        for (arg, part) in parts {
            let wanted = args.part.is_none_or(|only| only == arg);
            if !wanted || info.files_of(part, options.source).next().is_none() {
                continue;
            }
            let bar = indicatif::ProgressBar::new(0).with_style(style.clone());
            let files = fetch(name, part, &args.out, &options, |file, done, all| {
                bar.set_message(file.to_owned());
                bar.set_length(all.unwrap_or(done));
                bar.set_position(done);
            })?;
            bar.finish_and_clear();
            for file in files {
                out!("{}", file.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A build without the network libraries fetches through one that has them.
#[cfg(not(feature = "hub"))]
pub(super) fn fetch(args: &Args) -> Result<ExitCode> {
    use anyhow::Context as _;

    for name in &args.names {
        registry::find(name)?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let status = std::process::Command::new(&cargo)
        .args([
            "run",
            "--quiet",
            "--features",
            "hub",
            "--manifest-path",
            manifest,
            "--",
        ])
        .args(std::env::args_os().skip(1))
        .status()
        .with_context(|| format!("cannot run {}", cargo.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
