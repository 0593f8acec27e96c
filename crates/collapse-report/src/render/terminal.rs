//! Tables for a terminal, or as plain text for a pipe.

use collapse_results::{Align, Table};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{CellAlignment, ContentArrangement};

use super::cell::{main_text, range_text, shows_range};

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Columns of the screen; `None` = as wide as needed.
    pub width: Option<u16>,
    /// Whether to draw with ASCII alone.
    pub plain: bool,
}

impl TerminalStyle {
    /// The style for standard output: framed on a terminal, plain in a pipe.
    pub fn detect() -> Self {
        use std::io::IsTerminal;
        let terminal = std::io::stdout().is_terminal();
        let width = terminal
            .then(|| comfy_table::Table::new().width())
            .flatten();
        Self {
            width,
            plain: !terminal,
        }
    }
}

/// The table with its title above and its caption below.
pub fn terminal(table: &Table, style: TerminalStyle) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn.load_style(if style.plain {
        ASCII_MARKDOWN
    } else {
        UTF8_FULL_CONDENSED
    });
    if let Some(width) = style.width {
        drawn.set_content_arrangement(ContentArrangement::Dynamic);
        drawn.set_width(width);
    }
    drawn.set_header(table.columns.iter().map(|column| column.heading.as_str()));
    let range = shows_range(table);
    for row in &table.rows {
        drawn.add_row(row.iter().map(|cell| {
            let mut text = main_text(cell);
            if range && let Some(extremes) = range_text(cell) {
                text.push_str(if style.plain { "; " } else { "\n" });
                text.push_str(&extremes);
            }
            text
        }));
    }
    for (index, column) in table.columns.iter().enumerate() {
        if column.align == Align::Right
            && let Some(drawn) = drawn.column_mut(index)
        {
            drawn.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{}\n{drawn}\n{}\n", table.title, table.caption)
}
