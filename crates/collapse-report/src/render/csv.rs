//! Tables as comma-separated values: every number unrounded.

use collapse_results::{Cell, Table};

use crate::Error;

/// First line: column keys, with `.mean`, `.std`, `.min`, `.max` and `.n` for figures over seeds.
/// First column: the row's key. Missing values are empty.
///
/// # Errors
/// Only if the writer fails, which it does not on memory.
pub fn csv(table: &Table) -> Result<String, Error> {
    let over_seeds: Vec<bool> = (0..table.columns.len())
        .map(|i| {
            table
                .rows
                .iter()
                .any(|row| matches!(row.get(i), Some(Cell::Spread { .. })))
        })
        .collect();
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut header = vec!["row".to_owned()];
    for (column, spread) in table.columns.iter().zip(&over_seeds) {
        let key = if column.key.is_empty() {
            &column.heading
        } else {
            &column.key
        };
        if *spread {
            header.extend(["mean", "std", "min", "max", "n"].map(|part| format!("{key}.{part}")));
        } else {
            header.push(key.clone());
        }
    }
    writer.write_record(&header)?;
    for (index, row) in table.rows.iter().enumerate() {
        let mut record = vec![table.row_keys.get(index).cloned().unwrap_or_default()];
        for (cell, spread) in row.iter().zip(&over_seeds) {
            match (cell, spread) {
                (
                    Cell::Spread {
                        mean,
                        std,
                        min,
                        max,
                        n,
                        ..
                    },
                    _,
                ) => record.extend([
                    mean.to_string(),
                    std.map_or_else(String::new, |std| std.to_string()),
                    min.to_string(),
                    max.to_string(),
                    n.to_string(),
                ]),
                (cell, true) => {
                    record.push(single(cell));
                    record.extend([const { String::new() }; 4]);
                }
                (cell, false) => record.push(single(cell)),
            }
        }
        writer.write_record(&record)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| ::csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn single(cell: &Cell) -> String {
    match cell {
        Cell::Text { text } => text.clone(),
        Cell::Number { value, .. } => value.to_string(),
        Cell::Spread { mean, .. } => mean.to_string(),
        Cell::Missing { .. } => String::new(),
    }
}
