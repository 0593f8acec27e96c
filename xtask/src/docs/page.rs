//! Markdown pages with generated parts between marks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What a part begins with.
const MARK: &str = "<!-- generated: cargo xtask docs, {} -->\n";

/// A Markdown file with generated parts between marks.
pub(super) struct Page {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Page {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let text = read(&path)?;
        Ok(Self { path, text })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.text.contains(&begin_mark(name))
    }

    /// Names of the parts, in order.
    pub(super) fn parts(&self) -> Vec<String> {
        let (before, after) = MARK.split_once("{}").unwrap_or((MARK, ""));
        let marks = self.text.split(before).skip(1);
        let names = marks.filter_map(|rest| Some(rest.split_once(after)?.0.to_owned()));
        names.collect()
    }

    /// Puts `content` between the marks of the part `name`.
    pub(super) fn fill(&mut self, name: &str, content: &str) -> Result<()> {
        let begin = begin_mark(name);
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

fn begin_mark(name: &str) -> String {
    MARK.replace("{}", name)
}

pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

pub(super) fn write(path: &Path, content: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
    }
    std::fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
