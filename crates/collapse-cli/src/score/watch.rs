//! A word about work that takes longer than one likes to wait in silence.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::note;

/// Silence before the first word.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between words where no terminal shows a clock.
const SILENCE: Duration = Duration::from_secs(30);

/// Does the work; standard error says what it is while it takes longer than two seconds.
pub fn watch<T>(doing: &str, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, wait) = channel::<()>();
        scope.spawn(move || {
            let began = Instant::now();
            if wait.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            if std::io::stderr().is_terminal() {
                let clock = clock(doing);
                let _ = wait.recv();
                clock.finish_and_clear();
                return;
            }
            note!("{doing} …");
            while wait.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
                note!("{doing}, {} s so far", began.elapsed().as_secs());
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

fn clock(doing: &str) -> ProgressBar {
    let clock = ProgressBar::new_spinner().with_message(doing.to_owned());
    let clock = clock.with_elapsed(PATIENCE);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        clock.set_style(style);
    }
    clock.enable_steady_tick(Duration::from_millis(200));
    clock
}
