//! The place of a field, and what it may hold.

use std::fmt::{Debug, Display};

use crate::Error;

/// What rounding may add to a fraction that is 0 or 1 in exact arithmetic.
pub(super) const ROUNDING: f64 = 1e-9;

/// Range of a variability ratio: f64 features cannot show one beyond about 1e±32.
const RATIO: (f64, f64) = (1e-40, 1e40);

/// Longest name in bytes, as for file names.
const LONGEST_NAME: usize = 200;

/// The path to a field, e.g. `runs[3].evaluations[0].accuracy`, written only on failure.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'static str),
    Item(&'a Place<'a>, &'static str, usize),
}

impl Place<'_> {
    pub(super) fn field(&self, name: &'static str) -> Place<'_> {
        Place::Field(self, name)
    }

    pub(super) fn item(&self, name: &'static str, index: usize) -> Place<'_> {
        Place::Item(self, name, index)
    }

    pub(super) fn fail<T: Debug>(&self, value: T, expected: impl Into<String>) -> Error {
        Error::Value {
            field: self.to_string(),
            value: shortened(&format!("{value:?}")),
            expected: expected.into(),
        }
    }

    pub(super) fn require<T: Debug>(
        &self,
        holds: bool,
        value: T,
        expected: &str,
    ) -> Result<(), Error> {
        if holds {
            Ok(())
        } else {
            Err(self.fail(value, expected))
        }
    }

    pub(super) fn fraction(&self, value: f64) -> Result<(), Error> {
        let holds = (-ROUNDING..=1.0 + ROUNDING).contains(&value);
        self.require(holds, value, "a fraction in 0..=1")
    }

    pub(super) fn within(&self, value: f64, most: f64) -> Result<(), Error> {
        if (0.0..=most).contains(&value) {
            return Ok(());
        }
        Err(self.fail(value, format!("a number in 0..={most}")))
    }

    pub(super) fn not_negative(&self, value: f64) -> Result<(), Error> {
        let holds = value.is_finite() && value >= -ROUNDING;
        self.require(holds, value, "a finite number of at least 0")
    }

    pub(super) fn finite(&self, value: f64) -> Result<(), Error> {
        self.require(value.is_finite(), value, "a finite number")
    }

    pub(super) fn ratio(&self, value: f64) -> Result<(), Error> {
        if value == 0.0 || (RATIO.0..=RATIO.1).contains(&value) {
            return Ok(());
        }
        Err(self.fail(
            value,
            format!("0 or a number in {:e}..={:e}", RATIO.0, RATIO.1),
        ))
    }

    /// A name that can stand in a table and, as part of a name, in a folder.
    pub(super) fn name(&self, name: &str) -> Result<(), Error> {
        let holds = !name.is_empty()
            && name.len() <= LONGEST_NAME
            && !name.contains(['/', '\\'])
            && !name.chars().any(char::is_control)
            && name != "."
            && name != "..";
        self.require(
            holds,
            name,
            "a name of 1 to 200 bytes without slashes and control characters",
        )
    }

    pub(super) fn words(&self, text: &str) -> Result<(), Error> {
        let holds = !text.chars().any(|c| c.is_control() && c != '\n');
        self.require(holds, text, "text without control characters")
    }

    pub(super) fn count(&self, value: usize, most: usize) -> Result<(), Error> {
        if value <= most {
            return Ok(());
        }
        Err(self.fail(value, format!("at most {most}")))
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (parent, name, index) = match self {
            Place::Root => return Ok(()),
            Place::Field(parent, name) => (parent, name, None),
            Place::Item(parent, name, index) => (parent, name, Some(index)),
        };
        if !matches!(parent, Place::Root) {
            write!(f, "{parent}.")?;
        }
        match index {
            Some(index) => write!(f, "{name}[{index}]"),
            None => f.write_str(name),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
