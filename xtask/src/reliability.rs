//! `cargo xtask reliability`: runs that are killed, interrupted, out of disk space and shared, counted.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use collapse_experiment::{Stop, Verdict, verify_store};
use collapse_random::Stream;
use collapse_results::Results;

/// Kill, interrupt, starve and share runs of a small scale; count what is lost and what is done twice.
///
/// Fails unless both are 0. Every process's result is held against that of one that was left alone.
#[derive(clap::Args)]
pub struct Args {
    /// SIGKILLs at random moments.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// SIGINTs at random moments.
    #[arg(long, default_value_t = 20)]
    interrupts: usize,
    /// Sizes at which a file can grow no more, from 0 to the largest file of a run.
    #[arg(long, default_value_t = 20)]
    sizes: usize,
    /// Processes at one store at the same time.
    #[arg(long, default_value_t = 3)]
    launchers: usize,
    /// SIGKILLs at random moments to processes at one store, each replaced by another.
    #[arg(long, default_value_t = 30)]
    shared_kills: usize,
    /// Moves the moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the counts go; `cargo xtask docs` shows the default file. A kind of trouble that is asked for 0 times keeps
    /// the count that stands there.
    #[arg(long, default_value = "docs/reliability/troubles.json")]
    out: PathBuf,
}

const MANIFEST: &str = r#"
scale = "reliability"
description = "four short runs that are killed, interrupted and shared"
seeds = [1, 2]
width = 4
batch = 128
learning_rate = 0.1
momentum = 0.9
weight_decay = 5e-4
precision = "f32"
measure_at = [1]
[data]
id = "embedded"
[[group]]
id = "l2"
l2 = true
epochs = 2
schedule = "short"
spectral_norm = false
[[group]]
id = "base"
l2 = false
epochs = 2
schedule = "long"
spectral_norm = false
"#;

/// What came of one kind of trouble.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub struct Count {
    kind: String,
    troubles: usize,
    lost: usize,
    done_twice: usize,
}

impl Count {
    fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }
}

/// The counts as a table.
pub fn markdown(counts: &[Count]) -> String {
    let mut table =
        String::from("| Trouble | Times | Lost | Done twice |\n| :--- | ---: | ---: | ---: |\n");
    for count in counts {
        table.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            count.kind, count.troubles, count.lost, count.done_twice
        ));
    }
    table
}

