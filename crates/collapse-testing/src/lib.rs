//! Seeded damage to files: truncations, flipped bits, oversized lengths, spliced blocks.
//!
//! ```
//! use collapse_testing::{Harness, Kind};
//!
//! // A reader of two-byte files, which any other length must not pass.
//! let read = |bytes: &[u8]| <[u8; 2]>::try_from(bytes).map_err(|error| error.to_string());
//! let tally = Harness::new("pair", Kind::Foreign).mutations(50).run(b"ab", read);
//! assert_eq!(tally.panics, 0);
//! ```
//!
//! A reader passes when it neither panics nor takes more than the stated time or memory, and, where the file is
//! [`Kind::Sealed`], when whatever it still reads is what was written. The allocator that counts is a test's own:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: collapse_testing::PeakAlloc = collapse_testing::PeakAlloc;
//! # fn main() {}
//! ```
//!
//! Two variables of the environment serve a long run: `COLLAPSE_MUTATIONS` sets the number a file, and
//! `COLLAPSE_MUTATION_REPORT` names a file to which every harness appends its [`Tally`] as a line of JSON.

mod damage;

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use damage::mutate;
pub use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};

/// Mutations a file where nothing else is said.
const MUTATIONS: u64 = 300;
/// Truncations a file, spread evenly.
const TRUNCATIONS: usize = 200;
/// Peak memory and time are the process's: one harness runs at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Whether a file tells its own damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It carries a checksum over all that counts: damage is noticed or harmless.
    Sealed,
    /// It carries none: damage may read as another file's content.
    Foreign,
}

/// What came of all damaged copies of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The kind of file, e.g. `result.json`.
    pub file: String,
    /// Whether it is sealed.
    pub kind: Kind,
    /// Damaged copies read.
    pub copies: u64,
    /// Refused with an error.
    pub refused: u64,
    /// Read as what was written.
    pub same: u64,
    /// Read as something else.
    pub other: u64,
    /// Panics.
    pub panics: u64,
    /// Longest time of one copy, in seconds.
    pub slowest_seconds: f64,
    /// Largest memory beyond what was held before, in bytes; 0 without the counting allocator.
    pub peak_bytes: usize,
}

/// Damages copies of one file and holds its reader to the rules.
#[derive(Clone, Debug)]
#[must_use]
pub struct Harness {
    file: String,
    kind: Kind,
    mutations: u64,
    seconds: u64,
    bytes: usize,
}

