//! docs/results: the paper's experiment on CIFAR-10.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collapse_report::{figures, group_label, page_tables};
use collapse_results::{Group, Results, Run};
use serde_json::Value;

use super::full::Full;
use super::page::{Page, read};
use super::picture;

const FOLDER: &str = "docs/results";
/// The numbers, as committed.
pub(super) const KEPT: &str = "docs/results/small.json";

/// The pages, their figures, and the numbers they are made of.
pub(super) fn pages(
    root: &Path,
    results: &Results,
    plan: &Option<PathBuf>,
    full: Option<&PathBuf>,
) -> Result<Vec<(PathBuf, String)>> {
    let folder = root.join(FOLDER);
    let kept_plan = folder.join("plan.json");
    let plan_source = plan.as_ref().unwrap_or(&kept_plan);
    let plan_text = read(plan_source)?;
    let plan: Value = serde_json::from_str(&plan_text)
        .with_context(|| format!("reading {}", plan_source.display()))?;
    let mut parts = page_tables(results);
    parts.insert("runs".to_owned(), runs_table(results, &plan));
    let full = Full::read(root, full)?;
    parts.extend(full.tables.map(|(name, table)| (name.to_owned(), table)));
    let mut files = vec![full.kept];
    for figure in figures(results) {
        let file = format!("{}.svg", figure.id);
        parts.insert(format!("figure {}", figure.id), picture(&figure, &file));
        files.push((folder.join(file), figure.standalone()));
    }
    for name in ["README.md", "scores.md"] {
        let mut page = Page::open(folder.join(name))?;
        for part in page.parts() {
            page.fill(&part, parts.get(&part).map_or(NOTHING, String::as_str))?;
        }
        files.push((page.path, page.text));
    }
    files.push((root.join(KEPT), results.to_json()?));
    files.push((kept_plan, plan_text));
    Ok(files)
}

const NOTHING: &str = "*No finished run has it yet.*\n";

/// What was run and what it took, beside what was planned.
fn runs_table(results: &Results, plan: &Value) -> String {
    let mut table = String::from(
        "| Group | Id | Epochs | Seeds done | of | Hours training | Hours measuring | Hours planned for these |\n\
         | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut total = [0.0; 3];
    for group in &results.groups {
        let runs: Vec<&Run> = results.runs_of(&group.id).collect();
        let hours = |seconds: fn(&Run) -> f64| runs.iter().map(|run| seconds(run) / 3600.0).sum();
        let planned = planned_hours(plan, group).map(|one| one * runs.len() as f64);
        let spent = [
            Some(hours(|run| run.times.train_seconds)),
            Some(hours(|run| run.times.evaluate_seconds)),
            planned,
        ];
        let shown = spent.map(|hours| match hours {
            Some(hours) if !runs.is_empty() => format!("{hours:.1}"),
            _ => "–".to_owned(),
        });
        for (sum, hours) in total.iter_mut().zip(spent) {
            *sum += hours.unwrap_or(0.0);
        }
        table.push_str(&format!(
            "| {} | `{}` | {} | {} | {} | {} |\n",
            group_label(group),
            group.id,
            group.epochs,
            runs.len(),
            group.seeds.len(),
            shown.join(" | "),
        ));
    }
    let total = total.map(|hours| format!("{hours:.1}"));
    table.push_str(&format!("| all | | | | | {} |\n", total.join(" | ")));
    table
}

/// Hours of one run of the group, as planned.
fn planned_hours(plan: &Value, group: &Group) -> Option<f64> {
    let groups = plan.get("groups")?.as_array()?;
    let of = groups
        .iter()
        .find(|found| found.get("group").and_then(Value::as_str) == Some(&group.id))?;
    Some(of.get("run_seconds")?.as_f64()? / 3600.0)
}
