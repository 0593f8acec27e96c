//! Tables as GitHub-flavoured Markdown.

use collapse_results::{Align, Table};

use super::cell::{main_text, range_text, shows_range};

/// The table under a heading of the third level, with its caption below.
pub fn markdown(table: &Table) -> String {
    format!("### {}\n\n{}", escape(&table.title), markdown_body(table))
}

/// The rows with the caption below, for a page that has a heading of its own.
pub(crate) fn markdown_body(table: &Table) -> String {
    format!("{}\n{}\n", markdown_rows(table), escape(&table.caption))
}

/// Only the rows, for embedding elsewhere.
pub(crate) fn markdown_rows(table: &Table) -> String {
    let mut text = String::from("|");
    for column in &table.columns {
        text.push_str(&format!(" {} |", escape(&column.heading)));
    }
    text.push_str("\n|");
    for column in &table.columns {
        text.push_str(match column.align {
            Align::Left => " :--- |",
            Align::Right => " ---: |",
        });
    }
    text.push('\n');
    let range = shows_range(table);
    for row in &table.rows {
        text.push('|');
        for cell in row {
            text.push_str(&format!(" {}", escape(&main_text(cell))));
            if range && let Some(extremes) = range_text(cell) {
                text.push_str(&format!("<br><sub>{extremes}</sub>"));
            }
            text.push_str(" |");
        }
        text.push('\n');
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('*', "\\*")
        .replace('_', "\\_")
        .replace('\n', " ")
}
