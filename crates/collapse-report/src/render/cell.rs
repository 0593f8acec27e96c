//! A cell in words, the same in every form of a table.

use collapse_results::{Cell, Table};

use crate::numbers::fixed;

/// The first line of a cell.
pub(crate) fn main_text(cell: &Cell) -> String {
    match cell {
        Cell::Text { text } => text.clone(),
        Cell::Number { value, decimals } => fixed(*value, *decimals),
        Cell::Spread {
            mean,
            std: Some(std),
            decimals,
            ..
        } => {
            format!("{} ± {}", fixed(*mean, *decimals), fixed(*std, *decimals))
        }
        Cell::Spread { mean, decimals, .. } => fixed(*mean, *decimals),
        Cell::Missing { .. } => "–".to_owned(),
    }
}

/// Smallest to largest over seeds, where there are several.
pub(crate) fn range_text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Spread {
            min,
            max,
            n,
            decimals,
            ..
        } if *n > 1 => Some(format!(
            "{} to {}",
            fixed(*min, *decimals),
            fixed(*max, *decimals)
        )),
        _ => None,
    }
}

/// Means in a row: accuracy and collapse beside as many sets as an experiment here has.
const WITH_RANGE: usize = 8;

/// Whether the table is narrow enough to show extremes under each mean.
pub(crate) fn shows_range(table: &Table) -> bool {
    let spreads = |row: &Vec<Cell>| {
        row.iter()
            .filter(|cell| matches!(cell, Cell::Spread { .. }))
            .count()
    };
    table.rows.iter().map(spreads).max().unwrap_or(0) <= WITH_RANGE
}
