//! One self-contained page of tables and figures.

use collapse_results::Table;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use crate::Error;
use crate::figures::{FIGURE_STYLE, Figure};
use crate::render;

/// Colours and type of every page; they follow the reader's light or dark theme.
pub(crate) const PAGE_STYLE: &str = include_str!("page.css");
/// Sorting of tables and the hint that one goes on; pages are whole without it.
pub(crate) const PAGE_SCRIPT: &str = include_str!("page.js");

/// What stands on a page, in its order.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Title of the window.
    pub title: &'a str,
    /// Heading.
    pub heading: &'a str,
    /// One or two sentences below the heading.
    pub lead: &'a str,
    /// The table that comes first.
    pub main: &'a Table,
    /// What the link to it says.
    pub main_name: &'a str,
    /// Remarks that a reader must know to trust the numbers.
    pub notes: &'a [String],
    /// Figures.
    pub figures: &'a [Figure],
    /// Further tables.
    pub tables: &'a [Table],
    /// Name and value of what the numbers come from.
    pub provenance: &'a [(&'a str, String)],
    /// The command that makes the page.
    pub command: &'a str,
    /// Which files beside the page hold its numbers, in a sentence.
    pub files: &'a str,
}

/// A table or a figure as HTML.
#[derive(Serialize)]
pub(crate) struct Section<'a> {
    id: &'a str,
    title: &'a str,
    body: String,
    caption: &'a str,
}

impl<'a> Section<'a> {
    pub(crate) fn of_table(table: &'a Table) -> Self {
        Self {
            id: &table.id,
            title: &table.title,
            body: render::html(table),
            caption: "",
        }
    }

    pub(crate) fn of_figure(figure: &'a Figure) -> Self {
        Self {
            id: &figure.id,
            title: &figure.title,
            body: figure.inline(),
            caption: &figure.caption,
        }
    }
}

/// The page as HTML that needs nothing beside itself.
///
/// # Errors
/// [`Error::Template`].
pub fn page(page: &Page<'_>) -> Result<String, Error> {
    let pictures: Vec<Section<'_>> = page.figures.iter().map(Section::of_figure).collect();
    let sections: Vec<Section<'_>> = page.tables.iter().map(Section::of_table).collect();
    let template = environment("page", include_str!("page.html.jinja"))?;
    let text = template.get_template("page")?.render(context! {
        title => page.title,
        heading => page.heading,
        lead => page.lead,
        main => Value::from(Serde(&Section::of_table(page.main))),
        main_name => page.main_name,
        notes => Value::from(Serde(&page.notes)),
        pictures => Value::from(Serde(&pictures)),
        sections => Value::from(Serde(&sections)),
        provenance => Value::from(Serde(&page.provenance)),
        command => page.command,
        files => page.files,
        page_style => PAGE_STYLE,
        page_script => PAGE_SCRIPT,
        figure_style => FIGURE_STYLE,
    })?;
    Ok(text)
}

/// A template whose values are escaped.
pub(crate) fn environment<'t>(name: &'t str, text: &'t str) -> Result<Environment<'t>, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template(name, text)?;
    Ok(environment)
}
