//! Files, pages and formats.

use std::path::Path;

use collapse_report::{
    References, TerminalStyle, complete, figures, page_figure, page_table, render, tables,
    with_tables, write_completed, write_report,
};
use collapse_results::{Cell, Defined, Results};

use super::common::synthetic;
use super::references;

#[test]
fn renderers_escape_and_keep_numbers() {
    let results = synthetic(3);
    let mut table = tables(&results, &References::default()).remove(0);
    table.rows[0][0] = Cell::Text {
        text: "a_b & <c> | 5%".into(),
    };
    assert!(render::latex(&table).contains("a\\_b \\& $<$c$>$ | 5\\%"));
    assert!(render::html(&table).contains("a_b &amp; &lt;c&gt; | 5%"));
    assert!(render::markdown(&table).contains("a\\_b &amp; &lt;c> \\| 5%"));
    let csv = render::csv(&table).unwrap();
    let Cell::Spread { mean, .. } = table.rows[0][2] else {
        panic!()
    };
    assert!(csv.contains(&mean.to_string()), "unrounded mean in {csv}");
    assert!(csv.starts_with("row,group,epoch,accuracy.mean,accuracy.std"));
    let plain = render::terminal(
        &table,
        TerminalStyle {
            width: None,
            plain: true,
        },
    );
    assert!(plain.contains("Accuracy (%)") && !plain.contains('│'));
}

#[test]
fn the_report_is_whole_and_repeatable() {
    let folder = tempfile::tempdir().unwrap();
    let results = synthetic(3);
    let page = write_report(&results, &references(), folder.path()).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("C1") && html.contains("<svg") && !html.contains("http://"));
    // Its one script is in it; nothing is fetched from anywhere.
    assert_eq!(html.matches("<script").count(), 1);
    for fetched in ["src=", "@import", "https://", "fetch("] {
        assert!(!html.contains(fetched), "{fetched} in the page");
    }
    let json = std::fs::read_to_string(folder.path().join("results.json")).unwrap();
    let read = Results::from_json(&json).unwrap();
    assert_eq!(read, complete(&results, &references()));
    for table in &read.tables {
        for extension in ["md", "csv", "tex"] {
            assert!(
                folder
                    .path()
                    .join(format!("tables/{}.{extension}", table.id))
                    .exists()
            );
        }
    }
    for figure in figures(&results) {
        assert!(
            folder
                .path()
                .join(format!("figures/{}.svg", figure.id))
                .exists()
        );
    }
    write_report(&read, &references(), folder.path()).unwrap();
    assert_eq!(
        std::fs::read_to_string(&page).unwrap(),
        html,
        "a pure function of the runs"
    );
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(
        left, 4,
        "nothing but report.html, results.json, tables and figures"
    );
}

#[test]
fn an_unwritable_folder_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    std::fs::write(&file, "").unwrap();
    let error = write_report(&synthetic(1), &references(), &file).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("--out"), "{error}");
    assert!(cause.contains("taken"), "{cause}");
}

#[test]
fn results_without_runs_still_make_a_report() {
    let folder = tempfile::tempdir().unwrap();
    write_report(
        &Results::new("quick"),
        &References::default(),
        folder.path(),
    )
    .unwrap();
    assert!(page_table(&Results::new("quick"), "main").is_none());
    assert!(
        page_figure(&synthetic(2), "auroc-by-group")
            .unwrap()
            .standalone()
            .starts_with("<svg")
    );
}

/// Writes the synthetic report where `COLLAPSE_REPORT_PREVIEW` says, for looking at it.
#[test]
fn preview() {
    if let Ok(folder) = std::env::var("COLLAPSE_REPORT_PREVIEW") {
        write_report(&synthetic(3), &references(), Path::new(&folder)).unwrap();
    }
}

/// Every caption stands on the page that shows the table, signs are set alike everywhere.
#[test]
fn pages_keep_captions() {
    let results = synthetic(3);
    let page = page_table(&results, "main").unwrap();
    assert!(page.contains("Gaussians on the features") && page.contains("Scale quick"));
    let figure = page_figure(&results, "nc-epochs").unwrap();
    assert!(figure.caption.contains("logarithmic axes"));
}

