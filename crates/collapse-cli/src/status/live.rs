//! The runs of a scale on a terminal, drawn anew every two seconds, as many as fit.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use collapse_experiment::{RunState, RunStatus};
use console::{Term, truncate_str};

use super::watched::{Watched, count};
use crate::progress::duration;

/// Between two looks at the store.
const PAUSE: Duration = Duration::from_secs(2);

/// Draws the runs until all are done; Ctrl-C ends the process.
pub(super) fn watch(watched: &mut Watched, terminal: &Term) -> Result<()> {
    let mut drawn = Drawn::default();
    loop {
        watched.look()?;
        let size = terminal.size();
        let text = screen(watched.scale(), &watched.runs, size);
        drawn
            .replace(&text, size, terminal)
            .context("cannot write to the terminal")?;
        if count(&watched.runs, RunState::Done) == watched.runs.len() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// What stands on the terminal.
#[derive(Default)]
struct Drawn {
    lines: usize,
    /// Rows and columns.
    size: (u16, u16),
}

impl Drawn {
    fn replace(&mut self, text: &str, size: (u16, u16), terminal: &Term) -> io::Result<()> {
        if self.lines > 0 && self.size != size {
            // The terminal has broken the lines anew: where they stand is not known.
            terminal.clear_screen()?;
        } else if self.lines > 0 {
            terminal.move_cursor_up(self.lines)?;
            terminal.clear_to_end_of_screen()?;
        }
        terminal.write_str(text)?;
        terminal.flush()?;
        (self.lines, self.size) = (text.lines().count(), size);
        Ok(())
    }
}

/// What comes first where there is no room for all.
fn rank(state: RunState) -> usize {
    match state {
        RunState::Running => 0,
        RunState::Stale | RunState::Failed | RunState::Damaged | RunState::Other => 1,
        RunState::Stopped => 2,
        RunState::Pending => 3,
        RunState::Done => 4,
    }
}

/// The runs on a terminal of so many rows and columns, the last row left to the cursor.
fn screen(scale: &str, runs: &[RunStatus], (rows, columns): (u16, u16)) -> String {
    let done = count(runs, RunState::Done);
    let rest = runs.iter().filter(|run| run.state != RunState::Done);
    let states = [format!("{done} of {} done", runs.len())];
    let states = states.into_iter().chain(counted(rest)).collect::<Vec<_>>();
    let mut lines = vec![format!("Scale {scale}: {}", states.join(", "))];
    // Besides runs: the counts, the heading and the cursor's row.
    let room = usize::from(rows).saturating_sub(3);
    if room > 0 {
        let (shown, left_out) = fitting(runs, room);
        let width = shown.iter().map(|run| run.group.len()).max().unwrap_or(0);
        let width = width.max("group".len());
        lines.push(format!(
            "{:<width$}  seed  state      epoch      loss  time left",
            "group"
        ));
        lines.extend(shown.into_iter().map(|run| row(run, width)));
        if !left_out.is_empty() {
            let states = counted(left_out.iter().copied()).join(", ");
            lines.push(format!("… and {} more: {states}", left_out.len()));
        }
    }
    let mut text = String::new();
    for line in lines {
        let line = truncate_str(line.trim_end(), usize::from(columns), "…");
        let _ = writeln!(text, "{line}");
    }
    text
}

/// As many runs as there is room for, in their order, and the others; a row is kept for what is said of these.
fn fitting(runs: &[RunStatus], room: usize) -> (Vec<&RunStatus>, Vec<&RunStatus>) {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    if runs.len() > room {
        order.sort_by_key(|&index| rank(runs[index].state));
        order.truncate(room - 1);
    }
    let is_shown = |index: &usize| order.contains(index);
    let (shown, left_out): (Vec<usize>, Vec<usize>) = (0..runs.len()).partition(is_shown);
    let of = |indices: Vec<usize>| indices.into_iter().map(|index| &runs[index]).collect();
    (of(shown), of(left_out))
}

/// How many there are of each state that occurs, what needs attention first.
fn counted<'a>(runs: impl Iterator<Item = &'a RunStatus>) -> Vec<String> {
    let mut states: Vec<(RunState, usize)> = Vec::new();
    for run in runs {
        match states.iter_mut().find(|(state, _)| *state == run.state) {
            Some((_, n)) => *n += 1,
            None => states.push((run.state, 1)),
        }
    }
    states.sort_by_key(|(state, _)| (rank(*state), state.name()));
    let words = states
        .iter()
        .map(|(state, n)| format!("{n} {}", state.name()));
    words.collect()
}

fn row(run: &RunStatus, width: usize) -> String {
    let begun = run.epoch > 0 || run.state == RunState::Running;
    let epoch = match begun {
        true => format!("{}/{}", run.epoch, run.epochs),
        false => String::new(),
    };
    let loss = run.loss.map_or(String::new(), |loss| format!("{loss:.4}"));
    let left = run.seconds_left.map_or(String::new(), duration);
    let state = match run.measuring {
        true => "measuring",
        false => run.state.name(),
    };
    // The reason is what one needs to know, where there is one, and it is long; else who is at it.
    let holder = run
        .holder
        .as_ref()
        .map(|holder| format!("{}, process {}", holder.host, holder.process));
    let job = run.job.as_ref().map(|job| format!("job {job}"));
    let remark = run.remark.as_ref().map(|remark| remark.replace('\n', " "));
    let words = [remark, job, holder].into_iter().flatten();
    let words = words.collect::<Vec<_>>().join(", ");
    let last = match left.is_empty() {
        true => words,
        false => format!("{left:<9}  {words}"),
    };
    format!(
        "{:<width$}  {:>4}  {state:<9}  {epoch:>7}  {loss:>7}  {last}",
        run.group, run.seed
    )
}

#[cfg(test)]
mod tests {
    use collapse_experiment::Holder;
    use expect_test::{Expect, expect};

    use super::*;

    fn run(group: &str, seed: u64, state: RunState) -> RunStatus {
        RunStatus {
            group: group.to_owned(),
            seed,
            state,
            epoch: 0,
            epochs: 350,
            loss: None,
            measuring: false,
            seconds_left: None,
            holder: None,
            job: None,
            remark: None,
        }
    }

    /// Runs of every state, among many that are pending and done.
    fn runs() -> Vec<RunStatus> {
        let holder = Some(Holder {
            host: "node7".to_owned(),
            process: 4711,
            job: None,
        });
        let mut runs: Vec<RunStatus> = (1..=15)
            .map(|seed| RunStatus {
                epoch: 350,
                loss: Some(0.0011),
                ..run("r18-l2", seed, RunState::Done)
            })
            .chain((1..=15).map(|seed| run("r18-base-nosn", seed, RunState::Pending)))
            .collect();
        runs[3] = RunStatus {
            epoch: 349,
            loss: Some(0.00123),
            seconds_left: Some(4000.0),
            holder: holder.clone(),
            job: Some("12_3".to_owned()),
            ..run("r18-l2", 4, RunState::Running)
        };
        runs[4] = RunStatus {
            epoch: 17,
            loss: Some(1.25),
            measuring: true,
            seconds_left: Some(400_000.0),
            holder: holder.clone(),
            ..run("r18-l2", 5, RunState::Running)
        };
        runs[6] = RunStatus {
            epoch: 3,
            loss: Some(2.1),
            holder,
            remark: Some("no sign of life of its process for 3 min".to_owned()),
            ..run("r18-l2", 7, RunState::Stale)
        };
        runs[8] = RunStatus {
            remark: Some("cannot write the checkpoint of the run\nto /store/paper/runs/paper/r18-l2/seed-09: no space left on device".to_owned()),
            ..run("r18-l2", 9, RunState::Failed)
        };
        runs[20] = RunStatus {
            epoch: 2,
            loss: Some(1.9),
            ..run("r18-base-nosn", 6, RunState::Stopped)
        };
        runs[29].job = Some("12_29".to_owned());
        runs
    }

    fn check(size: (u16, u16), runs: &[RunStatus], expected: &Expect) {
        let text = screen("paper", runs, size);
        let (rows, columns) = (usize::from(size.0), usize::from(size.1));
        assert!(text.lines().count() < rows.max(2), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= columns),
            "{text}"
        );
        expected.assert_eq(&text);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        check(
            (24, 80),
            &runs(),
            &expect![[r#"
                Scale paper: 11 of 30 done, 2 running, 1 failed, 1 stale, 1 stopped, 14 pending
                group          seed  state      epoch      loss  time left
                r18-l2            1  done       350/350   0.0011
                r18-l2            4  running    349/350   0.0012  67 min     job 12_3, node7, p…
                r18-l2            5  measuring   17/350   1.2500  5 days     node7, process 4711
                r18-l2            7  stale        3/350   2.1000  no sign of life of its proces…
                r18-l2            9  failed                       cannot write the checkpoint o…
                r18-base-nosn     1  pending
                r18-base-nosn     2  pending
                r18-base-nosn     3  pending
                r18-base-nosn     4  pending
                r18-base-nosn     5  pending
                r18-base-nosn     6  stopped      2/350   1.9000
                r18-base-nosn     7  pending
                r18-base-nosn     8  pending
                r18-base-nosn     9  pending
                r18-base-nosn    10  pending
                r18-base-nosn    11  pending
                r18-base-nosn    12  pending
                r18-base-nosn    13  pending
                r18-base-nosn    14  pending
                r18-base-nosn    15  pending                      job 12_29
                … and 10 more: 10 done
            "#]],
        );
        check(
            (12, 60),
            &runs(),
            &expect![[r#"
                Scale paper: 11 of 30 done, 2 running, 1 failed, 1 stale, 1…
                group          seed  state      epoch      loss  time left
                r18-l2            4  running    349/350   0.0012  67 min   …
                r18-l2            5  measuring   17/350   1.2500  5 days   …
                r18-l2            7  stale        3/350   2.1000  no sign o…
                r18-l2            9  failed                       cannot wr…
                r18-base-nosn     1  pending
                r18-base-nosn     2  pending
                r18-base-nosn     3  pending
                r18-base-nosn     6  stopped      2/350   1.9000
                … and 22 more: 11 pending, 11 done
            "#]],
        );
        check(
            (6, 120),
            &runs(),
            &expect![[r#"
                Scale paper: 11 of 30 done, 2 running, 1 failed, 1 stale, 1 stopped, 14 pending
                group   seed  state      epoch      loss  time left
                r18-l2     4  running    349/350   0.0012  67 min     job 12_3, node7, process 4711
                r18-l2     5  measuring   17/350   1.2500  5 days     node7, process 4711
                … and 28 more: 1 failed, 1 stale, 1 stopped, 14 pending, 11 done
            "#]],
        );
        check(
            (3, 40),
            &runs(),
            &expect![[r#"
            Scale paper: 11 of 30 done, 2 running, …
        "#]],
        );
        check(
            (1, 20),
            &runs(),
            &expect![[r#"
            Scale paper: 11 of …
        "#]],
        );
    }

    #[test]
    fn a_few_runs_have_a_row_each() {
        check(
            (24, 100),
            &runs()[3..9],
            &expect![[r#"
                Scale paper: 2 of 6 done, 2 running, 1 failed, 1 stale
                group   seed  state      epoch      loss  time left
                r18-l2     4  running    349/350   0.0012  67 min     job 12_3, node7, process 4711
                r18-l2     5  measuring   17/350   1.2500  5 days     node7, process 4711
                r18-l2     6  done       350/350   0.0011
                r18-l2     7  stale        3/350   2.1000  no sign of life of its process for 3 min, node7, process…
                r18-l2     8  done       350/350   0.0011
                r18-l2     9  failed                       cannot write the checkpoint of the run to /store/paper/r…
            "#]],
        );
        check(
            (24, 80),
            &[],
            &expect![[r#"
            Scale paper: 0 of 0 done
            group  seed  state      epoch      loss  time left
        "#]],
        );
    }
}
