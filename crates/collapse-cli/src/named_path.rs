//! `NAME=PATH` on the command line.

use std::path::PathBuf;
use std::str::FromStr;

/// A file or folder with a name of the user's choice: `NAME=PATH`.
#[derive(Clone, Debug)]
pub struct NamedPath {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for NamedPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                path: PathBuf::from(path),
            }),
            _ => Err(format!("{text:?} is not NAME=PATH, e.g. mine=pictures/")),
        }
    }
}
