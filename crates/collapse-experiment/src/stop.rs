//! A request to stop, and whether it is worth waiting for what is under way.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A request to stop, shared between whoever raises it and all who work.
///
/// Work looks at it between steps and batches. Training ends with a checkpoint, so whoever asked should let it finish
/// its step ([`Stop::training`]); everything else loses nothing but what it was computing.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    raised: Arc<AtomicBool>,
    training: Arc<AtomicUsize>,
}

impl Stop {
    /// Asks everyone to stop.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Whether to go on, for work that asks between its parts.
    pub fn go_on(&self) -> ControlFlow<()> {
        match self.is_raised() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// How many runs are in a training step, or writing the checkpoint that ends it.
    #[must_use]
    pub fn training(&self) -> usize {
        self.training.load(Ordering::SeqCst)
    }

    /// The flag itself.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.raised)
    }

    /// Counts as training until the guard is dropped.
    pub(crate) fn train(&self) -> Training<'_> {
        self.training.fetch_add(1, Ordering::SeqCst);
        Training(self)
    }
}

pub(crate) struct Training<'a>(&'a Stop);

impl Drop for Training<'_> {
    fn drop(&mut self) {
        self.0.training.fetch_sub(1, Ordering::SeqCst);
    }
}
