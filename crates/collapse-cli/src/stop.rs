//! SIGINT (Ctrl-C) and SIGTERM: work stops within two seconds, where nothing is lost; a second one ends it at once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use collapse_experiment::Stop;

use crate::output::note;

/// Work that has not stopped by itself after this long is ended.
const GRACE: Duration = Duration::from_millis(1700);
/// A training step under way is worth a longer wait: the checkpoint after it keeps up to ten minutes of work.
const STEP_GRACE: Duration = Duration::from_secs(60);

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

static STOP: LazyLock<Stop> = LazyLock::new(Stop::default);
/// Whether something looks at [`STOP`]; until then, ending the process is the way to stop it.
static LISTENED: AtomicBool = AtomicBool::new(false);
/// The signal that has come; 0 = none.
static SIGNAL: AtomicU8 = AtomicU8::new(0);

/// The request that long work watches from now on.
pub fn requested() -> &'static Stop {
    LISTENED.store(true, Ordering::SeqCst);
    &STOP
}

/// The exit code of a process that was asked to stop: 130 after SIGINT, 143 after SIGTERM.
pub fn exit_code() -> Option<u8> {
    match SIGNAL.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(128 + signal),
    }
}

/// Handles the signals of this process from now on.
pub fn install() {
    if let Err(error) = handle() {
        note!("warning: Ctrl-C cannot be handled ({error}); checkpoints are kept anyway");
    }
}

#[cfg(unix)]
fn handle() -> std::io::Result<()> {
    use signal_hook::iterator::Signals;
    let mut signals = Signals::new([i32::from(SIGINT), i32::from(SIGTERM)])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                raise(if signal == i32::from(SIGTERM) {
                    SIGTERM
                } else {
                    SIGINT
                });
            }
        })?;
    Ok(())
}

#[cfg(not(unix))]
fn handle() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| raise(SIGINT))
}

fn raise(signal: u8) {
    let first = SIGNAL.swap(signal, Ordering::SeqCst) == 0;
    if !first || !LISTENED.load(Ordering::SeqCst) {
        end(signal);
    }
    STOP.raise();
    note!("stopping: finished steps are kept (press again to end at once)");
    std::thread::spawn(move || {
        let began = Instant::now();
        let worth_waiting = || STOP.training() > 0 && began.elapsed() < STEP_GRACE;
        while began.elapsed() < GRACE || worth_waiting() {
            std::thread::sleep(Duration::from_millis(20));
        }
        note!("{}", collapse_experiment::Error::Interrupted);
        end(signal);
    });
}

fn end(signal: u8) -> ! {
    std::process::exit(128 + i32::from(signal))
}
