//! Drawing the report of the quick scale.

use anyhow::Result;
use collapse_report::{References, claims, figures, render, tables};
use collapse_results::Results;

use crate::case::{Case, Work};
use crate::yardstick::Yardstick;

/// The published results of the quick scale.
const RESULTS: &str = include_str!("../../docs/quick/results.json");

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, short, draw: fn(&Results) -> Result<usize>| {
        let id = format!("report/{name}/quick-scale");
        Case::new(id, RESULTS.len(), parsing(), move || drawing(draw)).in_short_form(short)
    };
    vec![
        case("claims", false, |results| Ok(claims(results).len())),
        case("tables", true, |results| {
            let mut length = 0;
            for table in tables(results, &References::default()) {
                length += render::html(&table).len() + render::markdown(&table).len();
                length += render::latex(&table).len() + render::csv(&table)?.len();
            }
            Ok(length)
        }),
        case("figures", true, |results| {
            let drawn = figures(results);
            Ok(drawn.iter().map(|figure| figure.standalone().len()).sum())
        }),
    ]
}

fn parsing() -> Yardstick {
    Yardstick::new("serde_json of the results", || {
        Ok(Box::new(|| {
            std::hint::black_box(serde_json::from_str::<serde_json::Value>(RESULTS)?);
            Ok(())
        }))
    })
}

fn drawing(draw: fn(&Results) -> Result<usize>) -> Result<Work> {
    let results = Results::from_json(RESULTS)?;
    Ok(Box::new(move || {
        std::hint::black_box(draw(&results)?);
        Ok(())
    }))
}
