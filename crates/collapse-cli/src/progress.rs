//! Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use collapse_experiment::{EpochProgress, Observer, RunId};
use collapse_results::Run;
use indicatif::{ProgressBar, ProgressStyle};

/// Plain lines of a kind come at most this often, except at the end of a run.
const QUIET: Duration = Duration::from_secs(10);
/// And one of progress when none of any kind has come for so long.
const SILENCE: Duration = Duration::from_secs(60);

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
    last_lines: Mutex<[Option<Instant>; 3]>,
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
        let style = ProgressStyle::with_template(
            "{wide_bar:.cyan/dim} {percent:>3} %  {per_sec} images, {eta} left  {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self {
            bar,
            terminal,
            last_lines: Mutex::new([None, None, Some(Instant::now())]),
        }
    }

    /// A line above the bar, or on standard error.
    pub fn say(&self, line: &str) {
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Whether the last plain line of this kind is so long ago; a yes counts as a line.
    fn due(&self, line: Line, after: Duration) -> bool {
        let Ok(mut last) = self.last_lines.lock() else {
            return false;
        };
        let due = last[line as usize].is_none_or(|at| at.elapsed() >= after);
        if due {
            let now = Some(Instant::now());
            last[line as usize] = now;
            last[Line::Progress as usize] = now;
        }
        due
    }

    fn eta(&self) -> String {
        let left = self
            .bar
            .length()
            .unwrap_or(0)
            .saturating_sub(self.bar.position());
        let rate = self.bar.position() as f64 / self.bar.elapsed().as_secs_f64().max(1e-3);
        if rate <= 0.0 {
            return String::new();
        }
        format!(
            "{rate:.0} images/s, about {:.0} s of training left",
            left as f64 / rate
        )
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Board {
    fn planned(&self, runs: usize, kept: usize, images: u64) {
        self.bar.set_length(images);
        self.bar.reset();
        if self.terminal {
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        let already = if kept > 0 {
            format!(", {kept} finished before are kept")
        } else {
            String::new()
        };
        self.say(&format!(
            "{runs} runs to make{already}; {images} training images in all"
        ));
    }

    fn started(&self, run: &RunId, resumed_images: u64) {
        if resumed_images > 0 {
            self.bar.set_length(
                self.bar
                    .length()
                    .unwrap_or(0)
                    .saturating_sub(resumed_images),
            );
            self.say(&format!("{run}: goes on after {resumed_images} images"));
        }
    }

    fn trained(&self, images: u64) {
        self.bar.inc(images);
        if !self.terminal && self.due(Line::Progress, SILENCE) {
            let of = self.bar.length().unwrap_or(0);
            eprintln!("{} of {of} images ({})", self.bar.position(), self.eta());
        }
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
            eprintln!("{line} ({})", self.eta());
        }
    }

    fn measuring(&self, run: &RunId, epoch: usize) {
        let line = format!("{run}: measuring after epoch {epoch}");
        if self.terminal {
            self.bar.set_message(line);
        } else if self.due(Line::Measuring, QUIET) {
            eprintln!("{line}");
        }
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
}
