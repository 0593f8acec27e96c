//! A small SVG canvas: panels with axes, marks and a legend that wraps.
//!
//! Drawn here and not by a chart library because colours must follow the reader's theme: marks
//! carry classes, and one style sheet gives them their colours in light and dark.

use std::fmt::Write;

use super::scale::Scale;
use crate::render::escape;

/// Width of every figure in SVG units.
pub(crate) const WIDTH: f64 = 760.0;

/// A rectangle with a scale on each side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

impl Panel {
    pub(crate) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.left + self.width * self.x.unit(x),
            self.top + self.height * (1.0 - self.y.unit(y)),
        )
    }
}

/// SVG elements being written.
#[derive(Default)]
pub(crate) struct Canvas {
    pub(crate) body: String,
}

impl Canvas {
    pub(crate) fn raw(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(element);
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
        let words = escape(words);
        self.raw(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>"
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.raw(format_args!(
            "<path class=\"{class}\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut d = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        self.raw(format_args!("<path class=\"{class}\" d=\"{d}\"/>"));
    }

    /// A marker of series `index`: shape and colour both tell it.
    pub(crate) fn marker(&mut self, index: usize, (x, y): (f64, f64), r: f64, title: &str) {
        let title = if title.is_empty() {
            String::new()
        } else {
            format!("<title>{}</title>", escape(title))
        };
        let color = index % COLORS;
        let d = match index % 6 {
            0 => {
                self.raw(format_args!(
                    "<circle class=\"m s{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\">{title}</circle>"
                ));
                return;
            }
            1 => polygon(&[
                (x - 0.9 * r, y - 0.9 * r),
                (x + 0.9 * r, y - 0.9 * r),
                (x + 0.9 * r, y + 0.9 * r),
                (x - 0.9 * r, y + 0.9 * r),
            ]),
            2 => polygon(&[
                (x, y - 1.2 * r),
                (x + 1.1 * r, y + 0.8 * r),
                (x - 1.1 * r, y + 0.8 * r),
            ]),
            3 => polygon(&[
                (x, y - 1.3 * r),
                (x + 1.3 * r, y),
                (x, y + 1.3 * r),
                (x - 1.3 * r, y),
            ]),
            4 => polygon(&[
                (x, y + 1.2 * r),
                (x + 1.1 * r, y - 0.8 * r),
                (x - 1.1 * r, y - 0.8 * r),
            ]),
            _ => polygon(&[
                (x - 1.2 * r, y - 0.4 * r),
                (x, y - 1.2 * r),
                (x + 1.2 * r, y - 0.4 * r),
                (x + 0.7 * r, y + r),
                (x - 0.7 * r, y + r),
            ]),
        };
        self.raw(format_args!(
            "<path class=\"m s{color}\" d=\"{d}\">{title}</path>"
        ));
    }

    /// Grid, frame, ticks and labels of a panel.
    pub(crate) fn frame(&mut self, panel: &Panel, title: &str, x_label: &str, y_label: &str) {
        let bottom = panel.top + panel.height;
        for (value, label) in panel.x.ticks((panel.width / 40.0) as usize) {
            let (x, _) = panel.at(value, panel.y.low);
            self.line((x, panel.top), (x, bottom), "gr");
            self.text(x, bottom + 16.0, "middle", "tk", &label);
        }
        if !y_label.is_empty() {
            for (value, label) in panel.y.ticks((panel.height / 32.0) as usize) {
                let (_, y) = panel.at(panel.x.low, value);
                self.line((panel.left, y), (panel.left + panel.width, y), "gr");
                self.text(panel.left - 7.0, y + 4.0, "end", "tk", &label);
            }
        }
        self.line(
            (panel.left, bottom),
            (panel.left + panel.width, bottom),
            "ax",
        );
        self.text(panel.left, panel.top - 9.0, "start", "ti", title);
        if !x_label.is_empty() {
            self.text(
                panel.left + panel.width / 2.0,
                bottom + 34.0,
                "middle",
                "lb",
                x_label,
            );
        }
        if !y_label.is_empty() && y_label != " " {
            let (x, y) = (panel.left - 46.0, panel.top + panel.height / 2.0);
            let words = escape(y_label);
            self.raw(format_args!(
                "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\" class=\"lb\">{words}</text>"
            ));
        }
    }

    /// Series with markers, wrapped to the figure's width; returns the height used.
    pub(crate) fn legend(&mut self, top: f64, entries: &[(usize, String)]) -> f64 {
        let (mut x, mut y) = (14.0, top + 14.0);
        for (index, label) in entries {
            let width = 30.0 + 7.2 * label.chars().count() as f64;
            if x + width > WIDTH - 6.0 && x > 14.0 {
                x = 14.0;
                y += 20.0;
            }
            self.marker(*index, (x + 6.0, y - 4.0), 4.5, "");
            self.text(x + 17.0, y, "start", "lg", label);
            x += width;
        }
        y - top + 8.0
    }
}

fn polygon(points: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(d, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
    }
    d.push('z');
    d
}

/// Number of series colours in the style sheet.
pub(crate) const COLORS: usize = 8;
