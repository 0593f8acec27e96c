//! What watches a run.

use collapse_models::Model;

use crate::events::EpochRecord;
use crate::{Error, Result};

/// What the evaluation hook may fail with.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// One finished step, for a progress display.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step within the epoch, from 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Images of the batch.
    pub images: usize,
    /// The batch's loss.
    pub loss: f64,
}

/// Watches a run; every method may be left out.
pub trait Observer {
    /// After every step.
    fn step(&mut self, _step: &Step) {}

    /// After every epoch.
    fn epoch(&mut self, _record: &EpochRecord) {}

    /// Before every write into the run's folder; an error stops the run with nothing written.
    ///
    /// # Errors
    /// Whatever forbids to write.
    fn before_write(&mut self) -> std::result::Result<(), HookError> {
        Ok(())
    }

    /// At the log-spaced epochs (0 = untrained): measure the network, e.g. through
    /// [`extract`](crate::extract). What is returned goes into the event log, so it must depend
    /// on the network and the data alone.
    ///
    /// # Errors
    /// Whatever keeps it from measuring; the run ends with it, or as interrupted where the stop flag is up.
    fn evaluate(
        &mut self,
        _epoch: usize,
        _model: &mut dyn Model,
    ) -> Result<Option<serde_json::Value>, HookError> {
        Ok(None)
    }
}

/// Watches nothing.
impl Observer for () {}

/// Fails when the observer forbids to write.
pub(crate) fn permitted(observer: &mut dyn Observer) -> Result<()> {
    observer.before_write().map_err(Error::Forbidden)
}
