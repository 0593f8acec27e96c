//! The report as files: tables, figures, one HTML page and `results.json`.

use std::io::Write;
use std::path::{Path, PathBuf};

use collapse_results::{Results, Verdict};
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use crate::Error;
use crate::claims::{claims, verdict_label};
use crate::figures::{FIGURE_STYLE, Figure, figures};
use crate::reference::References;
use crate::render;
use crate::tables::{made_from, tables};

/// The results with their tables and claims filled in.
pub fn complete(results: &Results, references: &References) -> Results {
    let mut whole = results.clone();
    whole.tables = tables(results, references);
    whole.claims = claims(results);
    whole
}

/// Writes the report into `folder` and returns the path of `report.html`.
///
/// `tables/*.md|csv|tex`, `figures/*.svg`, `results.json` (with tables and claims) and
/// `report.html`, one self-contained page. All texts are made before the first file is written;
/// each file is written beside its name and then renamed.
///
/// # Errors
/// When the folder or a file in it cannot be written; the message names it.
pub fn write_report(
    results: &Results,
    references: &References,
    folder: &Path,
) -> Result<PathBuf, Error> {
    let whole = complete(results, references);
    let drawn = figures(&whole);
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
    files.push((page.clone(), html_page(&whole, &drawn)?));
    files.push((folder.join("results.json"), whole.to_json()?));
    for sub in ["tables", "figures"] {
        let path = folder.join(sub);
        std::fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })?;
    }
    for (path, text) in files {
        write_atomically(&path, &text)?;
    }
    Ok(page)
}

/// Writes beside the target, syncs and renames, so that no half-written file can stay.
fn write_atomically(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    set_readable(file.as_file()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Temporary files are private to the user; a report is meant to be read.
#[cfg(unix)]
fn set_readable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_readable(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

/// One table as Markdown for a page of documentation, with one line saying where it comes from.
///
/// `None` when the results do not make the table.
pub fn page_table(results: &Results, id: &str) -> Option<String> {
    let table = tables(results, &References::default())
        .into_iter()
        .find(|table| table.id == id)?;
    Some(format!(
        "{}\n{}\n",
        render::markdown_rows(&table),
        made_from(results)
    ))
}

/// One figure as a standalone SVG for a page of documentation.
///
/// `None` when the results do not make the figure.
pub fn page_figure(results: &Results, id: &str) -> Option<String> {
    figures(results)
        .into_iter()
        .find(|figure| figure.id == id)
        .map(|figure| figure.standalone())
}

#[derive(Serialize)]
struct ClaimView {
    id: String,
    statement: String,
    verdict: &'static str,
    class: &'static str,
    evidence: String,
}

#[derive(Serialize)]
struct Section {
    id: String,
    title: String,
    body: String,
    caption: String,
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "yes",
        Verdict::Leaning => "lean",
        Verdict::Undecided | Verdict::NotMeasured => "open",
        Verdict::Contradicted => "no",
    }
}

fn html_page(results: &Results, drawn: &[Figure]) -> Result<String, Error> {
    let claims: Vec<ClaimView> = results
        .claims
        .iter()
        .map(|claim| ClaimView {
            id: claim.id.clone(),
            statement: claim.statement.clone(),
            verdict: verdict_label(claim.verdict),
            class: class(claim.verdict),
            evidence: claim.evidence.clone(),
        })
        .collect();
    let mut sections: Vec<Section> = results
        .tables
        .iter()
        .map(|table| Section {
            id: table.id.clone(),
            title: table.title.clone(),
            body: render::html(table),
            caption: String::new(),
        })
        .collect();
    let main = (sections.first().is_some_and(|s| s.id == "main")).then(|| sections.remove(0));
    let pictures: Vec<Section> = drawn
        .iter()
        .map(|figure| Section {
            id: figure.id.clone(),
            title: figure.title.clone(),
            body: figure.inline(),
            caption: figure.caption.clone(),
        })
        .collect();
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("report", include_str!("report.html.jinja"))?;
    let page = environment.get_template("report")?.render(context! {
        scale => results.scale.as_str(),
        made_from => made_from(results),
        runs => results.runs.len(),
        groups => Value::from(Serde(&results.groups)),
        data => Value::from(Serde(&results.data)),
        provenance => Value::from(Serde(&results.provenance)),
        times => Value::from(Serde(&results.times)),
        claims => Value::from(Serde(&claims)),
        main => Value::from(Serde(&main)),
        sections => Value::from(Serde(&sections)),
        pictures => Value::from(Serde(&pictures)),
        figure_style => FIGURE_STYLE,
    })?;
    Ok(page)
}
