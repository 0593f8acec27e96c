//! Tables for LaTeX, in the style of booktabs, as large as a page of `article` with margins of 2.5 cm lets them be.

use collapse_results::{Align, Column, Table};

use super::cell::{main_text, range_text, shows_range};

/// Text width and height of an A4 page with margins of 2.5 cm, in points.
const PAGE: (f64, f64) = (455.0, 700.0);
/// What a caption takes of the height.
const CAPTION: f64 = 60.0;

/// A size of type: its command, the width of a digit, the height of a line, the space beside a column, in points of a
/// document at 10 pt with Computer Modern.
struct Size {
    command: &'static str,
    digit: f64,
    line: f64,
    gap: f64,
}

const SIZES: [Size; 4] = [
    Size {
        command: "\\small",
        digit: 4.63,
        line: 11.0,
        gap: 6.0,
    },
    Size {
        command: "\\footnotesize",
        digit: 4.25,
        line: 9.5,
        gap: 4.0,
    },
    Size {
        command: "\\scriptsize",
        digit: 3.99,
        line: 8.0,
        gap: 3.0,
    },
    Size {
        command: "\\tiny",
        digit: 3.4,
        line: 6.0,
        gap: 2.0,
    },
];

/// How a table lies on the page.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Upright,
    Sideways,
    /// Over several pages.
    Long,
    /// Over several pages that are turned.
    LongSideways,
}

impl Form {
    fn needs(self) -> &'static str {
        match self {
            Self::Upright => "booktabs",
            Self::Sideways => "booktabs,rotating",
            Self::Long => "booktabs,longtable",
            Self::LongSideways => "booktabs,longtable,pdflscape",
        }
    }
}

/// A `table`, `sidewaystable` or `longtable`, whichever fits; its first line says which packages it needs.
pub fn latex(table: &Table) -> String {
    let lines = lines(table);
    let headings: Vec<Heading> = (table.columns.iter().enumerate())
        .map(|(index, column)| Heading::of(column, widest(&lines, index)))
        .collect();
    let widths = headings.iter().enumerate().map(|(index, heading)| {
        let words = heading.lines.iter().map(|line| digits(line));
        words.fold(widest(&lines, index), f64::max)
    });
    let digits: f64 = widths.sum();
    let height = lines.len() + headings.iter().map(|h| h.lines.len()).max().unwrap_or(1);
    let (form, size) = layout(digits, table.columns.len(), height);

    let columns: String = table.columns.iter().map(|column| side(column)).collect();
    let title = format!(
        "\\caption{{{}. {}}}\\label{{tab:{}}}",
        escape(&table.title),
        escape(&table.caption),
        table.id
    );
    let heading: Vec<String> = headings.iter().map(Heading::text).collect();
    let heading = format!("\\toprule\n{} \\\\\n\\midrule\n", heading.join(" & "));
    let body: String = lines.iter().map(|line| line.text.as_str()).collect();
    let set = format!(
        "{}\\setlength{{\\tabcolsep}}{{{}pt}}",
        size.command, size.gap
    );
    let needs = format!("% needs \\usepackage{{{}}}\n", form.needs());
    let short = |environment: &str| {
        format!(
            "{needs}\\begin{{{environment}}}\n\\centering\n{title}\n{set}\n\\begin{{tabular}}{{{columns}}}\n\
             {heading}{body}\\bottomrule\n\\end{{tabular}}\n\\end{{{environment}}}\n"
        )
    };
    let long = format!(
        "{{{set}\n\\begin{{longtable}}{{{columns}}}\n{title}\\\\\n{heading}\\endfirsthead\n{heading}\\endhead\n\
         {body}\\bottomrule\n\\end{{longtable}}}}\n"
    );
    match form {
        Form::Upright => short("table"),
        Form::Sideways => short("sidewaystable"),
        Form::Long => format!("{needs}{long}"),
        Form::LongSideways => format!("{needs}\\begin{{landscape}}\n{long}\\end{{landscape}}\n"),
    }
}

fn side(column: &Column) -> char {
    match column.align {
        Align::Left => 'l',
        Align::Right => 'r',
    }
}

