//! The report as files: tables, figures, one HTML page and `results.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use collapse_results::{Claim, Maker, Results, Stratum, Table, Verdict};
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Serialize;

use crate::Error;
use crate::claims::{judge, verdict_label};
use crate::figures::{self, FIGURE_STYLE, Figure};
use crate::lineup::Lineup;
use crate::numbers::{p_value, signed, signed_range, smallest_p};
use crate::page::{PAGE_SCRIPT, PAGE_STYLE, Section, environment};
use crate::reference::References;
use crate::render;
use crate::tables::{self, PeerRun};

/// The table that the page shows before all others.
const MAIN: &str = "main";

/// The results with their tables and claims filled in.
#[must_use]
pub fn complete(results: &Results, references: &References) -> Results {
    let lineup = Lineup::of(results);
    let claims = judge(&lineup);
    Results {
        tables: tables::of_lineup(&lineup, &claims, references),
        claims,
        ..results.clone()
    }
}

/// Writes the report into `folder` and returns the path of `report.html`.
///
/// `tables/*.md|csv|tex`, `figures/*.svg`, `results.json` (with tables and claims) and
/// `report.html`, one self-contained page. All texts are made before the first file is written;
/// each file is then put in place whole, or not at all.
///
/// # Errors
/// When the folder or a file in it cannot be written; the message names it.
pub fn write_report(
    results: &Results,
    references: &References,
    folder: &Path,
) -> Result<PathBuf, Error> {
    write_completed(&complete(results, references), folder)
}

/// Completed results with these tables alone, in the order of the report; with all of them where none is named.
///
/// # Errors
/// [`Error::UnknownTable`].
pub fn with_tables(mut whole: Results, ids: &[String]) -> Result<Results, Error> {
    let has = |id: &String| whole.tables.iter().any(|table| table.id == *id);
    if let Some(unknown) = ids.iter().find(|id| !has(id)) {
        let known: Vec<&str> = whole.tables.iter().map(|table| table.id.as_str()).collect();
        return Err(Error::UnknownTable {
            table: unknown.clone(),
            known: known.join(", "),
        });
    }
    if !ids.is_empty() {
        whole.tables.retain(|table| ids.contains(&table.id));
    }
    Ok(whole)
}

/// As [`write_report`], with the tables and claims that `whole` has.
///
/// # Errors
/// As [`write_report`].
pub fn write_completed(whole: &Results, folder: &Path) -> Result<PathBuf, Error> {
    let lineup = Lineup::of(whole);
    let drawn = figures::of_lineup(&lineup);
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for table in &whole.tables {
        let name = |extension: &str| {
            folder
                .join("tables")
                .join(format!("{}.{extension}", table.id))
        };
        files.push((name("md"), render::markdown(table)));
        files.push((name("csv"), render::csv(table)?));
        files.push((name("tex"), render::latex(table)));
    }
    for figure in &drawn {
        let path = folder.join("figures").join(format!("{}.svg", figure.id));
        files.push((path, figure.standalone()));
    }
    let page = folder.join("report.html");
    files.push((page.clone(), html_page(&lineup, &drawn)?));
    files.push((folder.join("results.json"), whole.to_json()?));
    for (path, text) in files {
        collapse_files::replace(&path, text.as_bytes())?;
    }
    Ok(page)
}

/// One table as Markdown for a page of documentation, with its caption below.
///
/// `None` when the results do not make the table.
#[must_use]
pub fn page_table(results: &Results, id: &str) -> Option<String> {
    page_tables(results).remove(id)
}

/// Every table as [`page_table`] gives it, by id.
#[must_use]
pub fn page_tables(results: &Results) -> BTreeMap<String, String> {
    let tables = tables::tables(results, &References::default()).into_iter();
    tables
        .map(|table| (table.id.clone(), render::markdown_body(&table)))
        .collect()
}

/// The experiment of `results` held against the runs of another implementation, for a page of documentation.
///
/// `None` when they have no group in common.
#[must_use]
pub fn page_peers(results: &Results, peer: &str, runs: &[PeerRun]) -> Option<String> {
    tables::peer_table(results, peer, runs).map(|table| render::markdown_body(&table))
}

/// The same experiment with Winograd's convolutions and with direct ones, for a page of documentation.
///
/// `None` when they have no group in common.
#[must_use]
pub fn page_algorithms(winograd: &Results, direct: &Results) -> Option<String> {
    tables::algorithm_table(winograd, direct).map(|table| render::markdown_body(&table))
}