pub fn run(args: Args) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let mut trial = Trial::begin(folder.path(), args.seed)?;
    let mut counts = [
        trial.stopped(args.kills, "KILL")?,
        trial.stopped(args.interrupts, "INT")?,
        trial.starved(args.sizes)?,
        trial.shared(args.launchers, args.shared_kills)?,
    ];
    if args.out.exists() {
        keep_earlier(&mut counts, &args.out)?;
    }
    collapse_files::replace_json(&args.out, &counts)?;
    print!("{}", markdown(&counts));
    println!("\nCounts: {}", args.out.display());
    let sound = |count: &Count| count.lost == 0 && count.done_twice == 0;
    Ok(if counts.iter().all(sound) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Puts the counts of a file in the place of those that nothing was done for.
fn keep_earlier(counts: &mut [Count], path: &Path) -> Result<()> {
    let reading = || format!("reading {}", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let mut earlier: Vec<Count> = serde_json::from_str(&text).with_context(reading)?;
    for count in counts.iter_mut().filter(|count| count.troubles == 0) {
        if let Some(at) = earlier.iter().position(|found| found.kind == count.kind) {
            *count = earlier.swap_remove(at);
        }
    }
    Ok(())
}

struct Trial {
    manifest: PathBuf,
    folder: PathBuf,
    /// What a process that is left alone finds, and how long it takes.
    expected: Results,
    length: Duration,
    moments: Stream,
    stores: usize,
}

impl Trial {
    fn begin(folder: &Path, seed: u64) -> Result<Self> {
        let manifest = folder.join("reliability.toml");
        std::fs::write(&manifest, MANIFEST)?;
        let mut trial = Self {
            manifest,
            folder: folder.to_owned(),
            expected: Results::new("reliability"),
            length: Duration::ZERO,
            moments: Stream::new(seed, "reliability", 0),
            stores: 0,
        };
        let store = trial.store();
        let began = std::time::Instant::now();
        let output = trial.command(&store).output()?;
        ensure!(output.status.success(), "{}", text(&output));
        trial.length = began.elapsed();
        trial.expected = numbers(&store)?;
        Ok(trial)
    }

    /// A folder of its own for the next store.
    fn store(&mut self) -> PathBuf {
        self.stores += 1;
        self.folder.join(format!("store-{}", self.stores))
    }

    fn command(&self, store: &Path) -> Command {
        let program = std::env::current_exe().unwrap_or_else(|_| "cargo-xtask".into());
        self.arguments(Command::new(program), store)
    }

    fn arguments(&self, mut command: Command, store: &Path) -> Command {
        command
            .args(["reproduce", "--scale"])
            .arg(&self.manifest)
            .arg("--out")
            .arg(store)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Processes stopped by a signal at random moments, until each store is finished.
    fn stopped(&mut self, times: usize, signal: &str) -> Result<Count> {
        let mut count = Count::of(&format!("SIG{signal}"));
        while count.troubles < times {
            let store = self.store();
            let mut done = 0;
            loop {
                let mut child = self.command(&store).spawn()?;
                // Short lives first and last: beginnings and ends are where files appear.
                let life = self.length.mul_f64(0.5 * self.moments.uniform().powi(2));
                std::thread::sleep(life);
                let enough = count.troubles >= times;
                if !enough && child.try_wait()?.is_none() {
                    send(&child, signal)?;
                    count.troubles += 1;
                }
                let output = child.wait_with_output()?;
                done += runs_done(&output);
                if output.status.success() {
                    break;
                }
                ensure!(!text(&output).contains("panicked"), "{}", text(&output));
            }
            self.judge(&store, done, &mut count)?;
        }
        Ok(count)
    }

    /// Processes whose files can grow to so many bytes only; the last has all it needs.
    fn starved(&mut self, sizes: usize) -> Result<Count> {
        let mut count = Count::of("no space for a file");
        let largest = largest_file(&self.folder.join("store-1"))?;
        for i in 0..sizes {
            let store = self.store();
            let kibibytes = largest * i as u64 / sizes as u64 / 1024;
            let program = std::env::current_exe()?;
            let mut limited = Command::new("bash");
            limited.arg("-c").arg(format!(
                "trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\""
            ));
            limited.arg(program);
            let output = self.arguments(limited, &store).output()?;
            count.troubles += 1;
            let said = text(&output);
            if output.status.success() || said.contains("panicked") || leavings(&store)? > 0 {
                bail!("files of at most {kibibytes} KiB: {said}");
            }
            let done = runs_done(&output);
            let output = self.command(&store).output()?;
            ensure!(output.status.success(), "{}", text(&output));
            self.judge(&store, done + runs_done(&output), &mut count)?;
        }
        Ok(count)
    }

    /// Processes at one store, of which one after the other is killed and replaced, until the store is finished.
    fn shared(&mut self, launchers: usize, kills: usize) -> Result<Count> {
        let mut count = Count::of("SIGKILL at a shared store");
        while count.troubles < kills {
            let store = self.store();
            let spawn = |trial: &Self| trial.command(&store).spawn();
            let mut children: Vec<Child> = (0..launchers)
                .map(|_| spawn(self))
                .collect::<std::io::Result<_>>()?;
            let mut done = 0;
            while count.troubles < kills {
                let pause = self.length.mul_f64(0.5 * self.moments.uniform());
                std::thread::sleep(pause);
                let next = self.moments.below(children.len());
                if children[next].try_wait()?.is_some() {
                    break;
                }
                children[next].kill()?;
                count.troubles += 1;
                let successor = spawn(self)?;
                let killed = std::mem::replace(&mut children[next], successor);
                done += runs_done(&killed.wait_with_output()?);
            }
            for child in children {
                let output = child.wait_with_output()?;
                ensure!(output.status.success(), "{}", text(&output));
                done += runs_done(&output);
            }
            self.judge(&store, done, &mut count)?;
        }
        Ok(count)
    }

    /// Compares a finished store with the one that was left alone.
    fn judge(&self, store: &Path, done: usize, count: &mut Count) -> Result<()> {
        let found = numbers(store)?;
        for run in &self.expected.runs {
            let same = found.runs.contains(run);
            count.lost += usize::from(!same);
        }
        count.lost += usize::from(found != self.expected && count.lost == 0);
        count.done_twice += done.saturating_sub(self.expected.runs.len());
        let findings = verify_store(store, &Stop::default())?;
        let damaged = |verdict: &Verdict| matches!(verdict, Verdict::Damaged { .. });
        count.lost += findings
            .iter()
            .filter(|found| damaged(&found.verdict))
            .count();
        Ok(())
    }
}

/// The results of a store without times and the command.
fn numbers(store: &Path) -> Result<Results> {
    let path = store.join("results.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut results = Results::from_json(&text)?.without_times();
    results.provenance.command.clear();
    Ok(results)
}

fn runs_done(output: &Output) -> usize {
    text(output).matches(": done, test accuracy").count()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn send(child: &Child, signal: &str) -> Result<()> {
    let pid = child.id().to_string();
    // It may have ended by itself.
    Command::new("kill")
        .args(["-s", signal, &pid])
        .stderr(Stdio::null())
        .status()?;
    Ok(())
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files(&path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}

fn largest_file(folder: &Path) -> Result<u64> {
    let mut found = Vec::new();
    files(folder, &mut found)?;
    let sizes = found.iter().map(std::fs::metadata);
    let mut largest = 0;
    for size in sizes {
        largest = largest.max(size?.len());
    }
    Ok(largest)
}

/// Temporary files that a failed write left.
fn leavings(folder: &Path) -> Result<usize> {
    let mut found = Vec::new();
    files(folder, &mut found)?;
    let temporary = |path: &&PathBuf| path.extension().is_some_and(|ending| ending == "tmp");
    Ok(found.iter().filter(temporary).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_keeps_its_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |kind: &str, troubles| Count {
            troubles,
            ..Count::of(kind)
        };
        collapse_files::replace_json(file.path(), &[of("a", 5), of("b", 6), of("gone", 7)])
            .unwrap();
        let mut counts = [of("a", 0), of("b", 30), of("new", 0)];
        keep_earlier(&mut counts, file.path()).unwrap();
        let found: Vec<(&str, usize)> = counts
            .iter()
            .map(|count| (count.kind.as_str(), count.troubles))
            .collect();
        assert_eq!(found, [("a", 5), ("b", 30), ("new", 0)]);
    }
}
