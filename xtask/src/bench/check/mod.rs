//! `cargo xtask bench --check`: the guard against slow-downs.
//!
//! Every hot path is timed in turn with a yardstick that never changes, and the ratio of both is held against the floor that
//! `benches/floors.toml` has for this kind of processor. What falls below is measured again in processes of its own before it is
//! told.

mod floors;
mod history;
mod judge;
mod measure;
mod outcome;
mod process;
mod show;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use collapse_benches::Case;

use floors::{Floors, Processor};
use measure::{Effort, Measured};
use outcome::{Outcome, Verdict};

/// The exit code where a hot path lies below its floor and the machine is too restless to say whether the code did it
/// (`EX_TEMPFAIL`).
const INCONCLUSIVE: u8 = 75;
/// The exit code where there are no floors for this kind of processor (`EX_CONFIG`).
const NO_FLOORS: u8 = 78;

/// How the guard is asked for.
#[derive(clap::Args)]
pub struct Args {
    /// Hold every hot path against its floor, on one thread.
    ///
    /// Exit codes: 0 every hot path holds its floor, 1 one is slower, 75 the machine is too restless to tell, 78 no floors for this
    /// kind of processor.
    #[arg(long)]
    check: bool,
    /// Set the floors of this kind of processor from processes of their own.
    #[arg(long, conflicts_with = "check")]
    bless: bool,
    /// With --bless: how many processes measure.
    #[arg(long, default_value_t = 5)]
    processes: usize,
    /// A part of the list and of the samples, for every commit; about a minute.
    #[arg(long)]
    short: bool,
    /// Only hot paths whose name contains this; repeatable.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Floors by kind of processor.
    #[arg(long, default_value = "benches/floors.toml")]
    floors: PathBuf,
    /// Folder for `check.json`, `history.jsonl`, to which each run adds a line, and `history.html`.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Append the table as Markdown to this file [default: $GITHUB_STEP_SUMMARY, where it is set].
    #[arg(long)]
    summary: Option<PathBuf>,
    /// Print the measurements as one JSON array and judge nothing: what this command asks of its processes.
    #[arg(long, hide = true)]
    measure_only: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    ensure!(
        args.check || args.bless || args.measure_only,
        "name what to measure (see --help), or hold the hot paths against their floors with --check"
    );
    ensure!(args.processes > 1, "--processes must be at least 2");
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .context("the guard measures one thread, which must be settled before any work runs")?;
    let cases = chosen(args)?;
    let effort = Effort::new(args.short);
    if args.measure_only {
        let measured = measure_all(&cases, effort)?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(ExitCode::SUCCESS);
    }
    let processor = Processor::of_this_machine()?;
    let floors = Floors::read(&args.floors)?;
    if args.bless {
        return bless(args, &cases, floors, processor);
    }
    check(args, &cases, &floors, &processor)
}

fn chosen(args: &Args) -> Result<Vec<Case>> {
    let mut cases = collapse_benches::cases()?;
    cases.retain(|case| {
        let named = args.only.iter().any(|part| case.id.contains(part));
        (args.only.is_empty() || named) && (case.short || !args.short || named)
    });
    ensure!(
        !cases.is_empty(),
        "no hot path has a name with {:?}",
        args.only
    );
    Ok(cases)
}

fn measure_all(cases: &[Case], effort: Effort) -> Result<Vec<Measured>> {
    cases
        .iter()
        .map(|case| measure::measure(case, effort))
        .collect()
}

