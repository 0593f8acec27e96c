//! Lines in panels, from plain numbers.

use super::Figure;
use super::layout::Grid;
use super::scale::{Kind, Scale};
use super::svg::{COLORS, Canvas, WIDTH};

/// A panel with lines.
#[derive(Clone, Debug)]
pub struct LinePanel {
    /// Its title.
    pub title: String,
    /// (number of the series in the legend, points (x, y)).
    pub lines: Vec<(usize, Vec<(f64, f64)>)>,
    /// Whether a thin line joins (0, 0) and (1, 1).
    pub diagonal: bool,
}

/// Titles and axes of a figure of lines.
#[derive(Clone, Copy, Debug)]
pub struct LineAxes<'a> {
    /// Identifier.
    pub id: &'a str,
    /// Title.
    pub title: &'a str,
    /// What is drawn.
    pub caption: &'a str,
    /// What runs to the right, from 0 to 1.
    pub x: &'a str,
    /// What runs upwards, from 0.
    pub y: &'a str,
    /// The largest y.
    pub top: f64,
}

/// A figure of panels with lines over 0..=1, with one legend; `None` without lines.
#[must_use]
pub fn line_figure(axes: &LineAxes<'_>, legend: &[String], panels: &[LinePanel]) -> Option<Figure> {
    if panels.iter().all(|panel| panel.lines.is_empty()) {
        return None;
    }
    let mut canvas = Canvas::default();
    let entries: Vec<(usize, String)> = legend.iter().cloned().enumerate().collect();
    let grid = Grid {
        columns: 2,
        origin: (62.0, canvas.legend(0.0, &entries) + 28.0),
        size: ((WIDTH - 2.0 * 72.0) / 2.0, 240.0),
        gap: (72.0, 78.0),
    };
    for (index, drawn) in panels.iter().enumerate() {
        let y = Scale::over(Kind::Linear, 0.0, axes.top);
        let panel = grid.panel(index, Scale::over(Kind::Linear, 0.0, 1.0), y);
        let y_label = match grid.is_first_column(index) {
            true => axes.y,
            false => " ",
        };
        canvas.frame(&panel, &drawn.title, axes.x, y_label);
        if drawn.diagonal {
            canvas.line(panel.at(0.0, 0.0), panel.at(1.0, 1.0), "ax faint");
        }
        for (series, points) in &drawn.lines {
            let placed: Vec<(f64, f64)> = points.iter().map(|(x, y)| panel.at(*x, *y)).collect();
            canvas.path(&placed, &format!("out s{}", series % COLORS));
            // Where colours cannot be told apart, shapes can.
            if let Some(middle) = placed.get(placed.len() / 2) {
                canvas.marker(*series, *middle, 4.0, "");
            }
        }
    }
    Some(Figure::new(
        axes.id,
        axes.title,
        axes.caption.to_owned(),
        grid.end(panels.len()) - 30.0,
        canvas,
    ))
}
