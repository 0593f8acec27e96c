//! Figures with one point a network: AUROC of every seed, and AUROC against NC1.

use collapse_results::{Results, SetId};

use super::Figure;
use super::svg::{Canvas, Kind, Panel, Scale, WIDTH};
use crate::cast::{Cast, MAIN_SCORE, View, casts, ood_sets};
use crate::statistics::summarize;
use crate::tables::made_from;

fn views(results: &Results) -> Vec<View<'_>> {
    casts(results).iter().flat_map(Cast::all_rows).collect()
}

/// (AUROC in percent, seed) of every network of a view.
fn aurocs(view: &View<'_>, set: &SetId) -> Vec<(f64, u64)> {
    view.runs()
        .filter_map(|(run, e)| Some((100.0 * e.detection(&MAIN_SCORE, set)?.auroc, run.seed)))
        .collect()
}

/// (NC1, AUROC in percent, seed) of every network of a view that has both.
fn points(view: &View<'_>, set: &SetId) -> Vec<(f64, f64, u64)> {
    view.runs()
        .filter_map(|(run, e)| {
            let auroc = 100.0 * e.detection(&MAIN_SCORE, set)?.auroc;
            Some((e.geometry.value()?.nc1, auroc, run.seed))
        })
        .collect()
}

/// AUROC of every seed by group, one panel an OoD set.
pub(crate) fn strip(results: &Results) -> Option<Figure> {
    let views = views(results);
    let sets = ood_sets(results);
    if views.is_empty() || sets.is_empty() {
        return None;
    }
    let mut canvas = Canvas::default();
    let label_width = views
        .iter()
        .map(|v| 7.0 * v.label().chars().count() as f64 + 80.0)
        .fold(120.0, f64::max)
        .min(270.0);
    let columns = sets.len().min(3);
    let rows_of_panels = sets.len().div_ceil(columns);
    let gap = 26.0;
    let width = (WIDTH - label_width - 24.0 - gap * (columns - 1) as f64) / columns as f64;
    let (row_height, top) = (30.0, 34.0);
    let height = row_height * views.len() as f64;
    for (index, set) in sets.iter().enumerate() {
        let values = views.iter().flat_map(|v| aurocs(v, set)).map(|p| p.0);
        let Some(x) = Scale::around(Kind::Linear, values) else {
            continue;
        };
        let (column, line) = (index % columns, index / columns);
        let panel = Panel {
            left: label_width + column as f64 * (width + gap),
            top: top + line as f64 * (height + 78.0),
            width,
            height,
            x,
            y: Scale {
                kind: Kind::Linear,
                low: 0.0,
                high: views.len() as f64,
            },
        };
        canvas.frame(&panel, set.as_str(), "AUROC (%)", "");
        for (row, view) in views.iter().enumerate() {
            let series = view.series();
            let y = panel.top + row_height * (row as f64 + 0.5);
            if column == 0 {
                canvas.text(
                    label_width - 14.0,
                    y + 4.0,
                    "end",
                    "",
                    &format!("{}, {} ep.", view.label(), view.epoch),
                );
            }
            canvas.line((panel.left, y), (panel.left + width, y), "gr");
            let found = aurocs(view, set);
            let values: Vec<f64> = found.iter().map(|p| p.0).collect();
            let color = series % super::svg::COLORS;
            if let Some(summary) = summarize(&values) {
                let place = |v: f64| panel.left + width * panel.x.unit(v);
                canvas.line(
                    (place(summary.min), y),
                    (place(summary.max), y),
                    &format!("one s{color}"),
                );
                let mean = place(summary.mean);
                canvas.line((mean, y - 9.0), (mean, y + 9.0), &format!("mean s{color}"));
            }
            for (auroc, seed) in found {
                let at = (panel.left + width * panel.x.unit(auroc), y);
                canvas.marker(series, at, 4.2, &format!("seed {seed}: {auroc:.2} %"));
            }
        }
    }
    let caption = format!(
        "Gaussians on the features. One marker a seed, the bar is their mean, the line runs from \
         the worst to the best seed; each panel has its own axis. {}",
        made_from(results)
    );
    Some(Figure::new(
        "auroc-by-group",
        "AUROC of every seed",
        caption,
        top + rows_of_panels as f64 * (height + 78.0) - 30.0,
        canvas,
    ))
}

/// AUROC against NC1, one panel an OoD set.
pub(super) fn auroc_against_nc1(results: &Results) -> Option<Figure> {
    let views = views(results);
    let sets = ood_sets(results);
    let all = || {
        views
            .iter()
            .flat_map(|v| sets.iter().flat_map(|s| points(v, s)))
    };
    let x = Scale::around(Kind::Log, all().map(|p| p.0))?;
    let mut canvas = Canvas::default();
    let legend: Vec<(usize, String)> = views
        .iter()
        .map(|v| (v.series(), format!("{}, {} ep.", v.label(), v.epoch)))
        .collect();
    let head = canvas.legend(0.0, &legend);
    let columns = sets.len().clamp(1, 3);
    let rows = sets.len().div_ceil(columns);
    let gap = 48.0;
    let width = (WIDTH - 62.0 - 18.0 - gap * (columns - 1) as f64) / columns as f64;
    let height = 220.0;
    for (index, set) in sets.iter().enumerate() {
        let values = views.iter().flat_map(|v| points(v, set)).map(|p| p.1);
        let Some(y) = Scale::around(Kind::Linear, values) else {
            continue;
        };
        let panel = Panel {
            left: 62.0 + (index % columns) as f64 * (width + gap),
            top: head + 28.0 + (index / columns) as f64 * (height + 74.0),
            width,
            height,
            x,
            y,
        };
        let label = if index % columns == 0 {
            "AUROC (%)"
        } else {
            " "
        };
        canvas.frame(&panel, set.as_str(), "NC1 (log scale)", label);
        for view in &views {
            for (nc1, auroc, seed) in points(view, set) {
                let title = format!("{}, seed {seed}: NC1 {nc1:.3}, {auroc:.2} %", view.label());
                canvas.marker(view.series(), panel.at(nc1, auroc), 4.6, &title);
            }
        }
    }
    let caption = format!(
        "One marker a network; Gaussians on the features, NC1 on the training split (smaller is \
         more collapsed). Groups differ in more than NC1. {}",
        made_from(results)
    );
    Some(Figure::new(
        "auroc-nc1",
        "AUROC against NC1",
        caption,
        head + 28.0 + rows as f64 * (height + 74.0) - 28.0,
        canvas,
    ))
}
