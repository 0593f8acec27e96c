//! The outcome for people: a terminal, a pull request, a page.

use std::collections::BTreeMap;

use anyhow::Result;
use collapse_report::{LineAxes, LinePanel, Page, TerminalStyle, line_figure, render};
use collapse_results::{Align, Cell, Column, Table};

use super::history::{Line, Run};
use super::outcome::{Outcome, Verdict};

/// Columns by heading; all but the first hold numbers or one word.
fn table(id: &str, title: &str, caption: String, headings: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    let columns = headings.iter().enumerate().map(|(index, heading)| Column {
        key: String::new(),
        heading: (*heading).to_owned(),
        align: match index {
            0 => Align::Left,
            _ => Align::Right,
        },
    });
    Table {
        id: id.to_owned(),
        title: title.to_owned(),
        caption,
        columns: columns.collect(),
        row_keys: (0..rows.len()).map(|i| i.to_string()).collect(),
        rows,
    }
}

fn text(words: impl Into<String>) -> Cell {
    Cell::Text { text: words.into() }
}

fn number(value: Option<f64>, decimals: usize) -> Cell {
    match value {
        Some(value) => Cell::Number { value, decimals },
        None => Cell::Missing {
            reason: "no floor".to_owned(),
        },
    }
}

fn caption(run: &Run) -> String {
    format!(
        "{} ({}), code {}, {}, {:.0} s, one thread. A ratio is the yardstick's time over the work's, in turn.",
        run.machine, run.processor, run.code_version, run.time, run.seconds
    )
}

/// Kind by kind: how many, the median and the lowest of ratio over blessed ratio, and the worst verdict.
fn kinds(run: &Run) -> Table {
    let mut kinds: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for case in &run.cases {
        kinds.entry(kind(&case.id)).or_default().push(case);
    }
    let rows = kinds.into_iter().map(|(name, cases)| {
        let shares = percent_of_blessed(cases.iter().map(|c| c.blessed.map(|b| c.ratio / b)));
        let worst = cases.iter().map(|case| case.verdict).max();
        vec![
            text(name),
            number(Some(cases.len() as f64), 0),
            number(median(&shares), 0),
            number(shares.first().copied(), 0),
            text(worst.map_or("", Verdict::name)),
        ]
    });
    let headings = [
        "Kind",
        "Hot paths",
        "Of blessed (%)",
        "Lowest (%)",
        "Verdict",
    ];
    let title = format!("Regression guard: {}", run.verdict().name());
    table("kinds", &title, caption(run), &headings, rows.collect())
}

fn cases<'a>(id: &str, title: &str, cases: impl Iterator<Item = &'a Outcome>) -> Table {
    let rows = cases.map(|case| {
        vec![
            text(&case.id),
            number(Some(1e3 * case.work_s), 3),
            text(case.yardstick),
            number(Some(case.ratio), 3),
            number(Some(100.0 * case.error), 1),
            number(case.blessed, 3),
            number(case.floor, 3),
            number(case.slower().map(|by| 100.0 * by), 0),
            text(case.verdict.name()),
        ]
    });
    let headings = [
        "Hot path",
        "ms",
        "Yardstick",
        "Ratio",
        "± (%)",
        "Blessed",
        "Floor",
        "Slower by (%)",
        "Verdict",
    ];
    table(id, title, String::new(), &headings, rows.collect())
}

fn noteworthy(run: &Run) -> Table {
    let chosen = run
        .cases
        .iter()
        .filter(|case| case.verdict >= Verdict::Inconclusive);
    cases("noteworthy", "Slower or inconclusive", chosen)
}

pub(super) fn terminal(run: &Run) -> String {
    let style = TerminalStyle::detect();
    let mut shown = render::terminal(&kinds(run), style);
    let below = noteworthy(run);
    if !below.rows.is_empty() {
        shown.push_str(&render::terminal(&below, style));
    }
    shown
}

pub(super) fn markdown(run: &Run) -> String {
    let mut shown = render::markdown(&kinds(run));
    let below = noteworthy(run);
    if !below.rows.is_empty() {
        shown.push_str(&render::markdown(&below));
    }
    let all = render::markdown(&cases("all", "Every hot path", run.cases.iter()));
    shown.push_str(&format!(
        "\n<details><summary>Every hot path</summary>\n\n{all}\n</details>\n"
    ));
    shown
}

