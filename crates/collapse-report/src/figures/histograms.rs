//! Score histograms: in-distribution against each OoD set.

use collapse_results::{Histogram, Results, ScoreId, SetId};

use super::Figure;
use super::svg::{Canvas, Kind, Panel, Scale, WIDTH};
use crate::cast::last_views;

/// One figure for each score that has counts; the first seed of each group.
pub(super) fn histograms(results: &Results) -> Vec<Figure> {
    let mut scores: Vec<&ScoreId> = Vec::new();
    for run in &results.runs {
        for histogram in run.evaluations.iter().flat_map(|e| &e.histograms) {
            if !scores.contains(&&histogram.score) {
                scores.push(&histogram.score);
            }
        }
    }
    scores
        .into_iter()
        .filter_map(|score| figure(results, score))
        .collect()
}

fn share(histogram: &Histogram) -> Vec<f64> {
    let total = histogram.counts.iter().sum::<u64>().max(1) as f64;
    histogram
        .counts
        .iter()
        .map(|count| 100.0 * *count as f64 / total)
        .collect()
}

/// Corners of the steps of a histogram.
fn steps(panel: &Panel, histogram: &Histogram) -> Vec<(f64, f64)> {
    let width = (histogram.high - histogram.low) / histogram.counts.len().max(1) as f64;
    let edge = |i: usize| histogram.low + width * i as f64;
    let mut points = vec![panel.at(histogram.low, 0.0)];
    for (index, height) in share(histogram).into_iter().enumerate() {
        points.push(panel.at(edge(index), height));
        points.push(panel.at(edge(index + 1), height));
    }
    points.push(panel.at(histogram.high, 0.0));
    points
}

fn figure(results: &Results, score: &ScoreId) -> Option<Figure> {
    let groups: Vec<(String, u64, Vec<&Histogram>)> = last_views(results)
        .iter()
        .filter(|view| !view.group.ablation)
        .filter_map(|view| {
            let (run, evaluation) = view.runs().next()?;
            let found: Vec<&Histogram> = evaluation
                .histograms
                .iter()
                .filter(|h| h.score == *score)
                .collect();
            (!found.is_empty()).then(|| (view.label(), run.seed, found))
        })
        .collect();
    if groups.is_empty() {
        return None;
    }
    let mut sets: Vec<&SetId> = vec![&SetId::TEST];
    for histogram in groups.iter().flat_map(|(_, _, found)| found) {
        if !sets.contains(&&histogram.set) {
            sets.push(&histogram.set);
        }
    }
    let mut canvas = Canvas::default();
    let legend: Vec<(usize, String)> = sets
        .iter()
        .enumerate()
        .map(|(i, set)| {
            (
                i,
                if **set == SetId::TEST {
                    "in-distribution test".into()
                } else {
                    set.to_string()
                },
            )
        })
        .collect();
    let head = canvas.legend(0.0, &legend);
    let columns = 2;
    let width = (WIDTH - 2.0 * 72.0) / 2.0;
    let height = 140.0;
    let rows = groups.len().div_ceil(columns);
    for (index, (label, _, found)) in groups.iter().enumerate() {
        let edges = found.iter().flat_map(|h| [h.low, h.high]);
        let low = edges.clone().fold(f64::INFINITY, f64::min);
        let high = edges.fold(f64::NEG_INFINITY, f64::max);
        let top = found.iter().flat_map(|h| share(h)).fold(1.0, f64::max);
        let (column, row) = (index % columns, index / columns);
        let panel = Panel {
            left: 62.0 + column as f64 * (width + 72.0),
            top: head + 28.0 + row as f64 * (height + 84.0),
            width,
            height,
            x: Scale {
                kind: Kind::Linear,
                low,
                high: if high > low { high } else { low + 1.0 },
            },
            y: Scale {
                kind: Kind::Linear,
                low: 0.0,
                high: 1.06 * top,
            },
        };
        canvas.frame(
            &panel,
            label,
            score.as_str(),
            if column == 0 { "share (%)" } else { " " },
        );
        for (series, set) in sets.iter().enumerate() {
            for histogram in found.iter().filter(|h| h.set == **set) {
                let points = steps(&panel, histogram);
                if series == 0 {
                    canvas.path(&points, "f s0");
                }
                canvas.path(&points, &format!("out s{}", series % super::svg::COLORS));
            }
        }
    }
    let mut seeds: Vec<u64> = groups.iter().map(|(_, seed, _)| *seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    Some(Figure::new(
        &format!("histogram-{score}"),
        &format!("Score histograms: {score}"),
        format!(
            "Share of samples in each bin after the last epoch, first seed of each group (seed \
             {}); larger scores mean more in-distribution, and the outermost bins hold what lies \
             beyond. Scale {}.",
            seeds.join(", "),
            results.scale
        ),
        head + 28.0 + rows as f64 * (height + 84.0) - 36.0,
        canvas,
    ))
}