/// One figure for a page of documentation.
///
/// `None` when the results do not make the figure.
#[must_use]
pub fn page_figure(results: &Results, id: &str) -> Option<Figure> {
    let figures = figures::figures(results);
    figures.into_iter().find(|figure| figure.id == id)
}

#[derive(Serialize)]
struct ClaimView<'a> {
    id: &'a str,
    statement: &'a str,
    verdict: &'static str,
    class: &'static str,
    test: String,
    strata: Vec<StratumView<'a>>,
    evidence: &'a str,
}

#[derive(Serialize)]
struct StratumView<'a> {
    name: &'a str,
    verdict: &'static str,
    class: &'static str,
    test: String,
}

impl<'a> ClaimView<'a> {
    fn of(claim: &'a Claim) -> Self {
        let holm = claim.p_holm.map(|p| format!("{} after Holm", p_value(p)));
        let whole = claim.whole().map(|whole| test_words(&whole));
        let parts: Vec<String> = whole.into_iter().chain(holm).collect();
        Self {
            id: &claim.id,
            statement: &claim.statement,
            verdict: verdict_label(claim.verdict),
            class: class(claim.verdict),
            test: parts.join(", "),
            strata: claim.strata.iter().map(StratumView::of).collect(),
            evidence: &claim.evidence,
        }
    }
}

impl<'a> StratumView<'a> {
    fn of(stratum: &'a Stratum) -> Self {
        Self {
            name: &stratum.name,
            verdict: verdict_label(stratum.verdict),
            class: class(stratum.verdict),
            test: test_words(stratum),
        }
    }
}

/// Effect, interval and p of a verdict.
fn test_words(stratum: &Stratum) -> String {
    let mut parts = vec![format!("effect {}", signed(stratum.effect, 2))];
    let interval = stratum
        .interval
        .map(|i| format!("95 % {}", signed_range(i, 2)));
    parts.extend(interval);
    parts.push(format!("n = {}", stratum.n));
    parts.extend(stratum.p_value.map(p_value));
    parts.extend(
        stratum
            .smallest_p
            .map(|p| format!("smallest possible {}", smallest_p(p))),
    );
    parts.join(", ")
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "yes",
        Verdict::Leaning => "lean",
        Verdict::LeaningAgainst => "lean-no",
        Verdict::Undecided | Verdict::NotMeasured => "open",
        Verdict::Contradicted => "no",
    }
}

fn html_page(lineup: &Lineup<'_>, drawn: &[Figure]) -> Result<String, Error> {
    let results = lineup.results;
    let claims: Vec<ClaimView<'_>> = results.claims.iter().map(ClaimView::of).collect();
    let (main, others): (Vec<&Table>, Vec<&Table>) =
        results.tables.iter().partition(|table| table.id == MAIN);
    let main = main.first().map(|table| Section::of_table(table));
    let sections: Vec<Section<'_>> = others.into_iter().map(Section::of_table).collect();
    let pictures: Vec<Section<'_>> = drawn.iter().map(Section::of_figure).collect();
    let environment = environment("report", include_str!("report.html.jinja"))?;
    let page = environment.get_template("report")?.render(context! {
        scale => results.scale.as_str(),
        made_from => lineup.made_from.as_str(),
        runs => results.runs.len(),
        groups => Value::from(Serde(&results.groups)),
        data => Value::from(Serde(&results.data)),
        provenance => Value::from(Serde(&results.provenance)),
        makers => Value::from(Serde(&makers(results))),
        times => Value::from(Serde(&results.times)),
        claims => Value::from(Serde(&claims)),
        main => Value::from(Serde(&main)),
        sections => Value::from(Serde(&sections)),
        pictures => Value::from(Serde(&pictures)),
        page_style => PAGE_STYLE,
        page_script => PAGE_SCRIPT,
        figure_style => FIGURE_STYLE,
    })?;
    Ok(page)
}

/// What made the runs, with the number of runs that each had a part in.
fn makers(results: &Results) -> Vec<(&Maker, usize)> {
    let mut found: BTreeMap<&Maker, usize> = BTreeMap::new();
    for run in &results.runs {
        let makers: BTreeSet<&Maker> = run.made_by.iter().map(|span| &span.maker).collect();
        for maker in makers {
            *found.entry(maker).or_default() += 1;
        }
    }
    found.into_iter().collect()
}
