//! What shells and `man` read about the commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use collapse_files::replace;

use crate::Cli;
use crate::output::{out, print};

/// Print the completions of `collapse` for a shell, e.g. `collapse completions bash > ~/.local/share/bash-completion/completions/collapse`.
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Write the man pages of `collapse`, one for each command.
#[derive(clap::Args)]
pub struct ManArgs {
    /// Folder of the pages, e.g. ~/.local/share/man/man1.
    #[arg(long)]
    out: PathBuf,
}

pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "collapse", &mut text);
    print(String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &ManArgs) -> Result<ExitCode> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let pages = write_pages(&command, &args.out)?;
    out!("{pages} pages in {}", args.out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of its subcommands; the number of pages.
fn write_pages(command: &clap::Command, folder: &Path) -> Result<usize> {
    let page = Man::new(command.clone());
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    let rendered = page.render(&mut text);
    rendered.with_context(|| format!("cannot make {}", path.display()))?;
    replace(&path, &text)?;
    let mut pages = 1;
    for subcommand in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        pages += write_pages(subcommand, folder)?;
    }
    Ok(pages)
}