/// The largest type in the plainest form that holds columns of `digits` digits together and `height` lines.
fn layout(digits: f64, columns: usize, height: usize) -> (Form, &'static Size) {
    let (width, tall) = PAGE;
    let [small, foot, script, tiny] = &SIZES;
    let fits = |size: &Size, wide: f64, high: Option<f64>| {
        // What is told by classes of characters is right within some percent.
        let across = 1.04 * digits * size.digit + 2.0 * size.gap * columns as f64;
        let down = height as f64 * size.line;
        across <= wide && high.is_none_or(|high| down <= high - CAPTION)
    };
    let candidates = [
        (Form::Upright, small),
        (Form::Upright, foot),
        (Form::Upright, script),
        (Form::Sideways, foot),
        (Form::Sideways, script),
        (Form::Long, script),
        (Form::LongSideways, script),
        (Form::Sideways, tiny),
        (Form::Long, tiny),
    ];
    let found = candidates.into_iter().find(|(form, size)| match form {
        Form::Upright => fits(size, width, Some(tall)),
        Form::Sideways => fits(size, tall, Some(width)),
        Form::Long => fits(size, width, None),
        Form::LongSideways => fits(size, tall, None),
    });
    found.unwrap_or((Form::LongSideways, tiny))
}

/// A line of the body.
struct Line {
    text: String,
    /// Width of each cell in digits.
    widths: Vec<f64>,
}

fn lines(table: &Table) -> Vec<Line> {
    let range = shows_range(table);
    let mut lines = Vec::new();
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(main_text).collect();
        let escaped: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
        lines.push(Line {
            text: format!("{} \\\\\n", escaped.join(" & ")),
            widths: cells.iter().map(|cell| digits(cell)).collect(),
        });
        let extremes: Vec<Option<String>> = row.iter().map(range_text).collect();
        if range && extremes.iter().any(Option::is_some) {
            let small = |text: &String| format!("{{\\scriptsize {}}}", escape(text));
            let escaped: Vec<String> = extremes
                .iter()
                .map(|text| text.as_ref().map_or_else(String::new, small))
                .collect();
            let width = |text: &Option<String>| text.as_ref().map_or(0.0, |text| digits(text));
            lines.push(Line {
                text: format!("{} \\\\\n", escaped.join(" & ")),
                widths: extremes.iter().map(width).collect(),
            });
        }
    }
    lines
}

fn widest(lines: &[Line], column: usize) -> f64 {
    let widths = lines.iter().filter_map(|line| line.widths.get(column));
    widths.fold(0.0, |most, width| most.max(*width))
}

/// A heading, broken so that it is hardly wider than its column.
struct Heading {
    lines: Vec<String>,
    side: char,
}

impl Heading {
    fn of(column: &Column, width: f64) -> Self {
        let words = column.heading.split(' ');
        let longest = words.clone().map(digits).fold(width, f64::max);
        let mut lines: Vec<String> = Vec::new();
        for word in words {
            match lines.last_mut() {
                Some(line) if digits(line) + digits(word) + 0.7 <= longest => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        Self {
            lines,
            side: side(column),
        }
    }

    fn text(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(|line| escape(line)).collect();
        match lines.as_slice() {
            [one] => one.clone(),
            lines => format!("\\shortstack[{}]{{{}}}", self.side, lines.join("\\\\")),
        }
    }
}

/// Width of a text in digits, by classes of characters of Computer Modern.
fn digits(text: &str) -> f64 {
    let width = |symbol: char| match symbol {
        'i' | 'j' | 'l' | 't' | 'f' | '.' | ',' | ':' | ';' | '\'' | '·' => 0.56,
        ' ' => 0.67,
        'm' | 'w' | 'M' | 'W' | '%' | '±' | '−' => 1.66,
        'A'..='Z' => 1.42,
        _ => 1.0,
    };
    text.chars().map(width).sum()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(symbol);
            }
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\\' => out.push_str("\\textbackslash{}"),
            '<' => out.push_str("$<$"),
            '>' => out.push_str("$>$"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '·' => out.push_str("$\\cdot$"),
            other => out.push(other),
        }
    }
    out
}