#[test]
fn captions_speak_of_extremes_where_they_are_shown() {
    let tables = tables(&synthetic(3), &References::default());
    let (mut with, mut without) = (0, 0);
    for table in tables
        .iter()
        .filter(|table| table.caption.contains("± standard deviation"))
    {
        let told = table.caption.contains("smallest to largest");
        assert_eq!(
            told,
            render::markdown(table).contains("<sub>"),
            "{}",
            table.id
        );
        match told {
            true => with += 1,
            false => without += 1,
        }
    }
    assert!(with > 5, "{with} with, {without} without");
    let one_seed = complete(&synthetic(1), &References::default());
    let told = |table: &collapse_results::Table| table.caption.contains("smallest to largest");
    assert!(!one_seed.tables.iter().any(told));
}

/// A file with impossible figures is refused on reading, but a figure must not hang on one.
#[test]
fn extreme_figures_cost_no_time_and_no_memory() {
    let mut results = synthetic(2);
    for (run, nc1) in results.runs.iter_mut().zip([1e-307, 1e300, 0.0, 1e-40]) {
        for record in &mut run.history {
            record.geometry.as_mut().unwrap().nc1 = nc1;
        }
        for evaluation in &mut run.evaluations {
            let Defined::Value(geometry) = &mut evaluation.geometry else {
                panic!("synthetic runs have their geometry");
            };
            geometry.nc1 = nc1;
            for histogram in &mut evaluation.histograms {
                histogram.counts.fill(u64::MAX);
            }
        }
    }
    let began = std::time::Instant::now();
    for figure in figures(&results) {
        let size = figure.standalone().len();
        assert!(size < 1_000_000, "{} has {size} bytes", figure.id);
        assert!(!figure.standalone().contains("NaN"), "{}", figure.id);
    }
    let all = tables(&results, &References::default());
    assert!(
        all.iter()
            .all(|table| render::markdown(table).len() < 1_000_000)
    );
    assert!(began.elapsed().as_secs() < 5);
    assert!(results.check().is_err());
}

/// Names reach file names, CSV, Markdown and HTML.
#[test]
fn names_with_commas_quotes_and_newlines_stay_one_field() {
    let mut table = tables(&synthetic(3), &References::default()).remove(0);
    table.row_keys[0] = "a,\"b\"\nc".into();
    table.rows[0][0] = Cell::Text {
        text: "x,\"y\"\nz".into(),
    };
    let text = render::csv(&table).unwrap();
    assert!(
        text.contains("\"a,\"\"b\"\"\nc\",\"x,\"\"y\"\"\nz\","),
        "{text}"
    );
}

#[test]
fn chosen_tables_alone_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let only = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    let whole = complete(&synthetic(3), &references());
    let chosen = with_tables(whole.clone(), &only(&["nc-end", "main"])).unwrap();
    let ids: Vec<&str> = chosen
        .tables
        .iter()
        .map(|table| table.id.as_str())
        .collect();
    assert_eq!(ids, ["main", "nc-end"], "in the order of the report");
    write_completed(&chosen, folder.path()).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".csv"))
        .collect();
    files.sort();
    assert_eq!(files, ["main.csv", "nc-end.csv"]);
    assert_eq!(with_tables(whole.clone(), &[]).unwrap(), whole);
    let refused = with_tables(whole, &only(&["mian"]))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("mian") && refused.contains("main, "),
        "{refused}"
    );
}

#[test]
fn latex_tables_take_the_form_that_fits_a_page() {
    let tables = tables(&synthetic(3), &References::default());
    let of = |id: &str| tables.iter().find(|table| table.id == id).unwrap();
    let mut main = of("main").clone();
    main.columns.truncate(4);
    main.rows.iter_mut().for_each(|row| row.truncate(4));
    let narrow = render::latex(&main);
    assert!(
        narrow.contains("\\begin{table}") && narrow.contains("\\small"),
        "{narrow}"
    );
    // Long headings are broken to the width of their columns.
    assert!(
        narrow.contains("\\shortstack[r]{AUROC\\\\fashion-held-out\\\\(\\%)}"),
        "{narrow}"
    );

    let wide = render::latex(of("calibration"));
    assert!(
        wide.starts_with("% needs \\usepackage{booktabs,rotating}"),
        "{wide}"
    );

    let mut long = main.clone();
    for _ in 0..5 {
        long.rows.extend(long.rows.clone());
    }
    assert!(render::latex(&long).contains("\\endhead"));
}
