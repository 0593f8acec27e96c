//! What to make of a set.

use crate::readers::Limits;
use crate::{Cache, Fit, ImageShape};

/// What to make of a set while loading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Shape to bring every image to; by default the set's own.
    pub shape: Option<ImageShape>,
    /// How images reach `shape`.
    pub fit: Fit,
    /// Where decoded sets are kept; `None` decodes anew.
    pub cache: Option<Cache>,
    /// What a file may ask for.
    pub limits: Limits,
}
