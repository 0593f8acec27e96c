//! One hot path.

use anyhow::Result;

use crate::yardstick::Yardstick;

/// Something that is timed: each call does the same work.
pub type Work = Box<dyn FnMut() -> Result<()>>;

pub(crate) type Prepare = Box<dyn Fn() -> Result<Work>>;

/// A hot path and what it is measured against.
pub struct Case {
    /// Name with sizes and seed, e.g. `auroc/100000-scores/seed1`; its first part is the kind of work. No name contains another.
    pub id: String,
    /// Whether the short form of the guard measures it.
    pub short: bool,
    /// Elements of one call (images, rows, floating-point operations), for a throughput.
    pub elements: u64,
    /// The fixed work it is measured against.
    pub yardstick: Yardstick,
    prepare: Prepare,
}

impl Case {
    pub(crate) fn new(
        id: impl Into<String>,
        elements: usize,
        yardstick: Yardstick,
        prepare: impl Fn() -> Result<Work> + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            short: false,
            elements: elements as u64,
            yardstick,
            prepare: Box::new(prepare),
        }
    }

    /// The case as one of the short form, where `short` holds.
    pub(crate) fn in_short_form(mut self, short: bool) -> Self {
        self.short = short;
        self
    }

    /// Makes the inputs and runs the work once, so that an error ends it here and is never timed.
    ///
    /// # Errors
    /// Those of the work.
    pub fn prepare(&self) -> Result<Work> {
        let mut work = (self.prepare)()?;
        work()?;
        Ok(work)
    }

    /// The kind of work: the first part of the name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.id.split('/').next().unwrap_or(&self.id)
    }
}
