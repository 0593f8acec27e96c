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
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                check_name(name)?;
                Ok(Self {
                    name: name.to_owned(),
                    path: PathBuf::from(path),
                })
            }
            _ => Err(format!("{text:?} is not NAME=PATH, e.g. mine=pictures/")),
        }
    }
}

/// Names become parts of file names and table headings.
fn check_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 200;
    let reason = if name.contains(['/', '\\']) || name == "." || name == ".." {
        "it would leave its folder"
    } else if name.chars().any(char::is_control) {
        "it has control characters"
    } else if name.trim() != name {
        "it begins or ends with a space"
    } else if name.len() > LONGEST {
        "it has more than 200 bytes"
    } else if ["train", "validation", "test"].contains(&name) {
        "that is a split of the in-distribution set"
    } else {
        return Ok(());
    };
    Err(format!(
        "{name:?} cannot name a set: {reason}; use letters, digits, `-` and `_`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_files_or_headings_are_refused() {
        for name in [
            "a/b",
            "a\\b",
            "..",
            ".",
            "a\nb",
            "\u{7}",
            " a",
            "test",
            &"x".repeat(201),
        ] {
            let error = format!("{name}=x").parse::<NamedPath>().unwrap_err();
            assert!(error.contains("cannot name"), "{error}");
        }
        for text in ["", "x", "=x", "x="] {
            assert!(text.parse::<NamedPath>().is_err(), "{text}");
        }
        let found: NamedPath = "my, \"set\"=a=b".parse().unwrap();
        assert_eq!(
            (found.name.as_str(), found.path.to_str()),
            ("my, \"set\"", Some("a=b"))
        );
    }
}