impl Harness {
    /// For a kind of file; 300 mutations (or `COLLAPSE_MUTATIONS`), 10 seconds and 256 MiB a copy.
    pub fn new(file: &str, kind: Kind) -> Self {
        let asked = std::env::var("COLLAPSE_MUTATIONS").ok();
        Self {
            file: file.to_owned(),
            kind,
            mutations: asked.and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS),
            seconds: 10,
            bytes: 256 << 20,
        }
    }

    /// So many mutations, whatever the environment says.
    pub fn mutations(mut self, mutations: u64) -> Self {
        self.mutations = mutations;
        self
    }

    /// The memory that reading one copy may take beyond what is held before.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Reads truncated and mutated copies of `original`.
    ///
    /// # Panics
    /// When the undamaged file is not read, or a rule is broken; the message names the seed of the copy.
    pub fn run<T, E>(&self, original: &[u8], read: impl Fn(&[u8]) -> Result<T, E>) -> Tally
    where
        T: PartialEq,
        E: Display,
    {
        let turn = TURN.lock();
        let _turn = turn.unwrap_or_else(|poisoned| poisoned.into_inner());
        let written = match read(original) {
            Ok(value) => value,
            Err(error) => panic!("{}: the undamaged file is refused: {error}", self.file),
        };
        let mut tally = Tally {
            file: self.file.clone(),
            kind: self.kind,
            copies: 0,
            refused: 0,
            same: 0,
            other: 0,
            panics: 0,
            slowest_seconds: 0.0,
            peak_bytes: 0,
        };
        let mut faults = Vec::new();
        let mut attempt = |what: &str, copy: &[u8]| {
            if let Some(fault) = self.attempt(copy, &written, &read, &mut tally) {
                faults.push(format!("{what}: {fault}"));
            }
        };
        let step = (original.len() / TRUNCATIONS).max(1);
        for cut in (0..original.len()).step_by(step) {
            attempt(&format!("cut to {cut} bytes"), &original[..cut]);
        }
        for seed in 0..self.mutations {
            attempt(&format!("mutation {seed}"), &mutate(original, seed));
        }
        report(&tally);
        assert!(
            faults.is_empty(),
            "{}: {} faults, the first of them:\n{}",
            self.file,
            faults.len(),
            faults[..faults.len().min(5)].join("\n")
        );
        tally
    }

    /// Reads one copy; says which rule it broke.
    fn attempt<T: PartialEq, E: Display>(
        &self,
        copy: &[u8],
        written: &T,
        read: impl Fn(&[u8]) -> Result<T, E>,
        tally: &mut Tally,
    ) -> Option<String> {
        let held = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(copy)));
        let took = began.elapsed();
        let peak = PeakAlloc.peak_usage().saturating_sub(held);
        tally.copies += 1;
        tally.slowest_seconds = tally.slowest_seconds.max(took.as_secs_f64());
        tally.peak_bytes = tally.peak_bytes.max(peak);
        let mut fault = None;
        match outcome {
            Err(_) => {
                tally.panics += 1;
                fault = Some("a panic".to_owned());
            }
            Ok(Err(error)) => {
                tally.refused += 1;
                if error.to_string().trim().is_empty() {
                    fault = Some("an error without words".to_owned());
                }
            }
            Ok(Ok(value)) if value == *written => tally.same += 1,
            Ok(Ok(_)) => {
                tally.other += 1;
                if self.kind == Kind::Sealed {
                    fault = Some("silently read as something else".to_owned());
                }
            }
        }
        if took > Duration::from_secs(self.seconds) {
            fault = Some(format!("{:.1} s", took.as_secs_f64()));
        }
        if peak > self.bytes {
            fault = Some(format!("{peak} bytes of memory"));
        }
        fault
    }
}

/// Appends to the file of a long run, if one is asked for.
fn report(tally: &Tally) {
    let Some(path) = std::env::var_os("COLLAPSE_MUTATION_REPORT") else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let line = serde_json::to_string(tally).map_err(std::io::Error::other);
    let written = file.and_then(|mut file| writeln!(file, "{}", line?));
    if let Err(error) = written {
        panic!("cannot write {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: PeakAlloc = PeakAlloc;

    fn number(bytes: &[u8]) -> Result<u32, String> {
        let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
        text.parse().map_err(|e| format!("{e}"))
    }

    fn message(run: impl FnOnce() -> Tally) -> String {
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn a_file_without_a_seal_may_read_as_another() {
        let tally = Harness::new("number", Kind::Foreign).run(b"123456", number);
        assert!(tally.other > 0 && tally.refused > 0);
        assert_eq!(tally.copies, tally.refused + tally.same + tally.other);
    }

    #[test]
    fn every_broken_rule_is_told() {
        let sealed = Harness::new("number", Kind::Sealed);
        assert!(message(|| sealed.run(b"123456", number)).contains("silently"));
        let undamaged = message(|| sealed.run(b"x", number));
        assert!(undamaged.contains("undamaged"), "{undamaged}");
        let foreign = Harness::new("number", Kind::Foreign);
        let panics = message(|| {
            foreign.run(b"123456", |bytes| {
                assert!(bytes.len() == 6, "cut");
                number(bytes)
            })
        });
        assert!(panics.contains("a panic"), "{panics}");
        let greedy = message(|| {
            foreign.clone().memory(1 << 20).run(b"123456", |bytes| {
                let memory = vec![1u8; if bytes.len() == 6 { 1 } else { 4 << 20 }];
                number(bytes).map(|n| n + u32::from(memory[0]))
            })
        });
        assert!(greedy.contains("bytes of memory"), "{greedy}");
    }
}
