//! Extents of an activation map.

/// Channels are stored in multiples of this many.
pub(crate) const LANES: usize = 16;

/// Height, width, images, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// Rows of the map.
    pub h: usize,
    /// Columns of the map.
    pub w: usize,
    /// Images in the batch.
    pub n: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// Elements, without the private padding.
    pub fn len(&self) -> usize {
        self.h * self.w * self.n * self.c
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same map and batch with `c` channels.
    pub fn with_channels(self, c: usize) -> Self {
        Self { c, ..self }
    }

    pub(crate) fn pixels(&self) -> usize {
        self.h * self.w
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}×{}×{}", self.h, self.w, self.n, self.c)
    }
}
