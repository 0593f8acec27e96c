//! Which of a manifest's runs a process makes.

use std::fmt;
use std::str::FromStr;

/// One of `of` equal parts of the runs: `i/n` on the command line.
///
/// Part `i` has the runs i, i + n, i + 2n, … of the manifest, so that every part has short runs and long ones.
///
/// ```
/// use collapse_experiment::Shard;
///
/// let second: Shard = "2/3".parse()?;
/// assert_eq!((0..7).filter(|&run| second.has(run)).collect::<Vec<_>>(), [1, 4]);
/// assert!("4/3".parse::<Shard>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    part: usize,
    of: usize,
}

impl Shard {
    /// Whether run number `index` (from 0, in manifest order) belongs to this part.
    #[must_use]
    pub fn has(self, index: usize) -> bool {
        index % self.of == self.part - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/').and_then(|(part, of)| {
            let part: usize = part.parse().ok()?;
            Some((part, of.parse::<usize>().ok()?))
        });
        match numbers {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Self { part, of }),
            _ => Err(format!(
                "{text:?} is no part i/n with i from 1 to n, e.g. 2/3"
            )),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}
