//! A table in the making: keys for rows and columns, and the paper's values beside ours.

use collapse_results::{Align, Cell, Column, Table};

use crate::lineup::Lineup;
use crate::numbers::fixed;
use crate::reference::{PaperValue, References};
use crate::render::{range_text, shows_range};
use crate::statistics::summarize;

/// What "mean ± deviation" stands for; the captions of such tables say it.
pub(crate) const SPREAD: &str = "Mean ± standard deviation over seeds (divisor n − 1).";
/// The same of tables that have room for the extremes too.
const SPREAD_AND_RANGE: &str =
    "Mean ± standard deviation over seeds (divisor n − 1), and smallest to largest.";

pub(crate) struct Draft {
    table: Table,
    /// What the table was made from, the end of its caption.
    made_from: String,
}

impl Draft {
    /// A table of the line-up; its caption ends with what it was made from.
    pub(crate) fn new(lineup: &Lineup<'_>, id: &str, title: &str, note: &str) -> Self {
        Self {
            made_from: lineup.made_from.clone(),
            ..Self::bare(id, title, note)
        }
    }

    /// As [`Draft::new`], with the sizes of the image sets, for a table of detection figures.
    pub(crate) fn of_sets(lineup: &Lineup<'_>, id: &str, title: &str, note: &str) -> Self {
        Self {
            made_from: lineup.made_from_sets(),
            ..Self::bare(id, title, note)
        }
    }

    /// A table with a caption of its own.
    pub(crate) fn bare(id: &str, title: &str, caption: &str) -> Self {
        Self {
            table: Table {
                id: id.to_owned(),
                title: title.to_owned(),
                caption: caption.trim().to_owned(),
                columns: Vec::new(),
                row_keys: Vec::new(),
                rows: Vec::new(),
            },
            made_from: String::new(),
        }
    }

    pub(crate) fn text_column(&mut self, key: &str, heading: &str) {
        self.column(key, heading, Align::Left);
    }

    pub(crate) fn number_column(&mut self, key: &str, heading: &str) {
        self.column(key, heading, Align::Right);
    }

    fn column(&mut self, key: &str, heading: &str, align: Align) {
        self.table.columns.push(Column {
            key: key.to_owned(),
            heading: heading.to_owned(),
            align,
        });
    }

    pub(crate) fn row(&mut self, key: impl Into<String>, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.table.columns.len());
        self.table.row_keys.push(key.into());
        self.table.rows.push(cells);
    }

    /// The table, or `None` when it has no row; columns that have a published value gain two.
    #[must_use]
    pub(crate) fn finish(self, references: &References) -> Option<Table> {
        let mut table = self.table;
        if table.rows.is_empty() {
            return None;
        }
        let ranges = table.rows.iter().flatten().any(|c| range_text(c).is_some());
        if ranges && shows_range(&table) {
            table.caption = table.caption.replace(SPREAD, SPREAD_AND_RANGE);
        }
        table.caption = format!("{} {}", table.caption, self.made_from)
            .trim()
            .to_owned();
        let mut used = false;
        for index in (0..table.columns.len()).rev() {
            let values: Vec<Option<&PaperValue>> = table
                .row_keys
                .iter()
                .map(|row| references.paper_value(&table.id, row, &table.columns[index].key))
                .collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            used = true;
            let own = table.columns[index].clone();
            for (suffix, words) in [("ours-paper", "ours − paper"), ("paper", "paper")] {
                table.columns.insert(
                    index + 1,
                    Column {
                        key: format!("{}:{suffix}", own.key),
                        heading: format!("{}, {words}", own.heading),
                        align: Align::Right,
                    },
                );
            }
            for (row, value) in table.rows.iter_mut().zip(values) {
                let (paper, gap) = published(&row[index], value, references.paper_seeds);
                row.insert(index + 1, gap);
                row.insert(index + 1, paper);
            }
        }
        if used {
            table
                .caption
                .push_str(&format!(" Paper: {}.", references.paper_source));
        }
        Some(table)
    }
}

fn published(ours: &Cell, value: Option<&PaperValue>, seeds: usize) -> (Cell, Cell) {
    let Some(value) = value else {
        return (
            missing("not in reference/paper.toml"),
            missing("not in reference/paper.toml"),
        );
    };
    let (own, decimals) = match ours {
        Cell::Number { value, decimals } => (Some(*value), *decimals),
        Cell::Spread { mean, decimals, .. } => (Some(*mean), *decimals),
        Cell::Text { .. } | Cell::Missing { .. } => (None, 2),
    };
    let paper = match (value.std, value.min, value.max) {
        (std, Some(min), Some(max)) => Cell::Spread {
            mean: value.mean,
            std,
            min,
            max,
            n: seeds,
            decimals,
        },
        (Some(std), _, _) => text(format!(
            "{} ± {}",
            fixed(value.mean, decimals),
            fixed(std, decimals)
        )),
        _ => Cell::Number {
            value: value.mean,
            decimals,
        },
    };
    let gap = own.map_or_else(
        || missing("not measured here"),
        |own| Cell::Number {
            value: own - value.mean,
            decimals,
        },
    );
    (paper, gap)
}

pub(crate) fn text(words: impl Into<String>) -> Cell {
    Cell::Text { text: words.into() }
}

pub(crate) fn switch(on: bool) -> Cell {
    text(if on { "on" } else { "off" })
}

pub(crate) fn missing(reason: &str) -> Cell {
    Cell::Missing {
        reason: reason.to_owned(),
    }
}

pub(crate) fn count(value: usize) -> Cell {
    Cell::Number {
        value: value as f64,
        decimals: 0,
    }
}

pub(crate) fn number(value: f64, decimals: usize) -> Cell {
    if value.is_finite() {
        Cell::Number { value, decimals }
    } else {
        missing("not finite")
    }
}

pub(crate) fn spread(values: &[f64], decimals: usize) -> Cell {
    match summarize(values) {
        Some(s) => Cell::Spread {
            mean: s.mean,
            std: s.std,
            min: s.min,
            max: s.max,
            n: s.n,
            decimals,
        },
        None if values.is_empty() => missing("not measured"),
        None => missing("a value is not finite"),
    }
}

/// Decimals that show about three digits of a positive magnitude.
pub(crate) fn magnitude(values: &[f64]) -> usize {
    let size = summarize(values).map_or(1.0, |s| s.mean.abs());
    if size == 0.0 {
        return 2;
    }
    (2.0 - size.log10().floor()).clamp(0.0, 6.0) as usize
}
