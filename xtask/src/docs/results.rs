//! docs/results: the paper's experiment on CIFAR-10.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collapse_report::{group_label, page_figure, page_table};
use collapse_results::{Group, Results, Run};
use serde_json::Value;

use super::page::{Page, read};
use super::{picture, shortened};

const FOLDER: &str = "docs/results";
/// The numbers, as committed.
pub(super) const KEPT: &str = "docs/results/small.json";

/// The pages, their figures, and the numbers they are made of.
pub(super) fn pages(
    root: &Path,
    small: &Option<PathBuf>,
    plan: &Option<PathBuf>,
) -> Result<Vec<(PathBuf, String)>> {
    let folder = root.join(FOLDER);
    let kept = root.join(KEPT);
    let results = shortened(small.as_ref().unwrap_or(&kept))?;
    let kept_plan = folder.join("plan.json");
    let plan_source = plan.as_ref().unwrap_or(&kept_plan);
    let plan_text = read(plan_source)?;
    let plan: Value = serde_json::from_str(&plan_text)
        .with_context(|| format!("reading {}", plan_source.display()))?;
    let mut files = Vec::new();
    for name in ["README.md", "scores.md"] {
        let mut page = Page::open(folder.join(name))?;
        for part in page.parts() {
            let content = match part.split_once(' ') {
                Some(("figure", id)) => match page_figure(&results, id) {
                    Some(figure) => {
                        let file = format!("{id}.svg");
                        files.push((folder.join(&file), figure.standalone()));
                        picture(&figure, &file)
                    }
                    None => NOTHING.to_owned(),
                },
                _ if part == "runs" => runs_table(&results, &plan),
                _ => page_table(&results, &part).unwrap_or_else(|| NOTHING.to_owned()),
            };
            page.fill(&part, &content)?;
        }
        files.push((page.path, page.text));
    }
    files.push((kept, results.to_json()?));
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
    let (mut trained, mut measured, mut expected) = (0.0, 0.0, 0.0);
    for group in &results.groups {
        let runs: Vec<&Run> = results.runs_of(&group.id).collect();
        let hours =
            |seconds: fn(&Run) -> f64| runs.iter().map(|run| seconds(run)).sum::<f64>() / 3600.0;
        let train = hours(|run| run.times.train_seconds);
        let measure = hours(|run| run.times.evaluate_seconds);
        if runs.is_empty() {
            table.push_str(&format!(
                "| {} | `{}` | {} | 0 | {} | – | – | – |\n",
                group_label(group),
                group.id,
                group.epochs,
                group.seeds.len(),
            ));
            continue;
        }
        let planned = planned_hours(plan, group).map(|one| one * runs.len() as f64);
        table.push_str(&format!(
            "| {} | `{}` | {} | {} | {} | {train:.1} | {measure:.1} | {} |\n",
            group_label(group),
            group.id,
            group.epochs,
            runs.len(),
            group.seeds.len(),
            planned.map_or_else(|| "–".to_owned(), |hours| format!("{hours:.1}")),
        ));
        trained += train;
        measured += measure;
        expected += planned.unwrap_or(0.0);
    }
    table.push_str(&format!(
        "| all | | | | | {trained:.1} | {measured:.1} | {expected:.1} |\n"
    ));
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
