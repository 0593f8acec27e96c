//! Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use collapse_experiment::{EpochProgress, Observer, RunId};
use collapse_results::Run;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::note;

/// Plain lines of a kind come at most this often, except at the end of a run.
const QUIET: Duration = Duration::from_secs(10);
/// And one of progress when none of any kind has come for so long.
const SILENCE: Duration = Duration::from_secs(60);
/// The rate is that of the last minutes: a machine's load changes, and so does the kind of work.
const WINDOW: Duration = Duration::from_secs(180);
/// Before this much was watched, nothing is said about the time left.
const LEAST: Duration = Duration::from_secs(5);
/// A trained image goes forward once and backward at twice the cost, a measured one forward only.
const TRAINED: u64 = 3;

/// Kinds of plain lines.
#[derive(Clone, Copy)]
enum Line {
    Epoch,
    Measuring,
    Progress,
}

/// Draws the progress of a set of runs.
pub struct Board {
    bar: ProgressBar,
    terminal: bool,
    state: Mutex<State>,
}

/// Work is counted in forward passes of one image.
#[derive(Default)]
struct State {
    last_lines: [Option<Instant>; 3],
    /// Of this process, not what a resumed run brought along.
    done: u64,
    /// `done` at moments of the last minutes, oldest first.
    seen: VecDeque<(Instant, u64)>,
}

impl State {
    fn add(&mut self, passes: u64) {
        let now = Instant::now();
        self.done += passes;
        // A process that was stopped, a machine that slept, long statistics between two networks: no rate of work.
        if self.seen.back().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.seen.clear();
        }
        if self
            .seen
            .back()
            .is_none_or(|(at, _)| now - *at >= Duration::from_secs(1))
        {
            self.seen.push_back((now, self.done));
        }
        while self.seen.len() > 2 && now - self.seen[0].0 > WINDOW {
            self.seen.pop_front();
        }
    }

    /// Passes a second over the last minutes; `None` before there is enough to tell.
    fn rate(&self) -> Option<f64> {
        let (at, done) = self.seen.front()?;
        let elapsed = at.elapsed();
        (elapsed >= LEAST && self.done > *done)
            .then(|| (self.done - done) as f64 / elapsed.as_secs_f64())
    }
}

impl Board {
    /// A board on standard error.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let style =
            ProgressStyle::with_template("{bar:10.cyan/dim} {percent:>3} %, {prefix}  {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self {
            bar,
            terminal,
            state: Mutex::default(),
        }
    }

    /// A line above the bar, or on standard error.
    pub fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            note!("{line}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether the last plain line of this kind is so long ago; a yes counts as a line.
    fn due(&self, line: Line, after: Duration) -> bool {
        let last = &mut self.state().last_lines;
        let due = last[line as usize].is_none_or(|at| at.elapsed() >= after);
        if due {
            let now = Some(Instant::now());
            last[line as usize] = now;
            last[Line::Progress as usize] = now;
        }
        due
    }

    fn advance(&self, passes: u64) {
        self.state().add(passes);
        self.bar.inc(passes);
        if self.terminal {
            self.bar.set_prefix(self.left());
        } else if self.due(Line::Progress, SILENCE) {
            note!("{}", self.standing());
        }
    }

    /// How much is done and how long the rest takes.
    fn standing(&self) -> String {
        let of = self.bar.length().unwrap_or(0).max(1);
        let percent = 100.0 * self.bar.position() as f64 / of as f64;
        format!("{percent:.0} % of all, {}", self.left())
    }

    fn left(&self) -> String {
        let of = self.bar.length().unwrap_or(0);
        let left = of.saturating_sub(self.bar.position());
        match self.state().rate() {
            Some(rate) => format!("about {} left", duration(left as f64 / rate)),
            None => "time left not known yet".to_owned(),
        }
    }
}

