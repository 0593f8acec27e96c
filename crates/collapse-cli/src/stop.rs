//! Ctrl-C: the first asks the work to stop where nothing is lost, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let handler = move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("stopping: finished steps are kept (press again to end at once)");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C cannot be handled ({error}); checkpoints are kept anyway");
    }
    flag
});

/// The flag that long work watches; installs the handler at the first call.
pub fn flag() -> Arc<AtomicBool> {
    Arc::clone(&STOP)
}