/// The last run and how the ratios went over all runs.
pub(super) fn page(run: &Run, history: &[Line]) -> Result<String> {
    let lead = format!(
        "{} runs on this kind of processor, the last with the verdict “{}”.",
        history.len(),
        run.verdict().name()
    );
    let below = noteworthy(run);
    let all = cases("all", "Every hot path", run.cases.iter());
    let mut tables = vec![all, runs(history)];
    if !below.rows.is_empty() {
        tables.insert(0, below);
    }
    let figure = ratios_over_runs(history);
    Ok(collapse_report::page(&Page {
        title: "Regression guard",
        heading: "How fast the hot paths are",
        lead: &lead,
        main: &kinds(run),
        main_name: "Last run",
        notes: &[],
        figures: figure.as_slice(),
        tables: &tables,
        provenance: &[
            ("processor", run.processor.to_string()),
            ("machine", run.machine.clone()),
            ("code", run.code_version.to_owned()),
        ],
        command: "cargo xtask bench --check",
        files: "Every number of the last run, unrounded, stands in check.json; one line for each run in history.jsonl.",
    })?)
}

fn runs(history: &[Line]) -> Table {
    let rows = history.iter().rev().map(|line| {
        let shares = percent_of_blessed(line.cases.iter().map(|case| case.2));
        vec![
            text(&line.time),
            text(&line.code_version),
            text(if line.short { "short" } else { "whole" }),
            number(Some(line.cases.len() as f64), 0),
            number(median(&shares), 1),
            text(line.verdict.name()),
        ]
    });
    let headings = [
        "Time",
        "Code",
        "Form",
        "Hot paths",
        "Of blessed (%)",
        "Verdict",
    ];
    let caption = "The newest run first.".to_owned();
    table("runs", "Runs", caption, &headings, rows.collect())
}

/// A panel for each kind of work: the median of its hot paths and the lowest, run by run.
fn ratios_over_runs(history: &[Line]) -> Option<collapse_report::Figure> {
    let mut names: Vec<&str> = Vec::new();
    for (id, ..) in history.iter().flat_map(|line| &line.cases) {
        if !names.contains(&kind(id)) {
            names.push(kind(id));
        }
    }
    let last = history.len().saturating_sub(1).max(1) as f64;
    let panel = |name: &&str| {
        let mut lines = vec![(0, Vec::new()), (1, Vec::new())];
        for (index, line) in history.iter().enumerate() {
            let of_kind = line.cases.iter().filter(|case| kind(&case.0) == *name);
            let shares = percent_of_blessed(of_kind.map(|case| case.2));
            if let (Some(middle), Some(lowest)) = (median(&shares), shares.first()) {
                let x = index as f64 / last;
                lines[0].1.push((x, (middle / 100.0).min(1.5)));
                lines[1].1.push((x, (lowest / 100.0).min(1.5)));
            }
        }
        LinePanel {
            title: (*name).to_owned(),
            lines,
            diagonal: false,
        }
    };
    let axes = LineAxes {
        id: "ratios",
        title: "Speed against its yardstick, over the blessed one",
        caption: "1 is as fast as when the floors were set. The oldest run stands at 0, the newest at 1.",
        x: "runs, oldest to newest",
        y: "of blessed",
        top: 1.5,
    };
    let panels: Vec<LinePanel> = names.iter().map(panel).collect();
    let legend = ["median hot path", "slowest hot path"].map(str::to_owned);
    line_figure(&axes, &legend, &panels)
}

/// Ascending.
fn percent_of_blessed(shares: impl Iterator<Item = Option<f64>>) -> Vec<f64> {
    let mut shares: Vec<f64> = shares.flatten().map(|share| 100.0 * share).collect();
    shares.sort_by(f64::total_cmp);
    shares
}

fn median(ascending: &[f64]) -> Option<f64> {
    let found = super::super::measure::Timings::new(ascending.to_vec()).median();
    found.is_finite().then_some(found)
}

fn kind(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}
