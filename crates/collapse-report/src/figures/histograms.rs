//! Score histograms: in-distribution against each OoD set.

use collapse_results::{Histogram, ScoreId, SetId};

use super::Figure;
use super::layout::Grid;
use super::scale::{Kind, Scale};
use super::svg::{COLORS, Canvas, Panel, WIDTH};
use crate::lineup::{Lineup, Member};

/// Histograms of one score of one network.
struct Drawn<'a> {
    label: &'a str,
    seed: u64,
    found: Vec<&'a Histogram>,
}

impl<'a> Drawn<'a> {
    /// Those of a group's first seed; `None` where none were kept.
    fn of(member: &'a Member<'_>, score: &ScoreId) -> Option<Self> {
        let (run, evaluation) = member.runs.first()?;
        let found: Vec<&Histogram> = evaluation
            .histograms
            .iter()
            .filter(|h| h.score == *score)
            .collect();
        (!found.is_empty()).then_some(Self {
            label: &member.label,
            seed: run.seed,
            found,
        })
    }

    fn axis(&self) -> Scale {
        let edges = self.found.iter().flat_map(|h| [h.low, h.high]);
        let low = edges.clone().fold(f64::INFINITY, f64::min);
        let high = edges.fold(f64::NEG_INFINITY, f64::max);
        let kind = match self.found.iter().find_map(|h| h.axis) {
            Some(axis) => Kind::SymmetricLog(axis),
            None => Kind::Linear,
        };
        Scale::over(kind, low, high)
    }
}

/// One figure for each score that has counts; the first seed of each group.
pub(super) fn histograms(lineup: &Lineup<'_>) -> Vec<Figure> {
    let mut scores: Vec<&ScoreId> = Vec::new();
    for evaluation in lineup.finished().flat_map(Member::evaluations) {
        for histogram in &evaluation.histograms {
            if !scores.contains(&&histogram.score) {
                scores.push(&histogram.score);
            }
        }
    }
    let figures = scores.into_iter();
    figures.filter_map(|score| figure(lineup, score)).collect()
}

/// One figure with a panel for each score, of one network's histograms; `None` of none.
#[must_use]
pub fn score_histograms(histograms: &[Histogram]) -> Option<Figure> {
    let groups: Vec<Drawn<'_>> = histograms
        .chunk_by(|a, b| a.score == b.score)
        .map(|found| Drawn {
            label: found[0].score.as_str(),
            seed: 0,
            found: found.iter().collect(),
        })
        .collect();
    if groups.is_empty() {
        return None;
    }
    let (mut canvas, sets, grid) = layout(&groups);
    for (index, group) in groups.iter().enumerate() {
        draw_group(&mut canvas, &grid, (index, group), "confidence", &sets);
    }
    let caption = "Share of samples in each bin; larger scores mean more in-distribution. The axis is linear around the median \
                   of the in-distribution scores and logarithmic far from it, and bins are equally wide on it.";
    Some(Figure::new(
        "histograms",
        "Score histograms",
        caption.to_owned(),
        grid.end(groups.len()) - 36.0,
        canvas,
    ))
}

/// A canvas with the legend of all sets, the sets in its order, and the grid of the groups below.
fn layout<'a>(groups: &[Drawn<'a>]) -> (Canvas, Vec<&'a SetId>, Grid) {
    let mut sets: Vec<&SetId> = vec![&SetId::TEST];
    for histogram in groups.iter().flat_map(|group| &group.found) {
        if !sets.contains(&&histogram.set) {
            sets.push(&histogram.set);
        }
    }
    let mut canvas = Canvas::default();
    let name = |set: &SetId| match *set == SetId::TEST {
        true => "in-distribution test".to_owned(),
        false => set.to_string(),
    };
    let legend: Vec<(usize, String)> = sets.iter().map(|set| name(set)).enumerate().collect();
    let grid = Grid {
        columns: 2,
        origin: (62.0, canvas.legend(0.0, &legend) + 28.0),
        size: ((WIDTH - 2.0 * 72.0) / 2.0, 140.0),
        gap: (72.0, 84.0),
    };
    (canvas, sets, grid)
}

/// Percent of the samples in each bin.
fn shares(histogram: &Histogram) -> Vec<f64> {
    // In f64, so that no counts overflow.
    let total: f64 = histogram.counts.iter().map(|count| *count as f64).sum();
    histogram
        .counts
        .iter()
        .map(|count| 100.0 * *count as f64 / total.max(1.0))
        .collect()
}

/// Corners of the steps of a histogram; its bins are equally wide on its axis.
fn steps(panel: &Panel, histogram: &Histogram) -> Vec<(f64, f64)> {
    let position = |value: f64| histogram.axis.map_or(value, |axis| axis.position(value));
    let (low, high) = (position(histogram.low), position(histogram.high));
    let width = (high - low) / histogram.counts.len().max(1) as f64;
    let edge = |i: usize| {
        let at = low + width * i as f64;
        histogram.axis.map_or(at, |axis| axis.value(at))
    };
    let mut points = vec![panel.at(histogram.low, 0.0)];
    for (index, height) in shares(histogram).into_iter().enumerate() {
        points.push(panel.at(edge(index), height));
        points.push(panel.at(edge(index + 1), height));
    }
    points.push(panel.at(histogram.high, 0.0));
    points
}

fn figure(lineup: &Lineup<'_>, score: &ScoreId) -> Option<Figure> {
    let groups: Vec<Drawn<'_>> = lineup
        .finished()
        .filter_map(|member| Drawn::of(member, score))
        .collect();
    if groups.is_empty() {
        return None;
    }
    let (mut canvas, sets, grid) = layout(&groups);
    for (index, group) in groups.iter().enumerate() {
        draw_group(&mut canvas, &grid, (index, group), score.as_str(), &sets);
    }
    Some(Figure::new(
        &format!("histogram-{score}"),
        &format!("Score histograms: {score}"),
        caption(lineup, &groups),
        grid.end(groups.len()) - 36.0,
        canvas,
    ))
}

fn draw_group(
    canvas: &mut Canvas,
    grid: &Grid,
    (index, group): (usize, &Drawn<'_>),
    x_label: &str,
    sets: &[&SetId],
) {
    let top = group
        .found
        .iter()
        .flat_map(|h| shares(h))
        .fold(1.0, f64::max);
    let panel = grid.panel(
        index,
        group.axis(),
        Scale::over(Kind::Linear, 0.0, 1.06 * top),
    );
    let y_label = match grid.is_first_column(index) {
        true => "share (%)",
        false => " ",
    };
    canvas.frame(&panel, group.label, x_label, y_label);
    for (series, set) in sets.iter().enumerate() {
        for histogram in group.found.iter().filter(|h| h.set == **set) {
            let points = steps(&panel, histogram);
            if series == 0 {
                canvas.path(&points, "f s0");
            }
            canvas.path(&points, &format!("out s{}", series % COLORS));
        }
    }
}

fn caption(lineup: &Lineup<'_>, groups: &[Drawn<'_>]) -> String {
    let mut seeds: Vec<u64> = groups.iter().map(|group| group.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let symmetric = groups
        .iter()
        .any(|group| group.found.iter().any(|h| h.axis.is_some()));
    let axis = match symmetric {
        true => {
            "; the axis is linear around the median of the in-distribution scores and logarithmic \
             far from it, and bins are equally wide on it"
        }
        false => ", and the outermost bins hold what lies beyond",
    };
    format!(
        "Share of samples in each bin after the last epoch, first seed of each group (seed {}); \
         larger scores mean more in-distribution{axis}. {}",
        seeds.join(", "),
        lineup.made_from_sets()
    )
}
