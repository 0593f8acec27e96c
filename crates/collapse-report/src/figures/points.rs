//! Figures with one point a network: AUROC of every seed, and AUROC against NC1.

use collapse_results::{Evaluation, SetId};

use super::Figure;
use super::layout::Grid;
use super::scale::{Kind, Scale};
use super::svg::{COLORS, Canvas, Panel, WIDTH};
use crate::claims::trained;
use crate::lineup::{Lineup, MAIN_SCORE, Member};
use crate::numbers::fixed;
use crate::statistics::summarize;

/// Height of a row of the strip figure.
const ROW: f64 = 30.0;

/// AUROC in percent.
fn auroc(evaluation: &Evaluation, set: &SetId) -> Option<f64> {
    Some(100.0 * evaluation.detection(&MAIN_SCORE, set)?.auroc)
}

/// (AUROC in percent, seed) of every network of a member.
fn aurocs(member: &Member<'_>, set: &SetId) -> Vec<(f64, u64)> {
    let runs = member.runs.iter();
    runs.filter_map(|(run, e)| Some((auroc(e, set)?, run.seed)))
        .collect()
}

/// x, y and the seed of every network.
type Points = Vec<(f64, f64, u64)>;

/// (NC1, AUROC in percent, seed) of every network of a member that has both.
fn points(member: &Member<'_>, set: &SetId) -> Points {
    let runs = member.runs.iter();
    runs.filter_map(|(run, e)| Some((e.geometry.value()?.nc1, auroc(e, set)?, run.seed)))
        .collect()
}

/// AUROC of every seed by group, one panel an OoD set.
pub(crate) fn strip(lineup: &Lineup<'_>) -> Option<Figure> {
    let members: Vec<&Member<'_>> = lineup.main_and_nc().collect();
    if members.is_empty() || lineup.sets.is_empty() {
        return None;
    }
    let mut canvas = Canvas::default();
    let label_width = members
        .iter()
        .map(|m| 7.0 * m.label.chars().count() as f64 + 80.0)
        .fold(120.0, f64::max)
        .min(270.0);
    let columns = lineup.sets.len().min(3);
    let gap = 26.0;
    let room = WIDTH - label_width - 24.0 - gap * (columns - 1) as f64;
    let grid = Grid {
        columns,
        origin: (label_width, 34.0),
        size: (room / columns as f64, ROW * members.len() as f64),
        gap: (gap, 78.0),
    };
    let rows = Scale::over(Kind::Linear, 0.0, members.len() as f64);
    for (index, set) in lineup.sets.iter().enumerate() {
        let values = members.iter().flat_map(|m| aurocs(m, set)).map(|p| p.0);
        let Some(x) = Scale::around(Kind::Linear, values) else {
            continue;
        };
        let panel = grid.panel(index, x, rows);
        canvas.frame(&panel, set.as_str(), "AUROC (%)", "");
        for (row, member) in members.iter().enumerate() {
            let y = panel.top + ROW * (row as f64 + 0.5);
            if grid.is_first_column(index) {
                let words = format!("{}, {} ep.", member.label, member.epoch);
                canvas.text(label_width - 14.0, y + 4.0, "end", "", &words);
            }
            draw_row(&mut canvas, &panel, y, member, set);
        }
    }
    let caption = format!(
        "Gaussians on the features. One marker a seed, the bar is their mean, the line runs from \
         the worst to the best seed; each panel has its own axis. {}",
        lineup.made_from_sets()
    );
    Some(Figure::new(
        "auroc-by-group",
        "AUROC of every seed",
        caption,
        grid.end(lineup.sets.len()) - 30.0,
        canvas,
    ))
}

/// The seeds of one group on one line.
fn draw_row(canvas: &mut Canvas, panel: &Panel, y: f64, member: &Member<'_>, set: &SetId) {
    canvas.line((panel.left, y), (panel.left + panel.width, y), "gr");
    let found = aurocs(member, set);
    let values: Vec<f64> = found.iter().map(|p| p.0).collect();
    let color = member.series % COLORS;
    let place = |v: f64| panel.left + panel.width * panel.x.unit(v);
    if let Some(summary) = summarize(&values) {
        let (from, to) = ((place(summary.min), y), (place(summary.max), y));
        canvas.line(from, to, &format!("one s{color}"));
        let mean = place(summary.mean);
        canvas.line((mean, y - 9.0), (mean, y + 9.0), &format!("mean s{color}"));
    }
    for (auroc, seed) in found {
        let title = format!("seed {seed}: {} %", fixed(auroc, 2));
        canvas.marker(member.series, (place(auroc), y), 4.2, &title);
    }
}

