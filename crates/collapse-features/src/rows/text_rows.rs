//! Rows as lines of text: JSON and CSV.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::BYTE_ORDER;

/// One row.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) features: Vec<f64>,
    pub(super) logits: Vec<f64>,
    pub(super) label: Option<usize>,
}

/// What a label of −1, by which some exporters say that there is no class, becomes.
pub(super) const UNKNOWN: usize = usize::MAX;

#[derive(Deserialize)]
struct Object<L> {
    features: Vec<f64>,
    #[serde(default)]
    logits: Option<Vec<f64>>,
    #[serde(default = "Option::default", alias = "labels")]
    label: Option<L>,
}

/// A list of features or an object. The error says what is wrong.
pub(super) fn parse_json(line: &[u8], labelled: bool) -> Result<Record, String> {
    let form =
        "a row is [features] or {\"features\": [features], \"logits\": [logits], \"label\": class}";
    let wrong = |error: serde_json::Error| format!("{error}; {form}");
    let line = line.strip_prefix(&BYTE_ORDER).unwrap_or(line);
    if line.trim_ascii_start().first() == Some(&b'[') {
        return Ok(Record {
            features: serde_json::from_slice(line).map_err(wrong)?,
            ..Record::default()
        });
    }
    let (features, logits, label) = match labelled {
        true => {
            let object: Object<i64> = serde_json::from_slice(line).map_err(wrong)?;
            (object.features, object.logits, object.label)
        }
        false => {
            let object: Object<IgnoredAny> = serde_json::from_slice(line).map_err(wrong)?;
            (object.features, object.logits, None)
        }
    };
    Ok(Record {
        features,
        logits: logits.unwrap_or_default(),
        label: label.map(class).transpose()?,
    })
}

fn class(label: i64) -> Result<usize, String> {
    match label {
        -1 => Ok(UNKNOWN),
        _ => usize::try_from(label)
            .map_err(|_| format!("label {label} cannot be a class, which count from 0")),
    }
}

/// What stands in each column of a CSV file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    count: usize,
    /// The columns of the features and of the logits, in their order.
    features: Vec<usize>,
    logits: Vec<usize>,
    label: Option<usize>,
}

impl Columns {
    /// A line without names.
    fn of_features(count: usize) -> Self {
        Self {
            count,
            features: (0..count).collect(),
            logits: Vec::new(),
            label: None,
        }
    }

    fn named(header: &str) -> Result<Self, String> {
        let names: Vec<String> = header
            .split(',')
            .map(|name| cell(name).to_ascii_lowercase())
            .collect();
        let label = |name: &String| matches!(name.as_str(), "label" | "labels");
        let columns = Self {
            count: names.len(),
            features: in_order(&names, "feature"),
            logits: in_order(&names, "logit"),
            label: names.iter().position(label),
        };
        if !columns.features.is_empty() {
            return Ok(columns);
        }
        Err(format!(
            "the header {:?} names no features; call their columns feature_0, feature_1, … (and logit_0, …, label), or leave \
             the header out where all columns are features",
            header.chars().take(80).collect::<String>()
        ))
    }
}

/// The columns whose names begin so: by the numbers at their ends where all have different ones, else as they stand.
fn in_order(names: &[String], begin: &str) -> Vec<usize> {
    let columns = names.iter().enumerate();
    let mut columns: Vec<(usize, Option<u64>)> = columns
        .filter_map(|(at, name)| {
            let rest = name.strip_prefix(begin)?;
            let digits = rest
                .trim_end_matches(|sign: char| sign.is_ascii_digit())
                .len();
            Some((at, rest[digits..].parse().ok()))
        })
        .collect();
    let numbers: BTreeSet<u64> = columns.iter().filter_map(|(_, number)| *number).collect();
    if numbers.len() == columns.len() {
        columns.sort_by_key(|(_, number)| *number);
    }
    columns.into_iter().map(|(at, _)| at).collect()
}

/// Whether the cells count 0, 1, 2, …: what pandas calls columns without names. Two could be a row.
fn counts(cells: &[&str]) -> bool {
    cells.len() > 2
        && cells
            .iter()
            .enumerate()
            .all(|(at, text)| *text == at.to_string())
}

fn cell(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

/// One line of CSV; `None` for the header, from which `columns` then stand.
pub(super) fn parse_csv(
    line: &[u8],
    columns: &mut Option<Columns>,
    labelled: bool,
) -> Result<Option<Record>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is no text".to_owned())?;
    // Spreadsheets write the mark of the byte order first.
    let text = text.trim_start_matches('\u{feff}').trim_end();
    let cells: Vec<&str> = text.split(',').map(cell).collect();
    let columns = match columns {
        Some(columns) => columns,
        None if counts(&cells) => {
            *columns = Some(Columns::of_features(cells.len()));
            return Ok(None);
        }
        None if cells.iter().all(|text| text.parse::<f64>().is_ok()) => {
            columns.insert(Columns::of_features(cells.len()))
        }
        None => {
            *columns = Some(Columns::named(text)?);
            return Ok(None);
        }
    };
    if cells.len() != columns.count {
        return Err(format!(
            "the line has {} columns, the first has {}",
            cells.len(),
            columns.count
        ));
    }
    let number = |&at: &usize| {
        let number = cells[at].parse::<f64>();
        number.map_err(|_| format!("{:?} in column {at} is no number", cells[at]))
    };
    let label = |at: usize| {
        let label = cells[at].parse::<i64>();
        label.map_err(|_| format!("label {:?} in column {at} is no whole number", cells[at]))
    };
    let labels = columns.label.filter(|_| labelled);
    Ok(Some(Record {
        features: columns
            .features
            .iter()
            .map(number)
            .collect::<Result<_, _>>()?,
        logits: columns
            .logits
            .iter()
            .map(number)
            .collect::<Result<_, _>>()?,
        label: labels.map(|at| class(label(at)?)).transpose()?,
    }))
}
