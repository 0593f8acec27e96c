//! Panels side by side.

use super::scale::Scale;
use super::svg::Panel;

/// A grid of panels of one size, filled row by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) columns: usize,
    /// Left edge and top edge of the first panel.
    pub(crate) origin: (f64, f64),
    /// Width and height of each panel.
    pub(crate) size: (f64, f64),
    /// Space between columns, and between rows.
    pub(crate) gap: (f64, f64),
}

impl Grid {
    /// The panel with this number, with its scales.
    pub(crate) fn panel(&self, index: usize, x: Scale, y: Scale) -> Panel {
        let (column, row) = (index % self.columns, index / self.columns);
        Panel {
            left: self.origin.0 + column as f64 * (self.size.0 + self.gap.0),
            top: self.origin.1 + row as f64 * (self.size.1 + self.gap.1),
            width: self.size.0,
            height: self.size.1,
            x,
            y,
        }
    }

    /// Whether the panel with this number stands at the left edge.
    pub(crate) fn is_first_column(&self, index: usize) -> bool {
        index.is_multiple_of(self.columns)
    }

    /// Where the row after so many panels would begin.
    pub(crate) fn end(&self, panels: usize) -> f64 {
        let rows = panels.div_ceil(self.columns) as f64;
        self.origin.1 + rows * (self.size.1 + self.gap.1)
    }
}