/// (NC1 over the group's geometric mean, AUROC minus the group's mean, seed) of every network of a member.
fn centred(member: &Member<'_>, set: &SetId) -> Points {
    let found = points(member, set);
    let mean = |values: Vec<f64>| summarize(&values).map(|summary| summary.mean);
    let log_nc1 = mean(found.iter().map(|p| p.0.ln()).collect());
    let auroc = mean(found.iter().map(|p| p.1).collect());
    let (Some(log_nc1), Some(auroc), true) = (log_nc1, auroc, found.len() > 1) else {
        return Vec::new();
    };
    let centre = |(nc1, value, seed): (f64, f64, u64)| (nc1 / log_nc1.exp(), value - auroc, seed);
    found.into_iter().map(centre).collect()
}

/// AUROC against NC1 of all networks.
pub(super) fn auroc_against_nc1(lineup: &Lineup<'_>) -> Option<Figure> {
    let plot = Plot {
        id: "auroc-nc1",
        title: "AUROC against NC1",
        axes: ("NC1 (log scale)", "AUROC (%)"),
        words: "One marker a network; Gaussians on the features, NC1 on the training split of what the \
                head sees (smaller is more collapsed). Groups differ in more than NC1.",
        points,
    };
    plot.draw(lineup, lineup.main_and_nc().collect())
}

/// The same within the groups that C5 judges.
pub(super) fn auroc_against_nc1_within(lineup: &Lineup<'_>) -> Option<Figure> {
    let plot = Plot {
        id: "auroc-nc1-within",
        title: "AUROC against NC1 within groups",
        axes: ("NC1 / group's mean (log scale)", "AUROC − group's mean"),
        words: "One marker a network; NC1 over the geometric mean of its group, AUROC in percentage \
                points from the mean of its group, so that only what another seed changes is left. \
                Gaussians on the features, NC1 on the training split of what the head sees (smaller \
                is more collapsed). The groups are those that C5 judges.",
        points: centred,
    };
    plot.draw(lineup, trained(lineup))
}

/// A scatter of networks, one panel an OoD set.
struct Plot {
    id: &'static str,
    title: &'static str,
    /// Labels of both axes.
    axes: (&'static str, &'static str),
    words: &'static str,
    /// Those of a member.
    points: fn(&Member<'_>, &SetId) -> Points,
}

impl Plot {
    fn draw(&self, lineup: &Lineup<'_>, members: Vec<&Member<'_>>) -> Option<Figure> {
        let points = self.points;
        let all = || {
            let sets = |m| lineup.sets.iter().flat_map(move |s| points(m, s));
            members.iter().copied().flat_map(sets)
        };
        let x = Scale::around(Kind::Log, all().map(|p| p.0))?;
        let mut canvas = Canvas::default();
        let legend: Vec<(usize, String)> = members
            .iter()
            .map(|m| (m.series, format!("{}, {} ep.", m.label, m.epoch)))
            .collect();
        let columns = lineup.sets.len().clamp(1, 3);
        let gap = 48.0;
        let room = WIDTH - 62.0 - 18.0 - gap * (columns - 1) as f64;
        let grid = Grid {
            columns,
            origin: (62.0, canvas.legend(0.0, &legend) + 28.0),
            size: (room / columns as f64, 220.0),
            gap: (gap, 74.0),
        };
        for (index, set) in lineup.sets.iter().enumerate() {
            let values = members.iter().flat_map(|m| points(m, set)).map(|p| p.1);
            let Some(y) = Scale::around(Kind::Linear, values) else {
                continue;
            };
            let panel = grid.panel(index, x, y);
            let y_label = match grid.is_first_column(index) {
                true => self.axes.1,
                false => " ",
            };
            canvas.frame(&panel, set.as_str(), self.axes.0, y_label);
            for member in &members {
                for (nc1, auroc, seed) in points(member, set) {
                    let (nc1_text, auroc_text) = (fixed(nc1, 3), fixed(auroc, 2));
                    let title = format!("{}, seed {seed}: {nc1_text}; {auroc_text}", member.label);
                    canvas.marker(member.series, panel.at(nc1, auroc), 4.6, &title);
                }
            }
        }
        let caption = format!("{} {}", self.words, lineup.made_from_sets());
        Some(Figure::new(
            self.id,
            self.title,
            caption,
            grid.end(lineup.sets.len()) - 28.0,
            canvas,
        ))
    }
}