/// Seconds as one would say them.
pub fn duration(seconds: f64) -> String {
    let (minutes, hours) = (seconds / 60.0, seconds / 3600.0);
    if seconds < 100.0 {
        format!("{seconds:.0} s")
    } else if minutes < 100.0 {
        format!("{minutes:.0} min")
    } else if hours < 100.0 {
        format!("{hours:.0} h")
    } else {
        format!("{:.0} days", hours / 24.0)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Board {
    fn planned(&self, runs: usize, kept: usize, trained: u64, measured: u64) {
        self.bar.set_length(TRAINED * trained + measured);
        self.bar.reset();
        *self.state() = State {
            last_lines: [None, None, Some(Instant::now())],
            seen: VecDeque::from([(Instant::now(), 0)]),
            ..State::default()
        };
        if self.terminal {
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        let already = if kept > 0 {
            format!(", {kept} finished before are kept")
        } else {
            String::new()
        };
        let runs = match runs {
            1 => "1 run".to_owned(),
            n => format!("{n} runs"),
        };
        self.say(&format!(
            "{runs} to make{already}; {trained} training images in all, {measured} to be measured"
        ));
    }

    fn started(&self, run: &RunId, trained: u64, measured: u64) {
        if trained > 0 {
            self.bar.inc(TRAINED * trained + measured);
            self.say(&format!("{run}: goes on after {trained} images"));
        }
    }

    fn trained(&self, images: u64) {
        self.advance(TRAINED * images);
    }

    fn measured(&self, images: u64) {
        self.advance(images);
    }

    fn epoch(&self, run: &RunId, progress: EpochProgress) {
        let EpochProgress {
            epoch,
            epochs,
            loss,
            accuracy,
        } = progress;
        let line = format!(
            "{run}: epoch {epoch}/{epochs}, loss {loss:.4}, training accuracy {:.1} %",
            100.0 * accuracy
        );
        if self.terminal {
            self.bar.set_message(line);
        } else if self.due(Line::Epoch, QUIET) {
            note!("{line} ({})", self.standing());
        }
    }

    fn measuring(&self, run: &RunId, epoch: usize) {
        let line = format!("{run}: measuring after epoch {epoch}");
        if self.terminal {
            self.bar.set_message(line);
        } else if self.due(Line::Measuring, QUIET) {
            note!("{line}");
        }
    }

    fn note(&self, message: &str) {
        self.say(&format!("note: {message}"));
    }

    fn finished(&self, run: &RunId, result: &Run) {
        let accuracy = result
            .last_evaluation()
            .map_or(f64::NAN, |evaluation| evaluation.accuracy);
        self.say(&format!(
            "{run}: done, test accuracy {:.2} %, {:.1} s",
            100.0 * accuracy,
            result.times.train_seconds + result.times.evaluate_seconds
        ));
    }

    fn finished_elsewhere(&self, run: &RunId, trained: u64, measured: u64) {
        self.bar.inc(TRAINED * trained + measured);
        self.say(&format!("{run}: finished by another process"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minutes_and_of_this_process() {
        let now = Instant::now();
        let Some(start) = now.checked_sub(Duration::from_secs(100)) else {
            return; // the machine has been up for less
        };
        let mut state = State {
            seen: VecDeque::from([(start, 0)]),
            ..State::default()
        };
        assert_eq!(state.rate(), None, "nothing done yet");
        state.add(1000);
        let rate = state.rate().unwrap();
        assert!((rate - 10.0).abs() < 0.1, "{rate}");
        state.seen[0].0 = Instant::now();
        assert_eq!(state.rate(), None, "too little time watched");
    }

    #[test]
    fn a_pause_is_no_part_of_the_rate() {
        let before = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let (Some(start), Some(paused)) = (before(7300), before(7200)) else {
            return; // the machine has been up for less
        };
        let mut state = State {
            seen: VecDeque::from([(start, 0), (paused, 1000)]),
            done: 1000,
            ..State::default()
        };
        state.add(10);
        assert_eq!(state.rate(), None, "nothing watched since the pause");
        assert_eq!(state.done, 1010);
    }

    #[test]
    fn durations_are_said_as_one_would() {
        for (seconds, text) in [
            (7.4, "7 s"),
            (180.0, "3 min"),
            (7200.0, "2 h"),
            (1e6, "12 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
