//! Tables as HTML fragments; the report brings the style sheet.

use collapse_results::{Align, Cell, Table};

use super::cell::{main_text, range_text, shows_range};

/// A `<table>` in a scrolling box, with the caption below.
pub fn html(table: &Table) -> String {
    let class = |align: Align| {
        if align == Align::Right {
            " class=\"n\""
        } else {
            ""
        }
    };
    let mut text = String::from("<div class=\"scroll\"><table><thead><tr>");
    for column in &table.columns {
        text.push_str(&format!(
            "<th{} scope=\"col\">{}</th>",
            class(column.align),
            escape(&column.heading)
        ));
    }
    text.push_str("</tr></thead><tbody>");
    let range = shows_range(table);
    for row in &table.rows {
        text.push_str("<tr>");
        for (cell, column) in row.iter().zip(&table.columns) {
            let mut title = String::new();
            match cell {
                Cell::Missing { reason } => {
                    title = format!(" title=\"{}\"", escape(reason));
                }
                Cell::Spread { mean, n, .. } => {
                    let extremes = range_text(cell).map_or_else(String::new, |r| format!("{r}, "));
                    title = format!(" data-v=\"{mean}\" title=\"{extremes}n = {n}\"");
                }
                Cell::Number { value, .. } => title = format!(" data-v=\"{value}\""),
                Cell::Text { .. } => {}
            }
            text.push_str(&format!(
                "<td{}{title}>{}",
                class(column.align),
                escape(&main_text(cell))
            ));
            if range && let Some(extremes) = range_text(cell) {
                text.push_str(&format!("<small>{extremes}</small>"));
            }
            text.push_str("</td>");
        }
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table></div><p class=\"caption\">");
    text.push_str(&escape(&table.caption));
    text.push_str("</p>");
    text
}

/// Escapes text for HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
