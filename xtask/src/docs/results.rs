//! docs/results: the paper's experiment on CIFAR-10.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use collapse_report::{claims, figures, group_label, page_tables, verdict_label};
use collapse_results::{Claim, Group, Results, Run};
use serde_json::Value;

use super::full::Full;
use super::page::{Page, read};
use super::picture;

const FOLDER: &str = "docs/results";
/// The numbers, as committed.
pub(super) const KEPT: &str = "docs/results/small.json";

/// The figure that README shows beside the gain at full width.
const README_FIGURE: &str = "progress";

/// The pages, their figures, and the numbers they are made of; README's first table and figure with them.
pub(super) fn pages(
    root: &Path,
    results: &Results,
    plan: &Option<PathBuf>,
    full: Option<&PathBuf>,
    readme: &mut Page,
) -> Result<Vec<(PathBuf, String)>> {
    let folder = root.join(FOLDER);
    let kept_plan = folder.join("plan.json");
    let plan_source = plan.as_ref().unwrap_or(&kept_plan);
    let plan_text = read(plan_source)?;
    let plan: Value = serde_json::from_str(&plan_text)
        .with_context(|| format!("reading {}", plan_source.display()))?;
    let mut parts = page_tables(results);
    parts.insert("runs".to_owned(), runs_table(results, &plan));
    parts.insert("evidence".to_owned(), evidence(results));
    let full = Full::read(root, full)?;
    parts.extend(full.tables.map(|(name, table)| (name.to_owned(), table)));
    let gain = parts.get("full gain").map_or(NOTHING, String::as_str);
    readme.fill("full gain", gain)?;
    let mut files = vec![full.kept];
    for figure in figures(results) {
        let file = format!("{}.svg", figure.id);
        if figure.id == README_FIGURE {
            let shown = picture(&figure, &format!("{FOLDER}/{file}"));
            readme.fill("result figure", &shown)?;
        }
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

/// What each claim was judged by, in words.
fn evidence(results: &Results) -> String {
    let of = |claim: Claim| {
        let verdict = verdict_label(claim.verdict);
        format!("- **{}**, {verdict}: {}\n", claim.id, claim.evidence)
    };
    claims(results).into_iter().map(of).collect()
}

/// What was run, on what, and what it took, beside what was planned.
fn runs_table(results: &Results, plan: &Value) -> String {
    let mut table = String::from(
        "| Group | Id | Epochs | Seeds done | On | Hours training | Hours measuring | Hours planned for these |\n\
         | :--- | :--- | ---: | :--- | :--- | ---: | ---: | ---: |\n",
    );
    let mut totals: BTreeMap<String, Hours> = BTreeMap::new();
    for group in &results.groups {
        let named = format!(
            "| {} | `{}` | {} |",
            group_label(group),
            group.id,
            group.epochs
        );
        let mut runs_by_processor: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
        for run in results.runs_of(&group.id) {
            let processors = processors(run);
            runs_by_processor.entry(processors).or_default().push(run);
        }
        if runs_by_processor.is_empty() {
            let wanted = group.seeds.len();
            table.push_str(&format!("{named} 0 of {wanted} | – | – | – | – |\n"));
        }
        for (processors, runs) in runs_by_processor {
            let seeds: Vec<String> = runs.iter().map(|run| run.seed.to_string()).collect();
            let hours = Hours::of(&runs, planned_hours(plan, group));
            let seeds = seeds.join(", ");
            table.push_str(&format!("{named} {seeds} | {processors} | {hours} |\n"));
            totals.entry(processors).or_default().add(&hours);
        }
    }
    for (processors, hours) in totals {
        table.push_str(&format!("| all | | | | {processors} | {hours} |\n"));
    }
    table
}

/// What the run was made on, as the processors name themselves.
fn processors(run: &Run) -> String {
    let names = run.made_by.iter().map(|span| span.maker.processor.as_str());
    let names: BTreeSet<&str> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Hours {
    training: f64,
    measuring: f64,
    /// None on a GPU: the plan is one for processor cores.
    planned: Option<f64>,
}

impl Hours {
    fn of(runs: &[&Run], planned_each: Option<f64>) -> Self {
        let hours = |seconds: fn(&Run) -> f64| runs.iter().map(|run| seconds(run) / 3600.0).sum();
        let on_gpu = |run: &&Run| {
            let mut spans = run.made_by.iter();
            spans.any(|span| span.maker.kernel_path.starts_with("cuda"))
        };
        let planned_each = planned_each.filter(|_| !runs.iter().any(on_gpu));
        Self {
            training: hours(|run| run.times.train_seconds),
            measuring: hours(|run| run.times.evaluate_seconds),
            planned: planned_each.map(|one| one * runs.len() as f64),
        }
    }

    fn add(&mut self, other: &Self) {
        self.training += other.training;
        self.measuring += other.measuring;
        self.planned = match (self.planned, other.planned) {
            (Some(a), Some(b)) => Some(a + b),
            (one, None) | (None, one) => one,
        };
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let planned = self.planned.map_or("–".to_owned(), shown);
        write!(
            f,
            "{} | {} | {planned}",
            shown(self.training),
            shown(self.measuring)
        )
    }
}

fn shown(hours: f64) -> String {
    match hours < 1.0 {
        true => format!("{hours:.2}"),
        false => format!("{hours:.1}"),
    }
}

/// Hours of one run of the group, as planned.
fn planned_hours(plan: &Value, group: &Group) -> Option<f64> {
    let groups = plan.get("groups")?.as_array()?;
    let of = groups
        .iter()
        .find(|found| found.get("group").and_then(Value::as_str) == Some(&group.id))?;
    Some(of.get("run_seconds")?.as_f64()? / 3600.0)
}
