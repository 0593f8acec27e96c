//! Rows as lines of text: JSON and CSV.

use serde::Deserialize;

/// One row.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) features: Vec<f64>,
    pub(super) logits: Vec<f64>,
    pub(super) label: Option<usize>,
}

#[derive(Deserialize)]
struct Object {
    features: Vec<f64>,
    #[serde(default)]
    logits: Option<Vec<f64>>,
    #[serde(default, alias = "labels")]
    label: Option<i64>,
}

/// A list of features or an object. The error says what is wrong.
pub(super) fn parse_json(line: &[u8]) -> Result<Record, String> {
    let form =
        "a row is [features] or {\"features\": [features], \"logits\": [logits], \"label\": class}";
    let wrong = |error: serde_json::Error| format!("{error}; {form}");
    if line.trim_ascii_start().first() == Some(&b'[') {
        return Ok(Record {
            features: serde_json::from_slice(line).map_err(wrong)?,
            ..Record::default()
        });
    }
    let object: Object = serde_json::from_slice(line).map_err(wrong)?;
    Ok(Record {
        features: object.features,
        logits: object.logits.unwrap_or_default(),
        label: object.label.map(class).transpose()?,
    })
}

/// −1, by which some exporters say that there is no class, becomes one beyond all.
fn class(label: i64) -> Result<usize, String> {
    match label {
        -1 => Ok(usize::MAX),
        _ => usize::try_from(label)
            .map_err(|_| format!("label {label} cannot be a class, which count from 0")),
    }
}

/// What stands in each column of a CSV file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns(Vec<Option<Column>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Column {
    Feature,
    Logit,
    Label,
}

impl Columns {
    fn named(header: &str) -> Result<Self, String> {
        let column = |name: &str| {
            let name = cell(name).to_ascii_lowercase();
            match name.as_str() {
                "label" | "labels" => Some(Column::Label),
                _ if name.starts_with("feature") => Some(Column::Feature),
                _ if name.starts_with("logit") => Some(Column::Logit),
                _ => None,
            }
        };
        let columns: Vec<Option<Column>> = header.split(',').map(column).collect();
        if columns.contains(&Some(Column::Feature)) {
            return Ok(Self(columns));
        }
        Err(format!(
            "the header {:?} names no features; call their columns feature_0, feature_1, … (and logit_0, …, label), or leave \
             the header out where all columns are features",
            header.chars().take(80).collect::<String>()
        ))
    }
}

fn cell(text: &str) -> &str {
    text.trim().trim_matches('"').trim()
}

/// One line of CSV; `None` for the header, from which `columns` then stand.
pub(super) fn parse_csv(
    line: &[u8],
    columns: &mut Option<Columns>,
) -> Result<Option<Record>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "the line is no text".to_owned())?;
    // Spreadsheets put a mark of the byte order first.
    let text = text.trim_start_matches('\u{feff}').trim_end();
    let Some(columns) = columns else {
        let numbers = text
            .split(',')
            .all(|text| cell(text).parse::<f64>().is_ok());
        if !numbers {
            *columns = Some(Columns::named(text)?);
            return Ok(None);
        }
        let all = text.split(',').map(|_| Some(Column::Feature)).collect();
        *columns = Some(Columns(all));
        return parse_csv(line, columns);
    };
    let (found, expected) = (text.split(',').count(), columns.0.len());
    if found != expected {
        return Err(format!(
            "the line has {found} columns, the first has {expected}"
        ));
    }
    let mut record = Record::default();
    for (at, (text, column)) in text.split(',').zip(&columns.0).enumerate() {
        let (text, number) = (cell(text), || {
            let number = cell(text).parse::<f64>();
            number.map_err(|_| format!("{:?} in column {at} is no number", cell(text)))
        });
        match column {
            Some(Column::Feature) => record.features.push(number()?),
            Some(Column::Logit) => record.logits.push(number()?),
            Some(Column::Label) => {
                let label = text.parse::<i64>();
                let label = label
                    .map_err(|_| format!("label {text:?} in column {at} is no whole number"))?;
                record.label = Some(class(label)?);
            }
            None => {}
        }
    }
    Ok(Some(record))
}