fn bless(
    args: &Args,
    cases: &[Case],
    mut floors: Floors,
    processor: Processor,
) -> Result<ExitCode> {
    let names: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    let mut rounds = Vec::new();
    for round in 1..=args.processes {
        eprintln!(
            "process {round} of {}: {} hot paths",
            args.processes,
            names.len()
        );
        rounds.push(process::measure(&names, args.short)?);
    }
    let unguarded = floors.bless(processor, &rounds)?;
    floors.write(&args.floors)?;
    println!(
        "{} floors written to {}",
        names.len(),
        args.floors.display()
    );
    for (id, spread) in unguarded {
        println!(
            "{id}: {:.0} % apart between processes, so it may often be inconclusive",
            100.0 * spread
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn check(args: &Args, cases: &[Case], floors: &Floors, processor: &Processor) -> Result<ExitCode> {
    let began = std::time::Instant::now();
    let of_processor = floors.of(processor);
    let mut progress = Progress::of(cases.len());
    let mut trials = Vec::new();
    for case in cases {
        let floor = of_processor.and_then(|floors| floors.cases.get(&case.id));
        let effort = Effort::new(args.short);
        trials.push(judge::Trial::begin(floor, || {
            measure::measure(case, effort)
        })?);
        progress.passed();
    }
    for _ in 0..judge::CONFIRMATIONS {
        let open = cases
            .iter()
            .zip(&trials)
            .filter(|(_, trial)| trial.is_open());
        let names: Vec<&str> = open.map(|(case, _)| case.id.as_str()).collect();
        if names.is_empty() {
            break;
        }
        eprintln!(
            "{} hot paths below their floors, or unclear: measured again",
            names.len()
        );
        let again = process::measure(&names, args.short)?;
        let open = trials.iter_mut().filter(|trial| trial.is_open());
        open.zip(again).for_each(|(trial, again)| trial.hear(again));
    }
    let outcomes: Vec<Outcome> = cases
        .iter()
        .zip(trials)
        .map(|(case, trial)| trial.outcome(case))
        .collect();
    for outcome in &outcomes {
        if let Some(words) = outcome.words() {
            eprintln!("{}: {words}", outcome.id);
        }
    }
    let run = history::Run::now(processor, args.short, began.elapsed(), outcomes);
    let written = history::write(&args.out, &run)?;
    print!("{}", show::terminal(&run));
    let summary = args
        .summary
        .clone()
        .or_else(|| std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from));
    if let Some(path) = summary {
        history::append(&path, &show::markdown(&run))?;
    }
    println!("written to {}", written.display());
    Ok(exit_code(&run, of_processor.is_some(), args))
}

fn exit_code(run: &history::Run, known: bool, args: &Args) -> ExitCode {
    if !known {
        println!(
            "no floors for this kind of processor ({}) in {}: bless first, with --bless on code that is known to be fast",
            run.processor,
            args.floors.display()
        );
        return ExitCode::from(NO_FLOORS);
    }
    let new = run.cases.iter().filter(|case| case.floor.is_none()).count();
    if new > 0 {
        println!("{new} hot paths have no floor yet: set them with --bless");
    }
    match run.verdict() {
        Verdict::Slower => ExitCode::FAILURE,
        Verdict::Inconclusive => ExitCode::from(INCONCLUSIVE),
        Verdict::Held | Verdict::NoFloor => ExitCode::SUCCESS,
    }
}

/// A count on a terminal while it measures.
struct Progress {
    cases: usize,
    passed: usize,
    terminal: bool,
}

impl Progress {
    fn of(cases: usize) -> Self {
        Self {
            cases,
            passed: 0,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn passed(&mut self) {
        self.passed += 1;
        if self.terminal {
            let end = if self.passed == self.cases { "\n" } else { "" };
            eprint!("\r{} of {} hot paths{end}", self.passed, self.cases);
        }
    }
}

impl Outcome {
    /// What must be said of it, in a line.
    fn words(&self) -> Option<String> {
        let percent = 100.0 * self.slower()?;
        match self.verdict {
            Verdict::Slower => Some(format!("{percent:.0} % slower than blessed")),
            Verdict::Inconclusive => Some(format!(
                "{percent:+.0} % of time against blessed, inconclusive: {}",
                self.reason.unwrap_or("the machine is restless")
            )),
            Verdict::Held | Verdict::NoFloor => None,
        }
    }
}
