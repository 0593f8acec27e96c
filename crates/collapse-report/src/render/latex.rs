//! Tables for LaTeX, in the style of booktabs.

use collapse_results::{Align, Table};

use super::cell::{main_text, range_text, shows_range};

/// A `table` environment; needs `\usepackage{booktabs}`.
pub fn latex(table: &Table) -> String {
    let columns: String = table
        .columns
        .iter()
        .map(|column| match column.align {
            Align::Left => 'l',
            Align::Right => 'r',
        })
        .collect();
    let mut text = format!(
        "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\small\n\
         \\caption{{{}. {}}}\n\\label{{tab:{}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n",
        escape(&table.title),
        escape(&table.caption),
        table.id,
    );
    let headings: Vec<String> = table.columns.iter().map(|c| escape(&c.heading)).collect();
    text.push_str(&format!("{} \\\\\n\\midrule\n", headings.join(" & ")));
    let range = shows_range(table);
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| escape(&main_text(cell))).collect();
        text.push_str(&format!("{} \\\\\n", cells.join(" & ")));
        let extremes: Vec<Option<String>> = row.iter().map(range_text).collect();
        if range && extremes.iter().any(Option::is_some) {
            let cells: Vec<String> = extremes
                .iter()
                .map(|e| {
                    e.as_ref()
                        .map_or_else(String::new, |e| format!("{{\\scriptsize {}}}", escape(e)))
                })
                .collect();
            text.push_str(&format!("{} \\\\\n", cells.join(" & ")));
        }
    }
    text.push_str("\\bottomrule\n\\end{tabular}\n\\end{table}\n");
    text
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
